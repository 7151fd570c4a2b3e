//! Whom we trust: roots for everybody, or for each trust domain.

mod bundle;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

use crate::{LoadError, SubjectNames, TrustDomain};

/// Trust roots.
#[derive(Debug)]
pub struct Trust(Kind);

#[derive(Debug)]
enum Kind {
    Everybody(Arc<Roots>),
    Domains(BTreeMap<TrustDomain, Arc<Roots>>),
}

/// Certificates that end a chain, in the forms in which rustls wants them. Never none.
pub(crate) struct Roots {
    certificates: Vec<CertificateDer<'static>>,
    store: Arc<RootCertStore>,
    clients: Arc<dyn ClientCertVerifier>,
}

impl Trust {
    /// Trusts these certificates for every peer.
    ///
    /// # Errors
    /// When they are not valid PEM, one cannot be a root, or there is none.
    pub fn from_pem(certificates: &[u8], crypto: &Arc<CryptoProvider>) -> Result<Self, LoadError> {
        let certificates = CertificateDer::pem_slice_iter(certificates)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| LoadError::because("the certificates are not valid PEM", error))?;
        Ok(Self(Kind::Everybody(Roots::new(certificates, crypto)?.into())))
    }

    /// Trusts, for peers of each trust domain, the certificates that a SPIFFE bundle map has for it
    /// (gRFC A87). A peer of another domain, or without a SPIFFE ID, is not trusted.
    ///
    /// # Errors
    /// When it is no such map.
    pub fn from_spiffe_bundle_map(
        json: &[u8],
        crypto: &Arc<CryptoProvider>,
    ) -> Result<Self, LoadError> {
        let mut domains = BTreeMap::new();
        for (domain, certificates) in bundle::read(json)? {
            let roots = Roots::new(certificates, crypto).map_err(|error| {
                LoadError::because(format!("the bundle of {domain} is not valid"), error)
            })?;
            domains.insert(domain, Arc::new(roots));
        }
        Ok(Self(Kind::Domains(domains)))
    }

    /// What the operating system trusts (gRFC A82), as read when first asked for. A read that
    /// failed is tried again when this is called again.
    ///
    /// # Errors
    /// When there are no such certificates.
    pub fn system(crypto: &Arc<CryptoProvider>) -> Result<Self, LoadError> {
        let certificates = match SYSTEM.get() {
            Some(known) => known,
            None => {
                let read = read_system()?;
                SYSTEM.get_or_init(|| read)
            }
        };
        Ok(Self(Kind::Everybody(Roots::lenient(certificates, crypto)?.into())))
    }

    /// How many certificates end a chain.
    pub fn len(&self) -> usize {
        match &self.0 {
            Kind::Everybody(roots) => roots.certificates.len(),
            Kind::Domains(domains) => domains.values().map(|roots| roots.certificates.len()).sum(),
        }
    }

    /// Whether nobody is trusted: a SPIFFE bundle map may be empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The roots for a peer with these names.
    pub(crate) fn roots_for(&self, names: &SubjectNames) -> Result<&Arc<Roots>, LoadError> {
        match &self.0 {
            Kind::Everybody(roots) => Ok(roots),
            Kind::Domains(domains) => {
                let id = names.spiffe_id()?;
                let domain = id.trust_domain();
                domains.get(domain).ok_or_else(|| {
                    LoadError::new(format!("trust domain {domain} is not among those we trust"))
                })
            }
        }
    }

    /// Whether peers must have a SPIFFE ID.
    pub(crate) fn is_spiffe(&self) -> bool {
        matches!(self.0, Kind::Domains(_))
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Kind::Everybody(a), Kind::Everybody(b)) => a.certificates == b.certificates,
            (Kind::Domains(a), Kind::Domains(b)) => {
                let parts = |roots: &BTreeMap<TrustDomain, Arc<Roots>>| {
                    let parts = roots.iter();
                    let part = |(domain, roots): (&TrustDomain, &Arc<Roots>)| {
                        (domain.clone(), roots.certificates.clone())
                    };
                    parts.map(part).collect::<Vec<_>>()
                };
                parts(a) == parts(b)
            }
            _ => false,
        }
    }
}

static SYSTEM: OnceLock<Vec<CertificateDer<'static>>> = OnceLock::new();

fn read_system() -> Result<Vec<CertificateDer<'static>>, LoadError> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        let errors: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
        let text = format!("the system has no trust roots ({})", errors.join("; "));
        return Err(LoadError::new(text));
    }
    Ok(found.certs)
}

impl Roots {
    fn new(
        certificates: Vec<CertificateDer<'static>>,
        crypto: &Arc<CryptoProvider>,
    ) -> Result<Self, LoadError> {
        let mut store = RootCertStore::empty();
        for certificate in &certificates {
            store
                .add(certificate.clone())
                .map_err(|error| LoadError::because("a certificate cannot be a root", error))?;
        }
        Self::of(certificates, store, crypto)
    }

    /// Passes over what cannot be a root: systems have such among hundreds.
    fn lenient(
        certificates: &[CertificateDer<'static>],
        crypto: &Arc<CryptoProvider>,
    ) -> Result<Self, LoadError> {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(certificates.iter().cloned());
        Self::of(certificates.to_vec(), store, crypto)
    }

    fn of(
        certificates: Vec<CertificateDer<'static>>,
        store: RootCertStore,
        crypto: &Arc<CryptoProvider>,
    ) -> Result<Self, LoadError> {
        if store.is_empty() {
            return Err(LoadError::new("there is no certificate in it"));
        }
        let store = Arc::new(store);
        let clients = WebPkiClientVerifier::builder_with_provider(store.clone(), crypto.clone())
            .build()
            .map_err(|error| LoadError::because("the roots cannot be used", error))?;
        Ok(Self { certificates, store, clients })
    }

    pub(crate) fn store(&self) -> &RootCertStore {
        &self.store
    }

    pub(crate) fn clients(&self) -> &dyn ClientCertVerifier {
        &*self.clients
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Roots({})", self.certificates.len())
    }
}

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::{LoadError, SubjectNames};

/// A certificate with its key: who we are, to a peer.
pub struct Identity {
    key: Arc<CertifiedKey>,
    names: SubjectNames,
    not_after: SystemTime,
}

impl Identity {
    /// Takes a chain, leaf first, and the leaf's key (PKCS #8, PKCS #1 or SEC 1), both as PEM.
    ///
    /// # Errors
    /// When either cannot be read, or the key is not that of the certificate.
    pub fn from_pem(
        certificates: &[u8],
        private_key: &[u8],
        crypto: &CryptoProvider,
    ) -> Result<Self, LoadError> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificates)
            .collect::<Result<_, _>>()
            .map_err(|error| LoadError::because("the certificate is not valid PEM", error))?;
        let leaf = chain.first().ok_or_else(|| LoadError::new("there is no certificate in it"))?;
        let (names, not_after) = (SubjectNames::of(leaf)?, not_after(leaf)?);
        let key = PrivateKeyDer::from_pem_slice(private_key)
            .map_err(|error| LoadError::because("the private key is not valid PEM", error))?;
        let key = CertifiedKey::from_der(chain, key, crypto).map_err(|error| {
            LoadError::because("the certificate and the private key do not work together", error)
        })?;
        Ok(Self { key: Arc::new(key), names, not_after })
    }

    /// Its names.
    pub fn names(&self) -> &SubjectNames {
        &self.names
    }

    /// When the certificate expires.
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    pub(crate) fn key(&self) -> &Arc<CertifiedKey> {
        &self.key
    }

    /// Whether both are the same certificates; the key belongs to them.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.key.cert == other.key.cert
    }
}

impl fmt::Debug for Identity {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("names", &self.names)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

fn not_after(leaf: &CertificateDer<'_>) -> Result<SystemTime, LoadError> {
    let (_, parsed) = x509_parser::parse_x509_certificate(leaf)
        .map_err(|error| LoadError::because("the certificate cannot be read", error))?;
    let seconds = parsed.validity().not_after.timestamp();
    Ok(UNIX_EPOCH + Duration::from_secs(seconds.try_into().unwrap_or_default()))
}

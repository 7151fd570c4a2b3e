//! Certificates and TLS contexts for tests of both ends.

use std::sync::atomic::{AtomicU32, Ordering};

use mesh_core::resource::{CommonTlsContext, DownstreamTlsContext, UpstreamTlsContext};
use mesh_identity::{CertificateProvider, Identity, Trust, default_crypto};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    SanType,
};

/// A certificate authority that lives as long as a test.
pub(crate) struct Ca(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, as PEM.
pub(crate) struct Issued {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Ca {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        // A name of its own, as authorities have.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("root {}", NEXT.fetch_add(1, Ordering::Relaxed));
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    pub(crate) fn issue(&self, name: SanType) -> Issued {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "workload");
        params.subject_alt_names = vec![name];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap().pem();
        Issued { certificate, key: key.serialize_pem() }
    }

    pub(crate) fn trust(&self) -> Trust {
        Trust::from_pem(self.pem().as_bytes(), &default_crypto().unwrap()).unwrap()
    }

    /// A workload of that name, which trusts the others of this authority.
    pub(crate) fn workload(&self, name: &str) -> CertificateProvider {
        self.provider(uri(name))
    }

    pub(crate) fn provider(&self, name: SanType) -> CertificateProvider {
        let crypto = default_crypto().unwrap();
        let Issued { certificate, key } = self.issue(name);
        let identity = Identity::from_pem(certificate.as_bytes(), key.as_bytes(), &crypto);
        CertificateProvider::fixed(Some(identity.unwrap()), Some(self.trust()), crypto)
    }
}

pub(crate) fn uri(name: &str) -> SanType {
    SanType::URI(name.try_into().unwrap())
}

/// Certificates of the provider instance `default`, and peers of these names.
pub(crate) fn common(names: &[&str]) -> CommonTlsContext {
    CommonTlsContext::of_provider("default", names)
}

pub(crate) fn upstream(names: &[&str]) -> UpstreamTlsContext {
    let mut made = UpstreamTlsContext::default();
    made.common = common(names);
    made
}

pub(crate) fn downstream(is_required: bool) -> DownstreamTlsContext {
    let mut made = DownstreamTlsContext::default();
    made.common = common(&[]);
    made.require_client_certificate = is_required;
    made
}

use std::time::SystemTime;

use crate::SpiffeId;

/// How a [`CertificateProvider`](crate::CertificateProvider) stands.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ProviderStatus {
    /// Our SPIFFE ID, if the certificate has one.
    pub spiffe_id: Option<SpiffeId>,
    /// When our certificate expires; `None` while there is none.
    pub not_after: Option<SystemTime>,
    /// How many certificates are trusted.
    pub roots: usize,
    /// Why the last look at certificate and key was in vain. Those before stay in force.
    pub identity_error: Option<String>,
    /// Why the last look at the trust roots was in vain.
    pub roots_error: Option<String>,
}

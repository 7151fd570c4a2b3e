use std::sync::{Arc, LazyLock};

use rustls::crypto::CryptoProvider;

/// The cryptography built in: ring by the feature `tls-ring`, else AWS-LC by `tls-aws-lc`; `None`
/// where neither is on.
///
/// Whatever the process has installed as its default is neither used nor changed: with two
/// libraries in one program, rustls would otherwise panic for want of a choice.
pub fn default_crypto() -> Option<Arc<CryptoProvider>> {
    CRYPTO.clone()
}

static CRYPTO: LazyLock<Option<Arc<CryptoProvider>>> = LazyLock::new(built_in);

#[cfg(feature = "tls-ring")]
fn built_in() -> Option<Arc<CryptoProvider>> {
    Some(Arc::new(rustls::crypto::ring::default_provider()))
}

#[cfg(all(feature = "tls-aws-lc", not(feature = "tls-ring")))]
fn built_in() -> Option<Arc<CryptoProvider>> {
    Some(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
}

#[cfg(not(any(feature = "tls-aws-lc", feature = "tls-ring")))]
fn built_in() -> Option<Arc<CryptoProvider>> {
    None
}

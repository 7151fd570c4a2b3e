//! Settings of rustls made of providers. One made stays good: each handshake asks the providers
//! what they have then, so that what was rotated reaches every new connection and no old one.

mod client;
mod context;
mod handshake;
mod resolve;
mod server;
mod verify;

pub use client::ClientTls;
pub use context::Providers;
pub use handshake::HandshakeError;
pub use server::ServerTls;

use std::fmt;
use std::sync::Arc;

use mesh_core::resource::{SubjectAltNameMatcher, TlsVersion};
use rustls::crypto::CryptoProvider;
use rustls::version::{TLS12, TLS13};
use rustls::{CertificateError, Error, OtherError, SupportedProtocolVersion};

use crate::{CertificateProvider, LoadError, Trust};

/// Where trust roots come from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RootSource {
    /// From a provider. While it has none, nobody is trusted.
    Provider(CertificateProvider),
    /// Those of the operating system (gRFC A82), as they were when first read. While they cannot be,
    /// nobody is trusted.
    System,
}

/// Settings both sides have.
#[derive(Clone, Debug, Default)]
struct Common {
    alpn: Vec<Vec<u8>>,
    oldest: Option<TlsVersion>,
    newest: Option<TlsVersion>,
}

impl Common {
    fn versions(&self) -> Vec<&'static SupportedProtocolVersion> {
        let all = [(TlsVersion::V1_3, &TLS13), (TlsVersion::V1_2, &TLS12)];
        let (oldest, newest) = (self.oldest, self.newest);
        let wanted = |version: &TlsVersion| {
            oldest.is_none_or(|oldest| oldest <= *version)
                && newest.is_none_or(|newest| *version <= newest)
        };
        all.into_iter().filter(|(version, _)| wanted(version)).map(|(_, known)| known).collect()
    }
}

/// Trust roots at the moment of a handshake.
#[derive(Debug)]
struct TrustNow(CertificateProvider);

impl TrustNow {
    fn new(source: &RootSource, crypto: &Arc<CryptoProvider>) -> Self {
        Self(match source {
            RootSource::Provider(provider) => provider.clone(),
            RootSource::System => CertificateProvider::system(crypto.clone()),
        })
    }

    /// The roots, and the names that go with them.
    fn get(&self) -> Result<(Arc<Trust>, Arc<[SubjectAltNameMatcher]>), Error> {
        self.0.trust_and_names().ok_or_else(|| {
            let why = self.0.status().roots_error;
            refused(not_yet("there are no trust roots yet", why))
        })
    }
}

/// What a provider does not have, and why when that is known.
fn not_yet(text: &str, why: Option<String>) -> LoadError {
    match why {
        Some(why) => LoadError::because(text, why),
        None => LoadError::new(text),
    }
}

/// A reason of ours in an error of rustls.
fn refused(error: LoadError) -> Error {
    Error::Other(OtherError(Arc::new(Refused(Arc::new(error)))))
}

/// One that lies in the other side's certificate, as which it is told to that side.
fn not_good(error: LoadError) -> Error {
    let why = OtherError(Arc::new(Refused(Arc::new(error))));
    Error::InvalidCertificate(CertificateError::Other(why))
}

/// Says all of it at once: rustls shows errors that it does not know without their causes, some of
/// them as they are debugged.
struct Refused(Arc<LoadError>);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.chain())
    }
}

impl fmt::Debug for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Refused {}

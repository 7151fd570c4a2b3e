use std::sync::Arc;

use mesh_core::resource::{SubjectAltNameMatcher, TlsVersion};
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;

use super::resolve::Presented;
use super::verify::{Expected, ServerVerifier};
use super::{Common, RootSource, TrustNow};
use crate::{CertificateProvider, LoadError};

/// How a client speaks TLS.
///
/// By default the server's certificate must be for the host name that is connected to.
/// [`with_san_matchers`](Self::with_san_matchers) asks for other names instead.
#[derive(Clone, Debug)]
pub struct ClientTls {
    roots: RootSource,
    identity: Option<CertificateProvider>,
    expected: Expected,
    common: Common,
}

impl ClientTls {
    /// Verifies servers against these roots, and shows no certificate.
    pub fn new(roots: RootSource) -> Self {
        Self { roots, identity: None, expected: Expected::Host, common: Common::default() }
    }

    /// Shows the provider's certificate to servers that ask for one. While the provider has none,
    /// or it has expired, handshakes fail: there is no falling back to being nobody.
    #[must_use]
    pub fn with_identity(mut self, provider: CertificateProvider) -> Self {
        self.identity = Some(provider);
        self
    }

    /// Asks for one of these names in the server's certificate, in place of the host name; for any
    /// certificate that chains to a root when there are none (gRFC A29).
    #[must_use]
    pub fn with_san_matchers(mut self, matchers: Vec<SubjectAltNameMatcher>) -> Self {
        self.expected = Expected::Names(matchers.into());
        self
    }

    /// Asks for one of these names besides the host name; for that alone when there are none.
    #[must_use]
    pub fn with_further_san_matchers(mut self, matchers: Vec<SubjectAltNameMatcher>) -> Self {
        self.expected = Expected::HostAndNames(matchers.into());
        self
    }

    /// Sets the protocols offered (ALPN), the most preferred first.
    #[must_use]
    pub fn with_alpn(mut self, protocols: Vec<Vec<u8>>) -> Self {
        self.common.alpn = protocols;
        self
    }

    /// Sets the oldest and the newest version of TLS that is spoken: 1.2 and 1.3 when not set.
    #[must_use]
    pub fn with_versions(mut self, oldest: Option<TlsVersion>, newest: Option<TlsVersion>) -> Self {
        (self.common.oldest, self.common.newest) = (oldest, newest);
        self
    }

    /// Makes the settings for rustls. They need not be made again when certificates change.
    ///
    /// # Errors
    /// When no version of TLS is left that the cryptography can do.
    pub fn build(&self, crypto: &Arc<CryptoProvider>) -> Result<Arc<ClientConfig>, LoadError> {
        let verifier = ServerVerifier {
            trust: TrustNow::new(&self.roots, crypto),
            identity: self.identity.clone(),
            expected: self.expected.clone(),
            algorithms: crypto.signature_verification_algorithms,
        };
        let builder = ClientConfig::builder_with_provider(crypto.clone())
            .with_protocol_versions(&self.common.versions())
            .map_err(|error| LoadError::because("the cryptography cannot do this", error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match &self.identity {
            Some(provider) => {
                builder.with_client_cert_resolver(Arc::new(Presented(provider.clone())))
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols.clone_from(&self.common.alpn);
        // A resumed session is not verified again: roots that were taken away, names that are no
        // longer wanted and certificates that were replaced would live on in it.
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }
}

use std::sync::Arc;

use mesh_core::resource::{SubjectAltNameMatcher, TlsVersion};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::NoServerSessionStorage;

use super::resolve::Presented;
use super::verify::ClientVerifier;
use super::{Common, RootSource, TrustNow};
use crate::{CertificateProvider, LoadError};

/// How a server speaks TLS.
#[derive(Clone, Debug)]
pub struct ServerTls {
    identity: CertificateProvider,
    clients: Option<Clients>,
    common: Common,
}

#[derive(Clone, Debug)]
struct Clients {
    roots: RootSource,
    is_required: bool,
    matchers: Arc<[SubjectAltNameMatcher]>,
}

impl ServerTls {
    /// Shows the provider's certificate, and asks clients for none. While the provider has none,
    /// handshakes fail.
    pub fn new(identity: CertificateProvider) -> Self {
        Self { identity, clients: None, common: Common::default() }
    }

    /// Asks clients for a certificate and verifies it. One that is shown and not good is always
    /// refused; none at all is refused when `is_required`.
    #[must_use]
    pub fn with_client_roots(mut self, roots: RootSource, is_required: bool) -> Self {
        self.clients = Some(Clients { roots, is_required, matchers: Arc::from([]) });
        self
    }

    /// Asks for one of these names in a client's certificate; any will do when there are none. Has
    /// no effect before [`with_client_roots`](Self::with_client_roots).
    #[must_use]
    pub fn with_san_matchers(mut self, matchers: Vec<SubjectAltNameMatcher>) -> Self {
        if let Some(clients) = &mut self.clients {
            clients.matchers = matchers.into();
        }
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
    pub fn build(&self, crypto: &Arc<CryptoProvider>) -> Result<Arc<ServerConfig>, LoadError> {
        let builder = ServerConfig::builder_with_provider(crypto.clone())
            .with_protocol_versions(&self.common.versions())
            .map_err(|error| LoadError::because("the cryptography cannot do this", error))?;
        let builder = match &self.clients {
            None => builder.with_no_client_auth(),
            Some(clients) => builder.with_client_cert_verifier(Arc::new(ClientVerifier {
                trust: TrustNow::new(&clients.roots, crypto),
                is_required: clients.is_required,
                matchers: clients.matchers.clone(),
                algorithms: crypto.signature_verification_algorithms,
            })),
        };
        let mut config = builder.with_cert_resolver(Arc::new(Presented(self.identity.clone())));
        config.alpn_protocols.clone_from(&self.common.alpn);
        // As for clients: who was verified once is verified again.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }
}

//! TLS to a control plane: channel credentials `tls` (gRFC A65).

use std::sync::{Arc, OnceLock};

use mesh_identity::rustls::ClientConfig;
use mesh_identity::{CertificateProvider, ClientTls, FileWatcher, RootSource, default_crypto};

use super::chain;

/// Certificates of a server's connections. The files are read before each connection, whatever
/// their refresh interval: connections are few, and so nothing has to watch.
#[derive(Clone, Debug)]
pub(super) struct Secure(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    files: FileWatcher,
    made: OnceLock<(CertificateProvider, Arc<ClientConfig>)>,
}

impl Secure {
    pub(super) fn new(files: FileWatcher) -> Self {
        Self(Arc::new(Shared { files, made: OnceLock::new() }))
    }

    /// The settings for a connection that is made now.
    pub(super) async fn config(&self) -> Result<Arc<ClientConfig>, String> {
        let shared = self.0.clone();
        let looked = tokio::task::spawn_blocking(move || shared.look()).await;
        looked.map_err(|error| format!("certificates could not be looked at: {error}"))?
    }
}

impl Shared {
    fn look(&self) -> Result<Arc<ClientConfig>, String> {
        if let Some((provider, config)) = self.made.get() {
            // In place of what is bad, what was good stays; the provider reports it.
            let _ = provider.reload();
            return Ok(config.clone());
        }
        let crypto = default_crypto()
            .ok_or("this program is built without tls (features tls-ring, tls-aws-lc)")?;
        let provider = CertificateProvider::from_files(self.files.clone(), crypto.clone());
        let status = provider.status();
        if let Some(error) = status.identity_error.or(status.roots_error) {
            return Err(error);
        }
        let roots = match self.files.roots {
            Some(_) => RootSource::Provider(provider.clone()),
            None => RootSource::System,
        };
        let mut tls = ClientTls::new(roots).with_alpn(vec![b"h2".to_vec()]);
        if self.files.identity.is_some() {
            tls = tls.with_identity(provider.clone());
        }
        let config = tls.build(&crypto).map_err(|error| chain(&error))?;
        let (_, config) = self.made.get_or_init(|| (provider, config));
        Ok(config.clone())
    }
}

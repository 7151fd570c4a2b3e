use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use mesh_core::resource::{
    CertificateSource, CommonTlsContext, DownstreamTlsContext, Name, RootSource, UpstreamTlsContext,
};
use mesh_identity::rustls::crypto::CryptoProvider;
use mesh_identity::{
    CertificateProvider, ClientTls, FileWatcher, LoadError, ServerTls, default_crypto,
};
use tokio::runtime::Handle;

/// The certificate providers of a mesh, by instance name. Each is made when it is first asked for.
#[derive(Debug)]
pub(crate) struct Providers {
    files: BTreeMap<String, FileWatcher>,
    runtime: Handle,
    /// As many as the bootstrap and the application name.
    made: Mutex<HashMap<String, CertificateProvider>>,
}

impl Providers {
    pub(super) fn new(
        files: BTreeMap<String, FileWatcher>,
        given: HashMap<String, CertificateProvider>,
        runtime: Handle,
    ) -> Self {
        Self { files, runtime, made: Mutex::new(given) }
    }

    /// How a client speaks TLS by a context.
    pub(crate) fn client(
        &self,
        context: &UpstreamTlsContext,
        crypto: &Arc<CryptoProvider>,
    ) -> Result<ClientTls, LoadError> {
        self.named_by(&context.common, crypto).client(context)
    }

    /// How a server speaks TLS by a context.
    pub(crate) fn server(
        &self,
        context: &DownstreamTlsContext,
        crypto: &Arc<CryptoProvider>,
    ) -> Result<ServerTls, LoadError> {
        self.named_by(&context.common, crypto).server(context)
    }

    /// The providers that a context names, as far as there are any.
    fn named_by(
        &self,
        context: &CommonTlsContext,
        crypto: &Arc<CryptoProvider>,
    ) -> mesh_identity::Providers {
        let own = context.identities.iter().filter_map(|source| match source {
            CertificateSource::Provider(instance) => Some(&instance.instance_name),
            _ => None,
        });
        let roots = context.validation.as_ref().and_then(|validation| match &validation.roots {
            RootSource::Provider(instance) => Some(&instance.instance_name),
            _ => None,
        });
        let mut made = mesh_identity::Providers::new(crypto.clone());
        for name in own.chain(roots) {
            if let Some(provider) = self.get(name) {
                made = made.with_instance(Name::clone(name), provider);
            }
        }
        made.with_runtime(self.runtime.clone())
    }

    /// The provider of that name; `None` when there is none, or no cryptography is built in.
    pub(crate) fn get(&self, name: &str) -> Option<CertificateProvider> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(provider) = made.get(name) {
            return Some(provider.clone());
        }
        let files = self.files.get(name)?.clone();
        let provider = CertificateProvider::file_watcher(files, default_crypto()?, &self.runtime);
        made.insert(name.to_owned(), provider.clone());
        Some(provider)
    }
}

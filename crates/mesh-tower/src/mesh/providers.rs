use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use mesh_core::resource::{
    CertificateSource, CommonTlsContext, DownstreamTlsContext, Entry, Name, RootSource, Secret,
    UpstreamTlsContext,
};
use mesh_identity::rustls::crypto::CryptoProvider;
use mesh_identity::{
    CertificateProvider, ClientTls, FileWatcher, LoadError, ServerTls, default_crypto,
};
use tokio::runtime::Handle;

/// The certificate providers of a mesh, by instance name, and its secrets. Each provider is made when
/// it is first asked for.
#[derive(Debug)]
pub(crate) struct Providers {
    files: BTreeMap<String, FileWatcher>,
    /// The names of those that the application gave.
    given: HashSet<String>,
    runtime: Handle,
    /// As many as the bootstrap and the application name.
    made: Mutex<HashMap<String, CertificateProvider>>,
    /// What stands for each secret that is wanted, or that connections still refer to.
    secrets: Mutex<HashMap<Name, Held>>,
}

/// A secret. Settings of connections are made once, and follow what it holds.
#[derive(Debug)]
struct Held {
    provider: CertificateProvider,
    is_wanted: bool,
}

impl Providers {
    pub(super) fn new(
        files: BTreeMap<String, FileWatcher>,
        given: HashMap<String, CertificateProvider>,
        runtime: Handle,
    ) -> Self {
        let names = given.keys().cloned().collect();
        Self { files, given: names, runtime, made: Mutex::new(given), secrets: Mutex::default() }
    }

    /// Takes in how secrets stand; `None` of one that nothing refers to any more. The next
    /// handshake is made with what they hold now.
    pub(super) fn set_secrets<'e>(
        &self,
        changed: impl IntoIterator<Item = (&'e Name, Option<&'e Entry<Secret>>)>,
    ) {
        let Some(crypto) = default_crypto() else { return };
        let mut secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, entry) in changed {
            let held = secrets.entry(name.clone()).or_insert_with(|| Held::new(&crypto));
            held.is_wanted = entry.is_some();
            if let Some(entry) = entry {
                self.put(held, name, entry, &crypto);
            }
        }
        // A cluster that is gone may come back with connections that refer to what it had.
        secrets.retain(|_, held| held.is_wanted || !held.provider.is_unshared());
    }

    fn put(&self, held: &Held, name: &Name, entry: &Entry<Secret>, crypto: &Arc<CryptoProvider>) {
        let Some(secret) = &entry.value else {
            let why = entry.failure.as_ref().map_or("it has not come", |failure| &failure.text);
            held.provider.withdraw(format!("secret {name:?}: {why}"));
            return;
        };
        // It may name an instance of the bootstrap, or files.
        let mut known = mesh_identity::Providers::new(crypto.clone());
        if let Secret::Validation(validation) = &**secret
            && let RootSource::Provider(instance) = &validation.roots
            && let Some(provider) = self.get(&instance.instance_name)
        {
            known = known.with_instance(instance.instance_name.clone(), provider);
        }
        match known.with_runtime(self.runtime.clone()).of_secret(secret) {
            Ok(provider) => held.provider.replace(provider),
            // As with files: what was good before stays.
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, %name, "a secret cannot be used");
            }
        }
    }

    /// What stands for a secret: one that the application gave under its name, else the control
    /// plane's.
    fn secret(&self, name: &Name, crypto: &Arc<CryptoProvider>) -> CertificateProvider {
        if self.given.contains(&**name)
            && let Some(provider) = self.get(name)
        {
            return provider;
        }
        let mut secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        let held = secrets.entry(name.clone()).or_insert_with(|| Held::new(crypto));
        held.provider.clone()
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
        for name in context.secrets() {
            made = made.with_secret(name.clone(), self.secret(name, crypto));
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

impl Held {
    fn new(crypto: &Arc<CryptoProvider>) -> Self {
        let provider = CertificateProvider::replaceable(crypto.clone());
        provider.withdraw("the secret is not known yet");
        Self { provider, is_wanted: false }
    }
}

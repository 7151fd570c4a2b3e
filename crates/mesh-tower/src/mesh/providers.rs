use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use mesh_identity::{CertificateProvider, FileWatcher, default_crypto};
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

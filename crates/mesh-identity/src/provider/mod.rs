//! Where certificates and trust roots come from, and what they are at the moment.

mod config;
pub(crate) mod files;
mod status;
mod system;
mod watch;

pub use config::{FileWatcher, IdentityFiles, RootFiles};
pub use status::ProviderStatus;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::ArcSwapOption;
use mesh_core::resource::SubjectAltNameMatcher;
use rustls::crypto::CryptoProvider;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use self::system::System;
use crate::{Identity, LoadError, Trust};

/// A certificate with its key, trust roots, or both, which may change at any time. Whoever makes a
/// handshake asks for what they are then.
///
/// Clones are the same provider. When the last is dropped, watching ends.
#[derive(Clone, Debug)]
pub struct CertificateProvider(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    files: Option<FileWatcher>,
    /// Where the roots come from, where that is the operating system.
    system: Option<System>,
    crypto: Arc<CryptoProvider>,
    identity: ArcSwapOption<Identity>,
    trust: ArcSwapOption<Trust>,
    /// The one that this one stands for.
    current: ArcSwapOption<Given>,
    /// What the last look at the files found wrong. Also held while looking, so that two looks do
    /// not overtake each other.
    errors: Mutex<Errors>,
    task: OnceLock<AbortHandle>,
}

/// Another provider, and the names of which a peer must have one to be trusted.
#[derive(Debug)]
struct Given {
    provider: CertificateProvider,
    names: Arc<[SubjectAltNameMatcher]>,
}

#[derive(Clone, Debug, Default)]
struct Errors {
    identity: Option<String>,
    trust: Option<String>,
}

impl CertificateProvider {
    /// What will not change.
    pub fn fixed(
        identity: Option<Identity>,
        trust: Option<Trust>,
        crypto: Arc<CryptoProvider>,
    ) -> Self {
        let made = Self::new(None, crypto);
        made.0.identity.store(identity.map(Arc::new));
        made.0.trust.store(trust.map(Arc::new));
        made
    }

    /// What is in these files now, and after each [`reload`](Self::reload). What cannot be read is
    /// [reported](Self::status), and missing until it can.
    pub fn from_files(files: FileWatcher, crypto: Arc<CryptoProvider>) -> Self {
        let made = Self::new(Some(files), crypto);
        // Reported by `status`, and in the log.
        let _ = made.reload();
        made
    }

    /// What is in these files, looked at again whenever their refresh interval has passed: the
    /// plugin `file_watcher`. Reads them before it returns.
    pub fn file_watcher(files: FileWatcher, crypto: Arc<CryptoProvider>, runtime: &Handle) -> Self {
        let interval = files.refresh_interval;
        let made = Self::from_files(files, crypto);
        let task = runtime.spawn(watch::run(Arc::downgrade(&made.0), interval));
        // Nobody else has set it.
        let _ = made.0.task.set(task.abort_handle());
        made
    }

    /// The roots that the operating system trusts (gRFC A82). Read now; where that fails, it is
    /// [reported](Self::status), nobody is trusted, and a handshake reads again: the first after a
    /// second at the earliest, later ones after up to a minute.
    pub fn system(crypto: Arc<CryptoProvider>) -> Self {
        let made = Self::system_by(Trust::system, crypto);
        let _now = made.trust();
        made
    }

    fn system_by(read: system::Read, crypto: Arc<CryptoProvider>) -> Self {
        Self::made(None, Some(System::new(read)), crypto)
    }

    /// One that has nothing until it is [told what it stands for](Self::replace).
    pub fn replaceable(crypto: Arc<CryptoProvider>) -> Self {
        Self::new(None, crypto)
    }

    /// Stands for another provider from now on: the next handshake has what that one has.
    pub fn replace(&self, by: CertificateProvider) {
        let names = by.san_matchers();
        self.0.current.store(Some(Arc::new(Given { provider: by, names })));
        self.0.note_missing(None);
    }

    /// Stands for nothing from now on, for that reason: handshakes fail.
    pub fn withdraw(&self, reason: impl Into<String>) {
        self.0.note_missing(Some(reason.into()));
        self.0.current.store(None);
    }

    /// The same, where who is trusted must also have one of these names, or one of those that the
    /// settings of a connection ask for.
    #[must_use]
    pub fn with_san_matchers(self, matchers: Vec<SubjectAltNameMatcher>) -> Self {
        let made = Self::new(None, self.0.crypto.clone());
        let given = Given { provider: self, names: matchers.into() };
        made.0.current.store(Some(Arc::new(given)));
        made
    }

    /// Whether this is the only handle.
    pub fn is_unshared(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    fn new(files: Option<FileWatcher>, crypto: Arc<CryptoProvider>) -> Self {
        Self::made(files, None, crypto)
    }

    fn made(
        files: Option<FileWatcher>,
        system: Option<System>,
        crypto: Arc<CryptoProvider>,
    ) -> Self {
        Self(Arc::new(Shared {
            files,
            system,
            crypto,
            identity: ArcSwapOption::empty(),
            trust: ArcSwapOption::empty(),
            current: ArcSwapOption::empty(),
            errors: Mutex::default(),
            task: OnceLock::new(),
        }))
    }

    /// The certificate with its key.
    pub fn identity(&self) -> Option<Arc<Identity>> {
        match &*self.0.current.load() {
            Some(current) => current.provider.identity(),
            None => self.0.identity.load_full(),
        }
    }

    /// The trust roots.
    pub fn trust(&self) -> Option<Arc<Trust>> {
        self.trust_and_names().map(|(trust, _)| trust)
    }

    /// The names of which who is trusted must have one; empty for any.
    pub fn san_matchers(&self) -> Arc<[SubjectAltNameMatcher]> {
        self.0.current.load().as_ref().map(|current| current.names.clone()).unwrap_or_default()
    }

    /// The roots with the names that go with them.
    pub(crate) fn trust_and_names(&self) -> Option<(Arc<Trust>, Arc<[SubjectAltNameMatcher]>)> {
        match &*self.0.current.load() {
            Some(current) => Some((current.provider.trust()?, current.names.clone())),
            None => Some((self.0.trust()?, Arc::default())),
        }
    }

    /// Looks at the files at once. Each part that is good takes effect, whatever becomes of the
    /// other; in place of one that is not, the one before stays. Blocks for as long as the files
    /// take to be read.
    ///
    /// # Errors
    /// The first of what is wrong.
    pub fn reload(&self) -> Result<(), LoadError> {
        self.0.reload()
    }

    /// How the provider stands.
    pub fn status(&self) -> ProviderStatus {
        if let Some(current) = &*self.0.current.load() {
            return current.provider.status();
        }
        // Before what is wrong, which it may find out.
        let roots = self.trust().map_or(0, |trust| trust.len());
        let errors = self.0.errors.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let identity = self.identity();
        ProviderStatus {
            spiffe_id: identity.as_ref().and_then(|identity| identity.names().spiffe_id().ok()),
            not_after: identity.as_ref().map(|identity| identity.not_after()),
            roots,
            identity_error: errors.identity,
            roots_error: errors.trust,
        }
    }
}

impl Shared {
    /// Why there is nothing.
    fn note_missing(&self, why: Option<String>) {
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        *errors = Errors { identity: why.clone(), trust: why };
    }

    fn trust(&self) -> Option<Arc<Trust>> {
        let (known, Some(system)) = (self.trust.load_full(), &self.system) else {
            return self.trust.load_full();
        };
        if known.is_some() {
            return known;
        }
        let mut attempts = system.attempts();
        // Who held it may have read them.
        if let Some(known) = self.trust.load_full() {
            return Some(known);
        }
        let read = system.read(&mut attempts, &self.crypto)?.map(Arc::new);
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        let read = read.inspect(|trust| self.trust.store(Some(trust.clone())));
        let found = read.as_ref().ok().cloned();
        // Told by `status`, and in the log.
        let _ = note(&mut errors.trust, read.map(drop));
        found
    }

    fn reload(&self) -> Result<(), LoadError> {
        let Some(files) = &self.files else { return Ok(()) };
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        let mut result = Ok(());
        if let Some(made) = files.identity.as_ref().map(|f| files::identity(f, &self.crypto)) {
            let made = made.map(|new| {
                let old = self.identity.load();
                if old.as_ref().is_none_or(|old| !old.is_same(&new)) {
                    tracing::info!(names = ?new.names(), "certificate loaded");
                    self.identity.store(Some(Arc::new(new)));
                }
            });
            result = result.and(note(&mut errors.identity, made));
        }
        if let Some(made) = files.roots.as_ref().map(|f| files::trust(f, &self.crypto)) {
            let made = made.map(|new| {
                let old = self.trust.load();
                if old.as_ref().is_none_or(|old| !old.is_same(&new)) {
                    tracing::info!(certificates = new.len(), "trust roots loaded");
                    self.trust.store(Some(Arc::new(new)));
                }
            });
            result = result.and(note(&mut errors.trust, made));
        }
        result
    }
}

/// Remembers what is wrong; logs it once.
fn note(last: &mut Option<String>, made: Result<(), LoadError>) -> Result<(), LoadError> {
    let text = made.as_ref().err().map(LoadError::chain);
    if let Some(text) = &text
        && last.as_ref() != Some(text)
    {
        tracing::warn!("certificates: {text}; what was loaded before stays, if anything was");
    }
    *last = text;
    made
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}

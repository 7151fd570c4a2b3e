//! What is published, one set after another.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mesh_istio::{Checked, Diagnostic, Level, Model, Node, Resource, ResourceType};
use tokio::sync::watch;

/// What is served beside the model, by name.
pub(crate) type Secrets = Arc<BTreeMap<String, Resource>>;

/// One published set.
#[derive(Debug)]
pub(crate) struct Generation {
    /// From 1, counting what was published.
    pub(crate) number: u64,
    pub(crate) model: Arc<Model>,
    secrets: Secrets,
}

impl Generation {
    pub(crate) fn new(number: u64, model: Model) -> Self {
        Self { number, model: Arc::new(model), secrets: Secrets::default() }
    }

    /// The resource called `name`, as `node` sees it.
    pub(crate) fn resource(&self, node: &Node, kind: ResourceType, name: &str) -> Option<Resource> {
        match kind {
            ResourceType::Secret => self.secrets.get(name).cloned(),
            _ => self.model.translate(node, kind, name),
        }
    }
}

/// Decides what becomes the next [`Generation`], and remembers what was wrong with what did not.
#[derive(Debug)]
pub(crate) struct Publisher {
    current: watch::Sender<Arc<Generation>>,
    latest: Mutex<Reading>,
}

/// The latest reading of the files, published or not.
#[derive(Clone, Debug)]
struct Reading {
    diagnostics: Arc<[Diagnostic]>,
    valid: bool,
    unlisted: bool,
}

impl Publisher {
    /// Begins with a set that must be free of errors.
    ///
    /// # Errors
    ///
    /// Its diagnostics, when it is not.
    pub(crate) fn new(first: Checked) -> Result<Self, Vec<Diagnostic>> {
        if !first.is_valid() {
            return Err(first.diagnostics);
        }
        log(&first.diagnostics);
        let generation = Generation::new(1, first.model);
        let diagnostics = first.diagnostics.into();
        Ok(Self {
            current: watch::Sender::new(Arc::new(generation)),
            latest: Mutex::new(Reading { diagnostics, valid: true, unlisted: false }),
        })
    }

    /// Publishes a set free of errors; of any other keeps the diagnostics, and the last good set
    /// goes on.
    pub(crate) fn offer(&self, checked: Checked) {
        log(&checked.diagnostics);
        let valid = checked.is_valid();
        let diagnostics = checked.diagnostics.into();
        *self.latest() = Reading { diagnostics, valid, unlisted: false };
        if !valid {
            tracing::warn!("the files have errors: the last good configuration stays");
            return;
        }
        self.current.send_modify(|current| {
            let number = current.number + 1;
            tracing::info!(generation = number, "published");
            let secrets = current.secrets.clone();
            *current = Arc::new(Generation { secrets, ..Generation::new(number, checked.model) });
        });
    }

    /// Publishes the set in force with other secrets.
    pub(crate) fn change_secrets(&self, change: impl FnOnce(&mut BTreeMap<String, Resource>)) {
        self.current.send_modify(|current| {
            let mut secrets = current.secrets.clone();
            change(Arc::make_mut(&mut secrets));
            let (number, model) = (current.number + 1, current.model.clone());
            *current = Arc::new(Generation { number, model, secrets });
        });
    }

    /// Keeps the last good set because the files could not even be listed.
    pub(crate) fn refuse(&self, diagnostics: Vec<Diagnostic>) {
        // Told once, not at every poll.
        if !self.is_unlisted() {
            log(&diagnostics);
        }
        *self.latest() = Reading { diagnostics: diagnostics.into(), valid: false, unlisted: true };
    }

    /// Whether the last reading failed before any file was read.
    pub(crate) fn is_unlisted(&self) -> bool {
        self.latest().unlisted
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<Generation>> {
        self.current.subscribe()
    }

    pub(crate) fn number(&self) -> u64 {
        self.current.borrow().number
    }

    pub(crate) fn diagnostics(&self) -> Arc<[Diagnostic]> {
        self.latest().diagnostics.clone()
    }

    /// Whether the latest reading is the one that is served.
    pub(crate) fn is_current(&self) -> bool {
        self.latest().valid
    }

    fn latest(&self) -> MutexGuard<'_, Reading> {
        // Held for assignments only, which leave a whole value behind whatever happens.
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn log(diagnostics: &[Diagnostic]) {
    // Errors first, so that they are not the ones left out.
    let errors = diagnostics.iter().filter(|diagnostic| diagnostic.is_error());
    let others = diagnostics.iter().filter(|diagnostic| diagnostic.level == Level::Warning);
    for diagnostic in errors.chain(others).take(MAX_LOGGED) {
        tracing::warn!("{diagnostic}");
    }
}

/// Errors and warnings logged for one reading; the admin endpoint has them all.
const MAX_LOGGED: usize = 20;

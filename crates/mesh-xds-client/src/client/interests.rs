//! Who is interested in which listener, as told by any number of threads.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use mesh_core::Dialect;
use mesh_core::resource::Name;
use tokio::sync::Notify;

use crate::graph::Interest;

/// Counts subscriptions, and remembers which listeners to look at again. Subscribing and dropping
/// in a loop changes counts and nothing else, until the task looks.
#[derive(Debug, Default)]
pub(super) struct Interests {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    counts: HashMap<Name, BTreeMap<Kind, usize>>,
    changed: BTreeSet<Name>,
}

/// A kind of interest in one listener.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// A channel of that dialect, to the target of that authority.
    Http(Name),
    Grpc(Name),
    /// A server that listens by it.
    Server,
}

impl Kind {
    pub(super) fn of_channel(authority: &Name, dialect: Dialect) -> Self {
        match dialect {
            Dialect::Http => Self::Http(authority.clone()),
            Dialect::Grpc => Self::Grpc(authority.clone()),
        }
    }
}

impl Interests {
    pub(super) fn add(&self, listener: &Name, kind: &Kind) {
        let mut state = self.lock();
        let kinds = state.counts.entry(listener.clone()).or_default();
        let count = kinds.entry(kind.clone()).or_default();
        *count += 1;
        if *count == 1 {
            self.note(&mut state, listener);
        }
    }

    pub(super) fn remove(&self, listener: &Name, kind: &Kind) {
        let mut state = self.lock();
        let Some(kinds) = state.counts.get_mut(listener) else { return };
        let Some(count) = kinds.get_mut(kind) else { return };
        *count -= 1;
        if *count > 0 {
            return;
        }
        kinds.remove(kind);
        if kinds.is_empty() {
            state.counts.remove(listener);
        }
        self.note(&mut state, listener);
    }

    fn note(&self, state: &mut State, listener: &Name) {
        state.changed.insert(listener.clone());
        self.changed.notify_one();
    }

    /// Waits until [`take`](Self::take) has something to give. Cancel safe.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The listeners whose interests changed, with what these are now.
    pub(super) fn take(&self) -> Vec<(Name, Interest)> {
        let mut state = self.lock();
        let changed = std::mem::take(&mut state.changed);
        let interest = |listener: &Name| {
            let kinds = state.counts.get(listener).into_iter().flat_map(BTreeMap::keys);
            kinds.fold(Interest::none(), |interest, kind| match kind {
                Kind::Http(authority) => interest.with_http(authority.clone()),
                Kind::Grpc(authority) => interest.with_grpc(authority.clone()),
                Kind::Server => interest.with_server(),
            })
        };
        changed.iter().map(|listener| (listener.clone(), interest(listener))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under the lock; a poisoned one is as good as any.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

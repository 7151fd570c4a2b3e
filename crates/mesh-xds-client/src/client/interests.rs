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

/// A kind of interest in one listener. The flag says HTTP.
type Kind = (bool, Name);

impl Interests {
    pub(super) fn add(&self, listener: &Name, authority: &Name, dialect: Dialect) {
        let kind = (dialect == Dialect::Http, authority.clone());
        let mut state = self.lock();
        let count = state.counts.entry(listener.clone()).or_default().entry(kind).or_default();
        *count += 1;
        if *count == 1 {
            self.note(&mut state, listener);
        }
    }

    pub(super) fn remove(&self, listener: &Name, authority: &Name, dialect: Dialect) {
        let kind = (dialect == Dialect::Http, authority.clone());
        let mut state = self.lock();
        let Some(kinds) = state.counts.get_mut(listener) else { return };
        let Some(count) = kinds.get_mut(&kind) else { return };
        *count -= 1;
        if *count > 0 {
            return;
        }
        kinds.remove(&kind);
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
            kinds.fold(Interest::none(), |interest, (is_http, authority)| match is_http {
                true => interest.with_http(authority.clone()),
                false => interest.with_grpc(authority.clone()),
            })
        };
        changed.iter().map(|listener| (listener.clone(), interest(listener))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under the lock; a poisoned one is as good as any.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

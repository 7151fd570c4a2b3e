//! What becomes of a resource when something goes wrong (gRFC A57, A88).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use mesh_core::finding::{Failure, FailureKind};
use mesh_core::resource::Name;
use mesh_core::{ResourceId, ResourceType};

use super::directory::AuthorityIndex;
use super::store::Store;
use super::watched::{Wait, Watched};
use super::{Event, ResourceState};

/// What a failure of the resource itself does to an older value (`fail_on_data_errors`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OldValue {
    Kept,
    Dropped,
}

impl Store {
    /// An answer that was refused.
    pub(super) fn refuse(&mut self, id: &ResourceId, text: &str, old: OldValue, now: Instant) {
        if self.entry(id).is_some() {
            let failure = (FailureKind::Invalid, ResourceState::Nacked);
            self.fail_data(id, failure, text, old, now);
        }
    }

    /// The control plane has it no longer, or says that it has none.
    pub(super) fn remove(&mut self, id: &ResourceId, text: &str, old: OldValue, now: Instant) {
        let Some(watched) = self.get(id.kind, &id.name) else { return };
        let had = watched.value.is_some();
        let kind = if had { FailureKind::Deleted } else { FailureKind::DoesNotExist };
        if watched.named {
            self.fail_data(id, (kind, ResourceState::DoesNotExist), text, old, now);
            return;
        }
        // Nobody asked for it by name: there is one fewer of what there is.
        self.of(id.kind).remove(&id.name);
        if self.is_wild(id.kind) {
            let text = self.with_node(text);
            let failure = Arc::new(Failure::new(id.clone(), kind, text, Some(now)));
            self.events.push(Event::new(id.clone(), None, Some(failure)));
        }
    }

    /// Drops what has lived for as long as its server wanted, whatever becomes of deleted ones
    /// otherwise.
    pub(super) fn end_lifetimes(&mut self, now: Instant) {
        while let Some(id) = self.lifetimes.pop(now) {
            self.remove(&id, "its time to live ended unrenewed", OldValue::Dropped, now);
        }
        let known = self.resources.iter().map(BTreeMap::len).sum();
        let resources = &self.resources;
        let is_known = |id: &ResourceId| resources[id.kind as usize].contains_key(&id.name);
        self.lifetimes.prune(is_known, known);
    }

    /// Not the resource's fault: what is known stays as it is.
    pub(super) fn fail(&mut self, id: &ResourceId, kind: FailureKind, text: &str, now: Instant) {
        self.set_failure(id, kind, ResourceState::ReceivedError, text, now);
    }

    /// The resource timer ended without an answer.
    pub(super) fn time_out(
        &mut self,
        id: &ResourceId,
        failure: FailureKind,
        text: &str,
        now: Instant,
    ) {
        let state = match failure {
            FailureKind::DoesNotExist => ResourceState::DoesNotExist,
            _ => ResourceState::Timeout,
        };
        self.set_failure(id, failure, state, text, now);
        if let Some(watched) = self.of(id.kind).get_mut(&id.name) {
            watched.timer = Wait::Silence;
        }
    }

    /// The servers of an authority cannot be reached: whatever has no value fails with that
    /// reason. Of what has one, the listeners alone are marked: they head every chain of reasons,
    /// and the others would cost an update of all there is, just when nothing must be disturbed.
    pub(super) fn fail_all(&mut self, authority: AuthorityIndex, text: &str, now: Instant) {
        for kind in ResourceType::ALL {
            let concerned = |watched: &Watched| {
                watched.failure.is_none()
                    && watched.authority == authority
                    && (kind == ResourceType::Listener || watched.value.is_none())
            };
            let failing = self.of(kind).iter().filter(|(_, watched)| concerned(watched));
            let names: Vec<Name> = failing.map(|(name, _)| name.clone()).collect();
            for name in names {
                self.fail(&ResourceId::new(kind, name), FailureKind::Unreachable, text, now);
            }
        }
    }

    /// A server of the authority answered: values that were marked because none could be reached
    /// are sound.
    pub(super) fn reached(&mut self, authority: AuthorityIndex) {
        let mut healed = Vec::new();
        for (name, watched) in self.of(ResourceType::Listener) {
            let is_marked = watched.failure.as_ref().is_some_and(|failure| {
                failure.kind == FailureKind::Unreachable && watched.value.is_some()
            });
            if is_marked && watched.authority == authority {
                watched.failure = None;
                watched.state = ResourceState::Acked;
                healed.push(ResourceId::new(ResourceType::Listener, name.clone()));
            }
        }
        healed.iter().for_each(|id| self.tell(id));
    }

    /// Whether something is wanted of the authority that no server has answered for.
    pub(super) fn lacks_answers(&self, authority: AuthorityIndex) -> bool {
        let mut all = self.resources.iter().flat_map(|resources| resources.values());
        all.any(|watched| watched.authority == authority && watched.lacks_answer())
            || authority == AuthorityIndex::DEFAULT && self.lacks_all_of_a_type()
    }

    /// Whether all of a type is wanted and nothing of it has come.
    fn lacks_all_of_a_type(&self) -> bool {
        let mut wild = ResourceType::ALL.into_iter().filter(|kind| self.is_wild(*kind));
        wild.any(|kind| self.received(kind, None).next().is_none())
    }

    /// A failure that the resource itself is the cause of.
    fn fail_data(
        &mut self,
        id: &ResourceId,
        (failure, state): (FailureKind, ResourceState),
        text: &str,
        old: OldValue,
        now: Instant,
    ) {
        if old == OldValue::Dropped
            && let Some(watched) = self.of(id.kind).get_mut(&id.name)
        {
            watched.clear();
        }
        self.set_failure(id, failure, state, text, now);
    }

    /// Nobody is told twice of the same failure.
    pub(super) fn set_failure(
        &mut self,
        id: &ResourceId,
        kind: FailureKind,
        state: ResourceState,
        text: &str,
        now: Instant,
    ) {
        let text = self.with_node(text);
        let Some(watched) = self.of(id.kind).get_mut(&id.name) else { return };
        watched.timer = Wait::Over;
        watched.state = state;
        let is_known = watched.failure.as_ref();
        if is_known.is_some_and(|known| known.kind == kind && known.text == text) {
            return;
        }
        watched.failure = Some(Arc::new(Failure::new(id.clone(), kind, text, Some(now))));
        self.tell(id);
    }

    fn with_node(&self, text: &str) -> String {
        format!("{text} (node {:?})", self.node_id())
    }
}

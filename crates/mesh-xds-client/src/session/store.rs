//! What is known of each resource: value, failure, timer, state (gRFC A57, A88).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use mesh_core::finding::{Failure, FailureKind};
use mesh_core::resource::Name;
use mesh_core::{ResourceId, ResourceType};

use super::{Event, ResourceState, ResourceStatus};
use crate::decode::Value;

/// The resources wanted. Forgets those that are no longer wanted.
#[derive(Debug)]
pub(super) struct Store {
    node_id: String,
    fail_on_data_errors: bool,
    /// Ordered, so that the same state gives the same request.
    resources: [BTreeMap<Name, Watched>; ResourceType::ALL.len()],
    events: Vec<Event>,
}

/// One resource that is wanted, or was until now.
#[derive(Debug)]
struct Watched {
    /// Kept without being wanted until the server has been told: before that it takes the same
    /// name for no news, and would not answer again.
    wanted: bool,
    value: Option<Value>,
    failure: Option<Arc<Failure>>,
    state: ResourceState,
    timer: Wait,
    /// The bytes of `value`, by which an unchanged resource is recognised.
    bytes: Vec<u8>,
    version: Name,
    updated: Option<Instant>,
}

/// The resource timer of a resource without a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    /// To be asked for with the next request.
    Unasked,
    /// In a request that has not left yet.
    Asked,
    Until(Instant),
    Over,
}

/// An accepted resource.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) value: Value,
    pub(super) bytes: Vec<u8>,
    pub(super) version: Name,
}

impl Store {
    pub(super) fn new(node_id: &str, fail_on_data_errors: bool) -> Self {
        let node_id = node_id.to_owned();
        Self { node_id, fail_on_data_errors, resources: Default::default(), events: Vec::new() }
    }

    pub(super) fn node_id(&self) -> &str {
        &self.node_id
    }

    /// Wants `name`; whether that is new.
    pub(super) fn watch(&mut self, kind: ResourceType, name: &Name) -> bool {
        let resources = self.of(kind);
        let is_new = !resources.contains_key(name);
        if is_new {
            resources.insert(name.clone(), Watched::new());
        }
        is_new
    }

    /// No longer wants `name`, which is kept for a while where the server knows it;
    /// whether it was wanted.
    pub(super) fn unwatch(&mut self, kind: ResourceType, name: &str, is_up: bool) -> bool {
        let Some(watched) = self.of(kind).get_mut(name).filter(|watched| watched.wanted) else {
            return false;
        };
        watched.wanted = false;
        let is_told = is_up && watched.timer != Wait::Unasked;
        if watched.value.is_none() && !is_told {
            self.of(kind).remove(name);
        }
        true
    }

    /// Wants a name again that the server has not been told to leave out; whether it is one.
    pub(super) fn rejoin(&mut self, kind: ResourceType, name: &Name) -> bool {
        let found = self.of(kind).get_mut(name).filter(|watched| !watched.wanted);
        let Some(watched) = found else { return false };
        watched.wanted = true;
        if watched.value.is_some() || watched.failure.is_some() {
            self.tell(&ResourceId::new(kind, name.clone()));
        } else {
            // Its timer ended with the interest.
            watched.timer = Wait::Unasked;
        }
        true
    }

    /// Forgets what is not wanted: the server is about to be told.
    pub(super) fn forget_unwanted(&mut self, kind: ResourceType) {
        self.of(kind).retain(|_, watched| watched.wanted);
    }

    pub(super) fn is_watched(&self, kind: ResourceType, name: &str) -> bool {
        self.resources[kind as usize].contains_key(name)
    }

    pub(super) fn names(&self, kind: ResourceType) -> impl ExactSizeIterator<Item = &Name> {
        self.resources[kind as usize].keys()
    }

    /// Whether a value of that type is known.
    pub(super) fn has_value(&self, kind: ResourceType) -> bool {
        self.resources[kind as usize].values().any(|watched| watched.value.is_some())
    }

    /// Whether these are the bytes of the value known.
    pub(super) fn is_unchanged(&self, kind: ResourceType, name: &str, bytes: &[u8]) -> bool {
        let watched = self.resources[kind as usize].get(name);
        watched.is_some_and(|watched| watched.value.is_some() && watched.bytes == bytes)
    }

    /// A good value. A resource that is not wanted is passed over.
    pub(super) fn accept(&mut self, id: &ResourceId, accepted: Accepted, now: Instant) {
        let Some(watched) = self.of(id.kind).get_mut(&id.name) else { return };
        watched.value = Some(accepted.value);
        watched.bytes = accepted.bytes;
        watched.confirm(accepted.version, now);
        self.tell(id);
    }

    /// The value that is known, once more. Clears a failure; else nobody is told.
    pub(super) fn accept_unchanged(&mut self, id: &ResourceId, version: &Name, now: Instant) {
        let Some(watched) = self.of(id.kind).get_mut(&id.name) else { return };
        if watched.confirm(version.clone(), now) {
            self.tell(id);
        }
    }

    /// An answer that was refused.
    pub(super) fn refuse(&mut self, id: &ResourceId, text: &str, now: Instant) {
        self.fail_data(id, (FailureKind::Invalid, ResourceState::Nacked), text, now);
    }

    /// The control plane has it no longer, or says that it has none.
    pub(super) fn remove(&mut self, id: &ResourceId, text: &str, now: Instant) {
        let had = self.of(id.kind).get(&id.name).is_some_and(|watched| watched.value.is_some());
        let kind = if had { FailureKind::Deleted } else { FailureKind::DoesNotExist };
        self.fail_data(id, (kind, ResourceState::DoesNotExist), text, now);
    }

    /// The names of that type that have a value and were last seen in an answer.
    pub(super) fn received(&self, kind: ResourceType) -> impl Iterator<Item = &Name> {
        let has = |(_, watched): &(&Name, &Watched)| {
            watched.value.is_some() && watched.state != ResourceState::DoesNotExist
        };
        self.resources[kind as usize].iter().filter(has).map(|(name, _)| name)
    }

    /// Not the resource's fault: what is known stays as it is.
    pub(super) fn fail(
        &mut self,
        kind: ResourceType,
        name: &Name,
        failure: FailureKind,
        text: &str,
        now: Instant,
    ) {
        let id = ResourceId::new(kind, name.clone());
        self.set_failure(&id, failure, ResourceState::ReceivedError, text, now);
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
    }

    /// The server cannot be reached: whatever has no value fails with that reason. Of what has
    /// one, the listeners alone are marked: they head every chain of reasons, and the others
    /// would cost an update of all there is, just when nothing must be disturbed.
    pub(super) fn fail_all(&mut self, text: &str, now: Instant) {
        for kind in ResourceType::ALL {
            let concerned = |watched: &Watched| {
                watched.failure.is_none()
                    && (kind == ResourceType::Listener || watched.value.is_none())
            };
            let failing = self.resources[kind as usize].iter();
            let failing = failing.filter(|(_, watched)| concerned(watched));
            let names: Vec<Name> = failing.map(|(name, _)| name.clone()).collect();
            for name in names {
                self.fail(kind, &name, FailureKind::Unreachable, text, now);
            }
        }
    }

    /// The server answered: values that were marked because it could not be reached are sound.
    pub(super) fn reached(&mut self) {
        let listeners = &mut self.resources[ResourceType::Listener as usize];
        let mut healed = Vec::new();
        for (name, watched) in listeners {
            let is_marked = watched.failure.as_ref().is_some_and(|failure| {
                failure.kind == FailureKind::Unreachable && watched.value.is_some()
            });
            if is_marked {
                watched.failure = None;
                watched.state = ResourceState::Acked;
                healed.push(ResourceId::new(ResourceType::Listener, name.clone()));
            }
        }
        healed.iter().for_each(|id| self.tell(id));
    }

    /// The resources of that type whose timer begins when the request being made has left.
    pub(super) fn start_waiting(&mut self, kind: ResourceType) -> Vec<ResourceId> {
        let waiting = self.of(kind).iter_mut().filter(|(_, w)| w.timer == Wait::Unasked);
        let asked = waiting.map(|(name, watched)| {
            watched.timer = Wait::Asked;
            ResourceId::new(kind, name.clone())
        });
        asked.collect()
    }

    /// Begins a resource timer, unless an answer or the end of the interest came first.
    pub(super) fn start_timer(&mut self, id: &ResourceId, ends: Instant) -> bool {
        let watched = self.of(id.kind).get_mut(&id.name);
        let Some(watched) = watched.filter(|watched| watched.timer == Wait::Asked) else {
            return false;
        };
        watched.timer = Wait::Until(ends);
        true
    }

    pub(super) fn is_timed(&self, id: &ResourceId, ends: Instant) -> bool {
        let watched = self.resources[id.kind as usize].get(&id.name);
        watched.is_some_and(|watched| watched.wanted && watched.timer == Wait::Until(ends))
    }

    /// On a new stream only what has no value is waited for again.
    pub(super) fn restart_waiting(&mut self) {
        for watched in self.resources.iter_mut().flat_map(BTreeMap::values_mut) {
            watched.timer = if watched.value.is_some() { Wait::Over } else { Wait::Unasked };
        }
    }

    pub(super) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    pub(super) fn statuses(&self) -> impl Iterator<Item = ResourceStatus> {
        ResourceType::ALL.into_iter().flat_map(|kind| {
            let wanted = self.resources[kind as usize].iter().filter(|(_, w)| w.wanted);
            wanted.map(move |(name, watched)| ResourceStatus {
                id: ResourceId::new(kind, name.clone()),
                state: watched.state,
                version: watched.version.clone(),
                updated: watched.updated,
                failure: watched.failure.clone(),
            })
        })
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Value> {
        let wanted = self.resources.iter().flat_map(BTreeMap::values).filter(|w| w.wanted);
        wanted.filter_map(|watched| watched.value.as_ref())
    }

    /// A failure that the resource itself is the cause of.
    fn fail_data(
        &mut self,
        id: &ResourceId,
        (failure, state): (FailureKind, ResourceState),
        text: &str,
        now: Instant,
    ) {
        if self.fail_on_data_errors
            && let Some(watched) = self.of(id.kind).get_mut(&id.name)
        {
            watched.value = None;
            watched.bytes = Vec::new();
            watched.version = "".into();
        }
        self.set_failure(id, failure, state, text, now);
    }

    /// Nobody is told twice of the same failure.
    fn set_failure(
        &mut self,
        id: &ResourceId,
        kind: FailureKind,
        state: ResourceState,
        text: &str,
        now: Instant,
    ) {
        let text = format!("{text} (node {:?})", self.node_id);
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

    fn tell(&mut self, id: &ResourceId) {
        let watched = self.resources[id.kind as usize].get(&id.name);
        if let Some(watched) = watched.filter(|watched| watched.wanted) {
            let (value, failure) = (watched.value.clone(), watched.failure.clone());
            self.events.push(Event::new(id.clone(), value, failure));
        }
    }

    fn of(&mut self, kind: ResourceType) -> &mut BTreeMap<Name, Watched> {
        &mut self.resources[kind as usize]
    }
}

impl Watched {
    fn new() -> Self {
        Self {
            wanted: true,
            value: None,
            failure: None,
            state: ResourceState::Requested,
            timer: Wait::Unasked,
            bytes: Vec::new(),
            version: "".into(),
            updated: None,
        }
    }

    /// The value is the control plane's current one; whether a failure is over thereby.
    fn confirm(&mut self, version: Name, now: Instant) -> bool {
        self.timer = Wait::Over;
        self.state = ResourceState::Acked;
        self.version = version;
        self.updated = Some(now);
        self.failure.take().is_some()
    }
}

//! What is known of each resource: value, failure, timer, state (gRFC A57, A88).
//!
//! One store behind all streams, whatever protocol they speak.

use std::collections::BTreeMap;
use std::time::Instant;

use mesh_core::resource::Name;
use mesh_core::{ResourceId, ResourceType};

use super::directory::{AuthorityIndex, ServerIndex};
use super::redacted::redacted;
use super::ttl::Lifetimes;
use super::watched::{Accepted, Wait, Watched};
use super::{Event, ResourceDump, ResourceStatus};
use crate::decode::Value;

/// The resources wanted. Forgets those that are no longer wanted.
#[derive(Debug)]
pub(super) struct Store {
    node_id: String,
    /// Ordered, so that the same state gives the same request.
    pub(super) resources: [BTreeMap<Name, Box<Watched>>; ResourceType::ALL.len()],
    /// The types of which all there are is wanted, of the default authority.
    wild: [bool; ResourceType::ALL.len()],
    pub(super) events: Vec<Event>,
    pub(super) lifetimes: Lifetimes,
}

impl Store {
    pub(super) fn new(node_id: &str) -> Self {
        Self {
            node_id: node_id.to_owned(),
            resources: Default::default(),
            wild: Default::default(),
            events: Vec::new(),
            lifetimes: Lifetimes::default(),
        }
    }

    pub(super) fn node_id(&self) -> &str {
        &self.node_id
    }

    pub(super) fn is_wild(&self, kind: ResourceType) -> bool {
        self.wild[kind as usize]
    }

    /// Wants all of a type, or no longer. What came by that alone is forgotten when it ends.
    pub(super) fn set_wild(&mut self, kind: ResourceType, is_wild: bool) {
        self.wild[kind as usize] = is_wild;
        if !is_wild {
            self.of(kind).retain(|_, watched| watched.named);
        }
    }

    /// Wants `name`; whether that is new.
    pub(super) fn watch(
        &mut self,
        kind: ResourceType,
        name: &Name,
        authority: AuthorityIndex,
    ) -> bool {
        let resources = self.of(kind);
        let is_new = !resources.contains_key(name);
        if is_new {
            resources.insert(name.clone(), Box::new(Watched::new(authority, true)));
        }
        is_new
    }

    /// No longer wants `name`, which is kept for a while where the server knows it;
    /// whether it was wanted.
    pub(super) fn unwatch(&mut self, kind: ResourceType, name: &str, is_up: bool) -> bool {
        let is_wild = self.is_wild(kind);
        let Some(watched) = self.of(kind).get_mut(name).filter(|watched| watched.named) else {
            return false;
        };
        let is_wild = is_wild && watched.authority == AuthorityIndex::DEFAULT;
        watched.named = false;
        let is_told = is_up && watched.timer != Wait::Unasked;
        if watched.value.is_none() && (!is_told || is_wild) {
            self.of(kind).remove(name);
        }
        true
    }

    /// Wants a name again that the server has not been told to leave out, or that is there with
    /// all others; whether it is one.
    pub(super) fn rejoin(&mut self, kind: ResourceType, name: &Name) -> bool {
        let found = self.of(kind).get_mut(name).filter(|watched| !watched.named);
        let Some(watched) = found else { return false };
        watched.named = true;
        if watched.value.is_some() || watched.failure.is_some() {
            self.tell(&ResourceId::new(kind, name.clone()));
        } else {
            // Its timer ended with the interest.
            watched.timer = Wait::Unasked;
        }
        true
    }

    /// Forgets what is not wanted: the servers have been told, or are about to be.
    pub(super) fn forget_unwanted(&mut self, kind: ResourceType) {
        let is_wild = self.is_wild(kind);
        self.of(kind).retain(|_, watched| {
            watched.named || is_wild && watched.authority == AuthorityIndex::DEFAULT
        });
    }

    pub(super) fn get(&self, kind: ResourceType, name: &str) -> Option<&Watched> {
        self.resources[kind as usize].get(name).map(Box::as_ref)
    }

    /// A name as it is kept.
    pub(super) fn known_name(&self, kind: ResourceType, name: &str) -> Option<&Name> {
        self.resources[kind as usize].get_key_value(name).map(|(name, _)| name)
    }

    /// The names that have to be asked for one by one, with their authorities. What comes with
    /// all others of its type is not among them: a server that is asked for both may take the
    /// names for all that is wanted.
    pub(super) fn asked_names(
        &self,
        kind: ResourceType,
    ) -> impl Iterator<Item = (&Name, AuthorityIndex)> {
        let named = self.resources[kind as usize].iter().filter(|(_, watched)| watched.named);
        let names = named.map(|(name, watched)| (name, watched.authority));
        names.filter(move |(_, authority)| !self.is_covered(kind, *authority))
    }

    /// Whether `name` has to be asked for by itself.
    pub(super) fn asks_for(&self, kind: ResourceType, name: &str) -> bool {
        let watched = self.get(kind, name).filter(|watched| watched.named);
        watched.is_some_and(|watched| !self.is_covered(kind, watched.authority))
    }

    fn is_covered(&self, kind: ResourceType, authority: AuthorityIndex) -> bool {
        self.is_wild(kind) && authority == AuthorityIndex::DEFAULT
    }

    /// Whether these are the bytes of the value known.
    pub(super) fn is_unchanged(&self, kind: ResourceType, name: &str, bytes: &[u8]) -> bool {
        let watched = self.get(kind, name);
        watched.is_some_and(|watched| watched.value.is_some() && *watched.bytes == *bytes)
    }

    /// A good value. A resource that is not wanted is passed over.
    pub(super) fn accept(&mut self, id: &ResourceId, accepted: Accepted, now: Instant) {
        let Some(watched) = self.entry(id) else { return };
        watched.value = Some(accepted.value);
        watched.bytes = accepted.bytes.into();
        watched.confirm(accepted.version, accepted.origin, now);
        self.tell(id);
    }

    /// The value that is known, once more. Clears a failure; else nobody is told.
    pub(super) fn accept_unchanged(
        &mut self,
        id: &ResourceId,
        version: &Name,
        origin: ServerIndex,
        now: Instant,
    ) {
        let Some(watched) = self.of(id.kind).get_mut(&id.name) else { return };
        if watched.confirm(version.clone(), origin, now) {
            self.tell(id);
        }
    }

    /// The names of that type that have a value and were last seen in an answer; of an authority
    /// that was asked for all it has, also those without.
    pub(super) fn received(
        &self,
        kind: ResourceType,
        complete: Option<AuthorityIndex>,
    ) -> impl Iterator<Item = (&Name, AuthorityIndex)> {
        let has = move |watched: &Watched| {
            let is_known = watched.value.is_some() || complete == Some(watched.authority);
            is_known && watched.state != super::ResourceState::DoesNotExist
        };
        let all = self.resources[kind as usize].iter();
        let received = all.filter(move |(_, watched)| has(watched));
        received.map(|(name, watched)| (name, watched.authority))
    }

    /// The names of that type whose value is that server's, with its version.
    pub(super) fn known_from<'a>(
        &'a self,
        kind: ResourceType,
        server: ServerIndex,
        is_served: impl Fn(AuthorityIndex) -> bool + 'a,
    ) -> impl Iterator<Item = (&'a Name, &'a Name)> {
        let own = self.wanted(kind).filter(move |(_, watched)| {
            watched.value.is_some()
                && watched.origin == Some(server)
                && is_served(watched.authority)
        });
        own.map(|(name, watched)| (name, &watched.version))
    }

    /// Whether there are values of that type, and all are that server's.
    pub(super) fn is_all_from(
        &self,
        kind: ResourceType,
        server: ServerIndex,
        is_served: impl Fn(AuthorityIndex) -> bool,
    ) -> bool {
        let values = self.resources[kind as usize].values();
        let mut values = values
            .filter(|watched| watched.value.is_some() && is_served(watched.authority))
            .peekable();
        values.peek().is_some() && values.all(|watched| watched.origin == Some(server))
    }

    pub(super) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    pub(super) fn statuses(&self) -> impl Iterator<Item = ResourceStatus> {
        let kinds = ResourceType::ALL.into_iter();
        kinds.flat_map(|kind| {
            self.wanted(kind).map(move |(name, watched)| watched.status(kind, name))
        })
    }

    /// With the bytes; those of secrets without their keys.
    pub(super) fn dumps(&self) -> impl Iterator<Item = ResourceDump> {
        let kinds = ResourceType::ALL.into_iter();
        kinds.flat_map(|kind| {
            self.wanted(kind).map(move |(name, watched)| {
                let bytes = watched.value.is_some().then_some(&watched.bytes[..]);
                ResourceDump {
                    status: watched.status(kind, name),
                    bytes: bytes.and_then(|bytes| match kind {
                        ResourceType::Secret => redacted(bytes),
                        _ => Some(bytes.to_vec()),
                    }),
                    origin: watched.origin,
                }
            })
        })
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Value> {
        let wanted = ResourceType::ALL.into_iter().flat_map(|kind| self.wanted(kind));
        wanted.filter_map(|(_, watched)| watched.value.as_ref())
    }

    fn wanted(&self, kind: ResourceType) -> impl Iterator<Item = (&Name, &Watched)> {
        let is_wild = self.is_wild(kind);
        let all = self.resources[kind as usize].iter().map(|(name, watched)| (name, &**watched));
        all.filter(move |(_, watched)| watched.named || is_wild)
    }

    /// Tells again how a resource stands, if anything is known of it.
    pub(super) fn retell(&mut self, id: &ResourceId) {
        let known = |watched: &Watched| watched.value.is_some() || watched.failure.is_some();
        if self.get(id.kind, &id.name).is_some_and(known) {
            self.tell(id);
        }
    }

    pub(super) fn tell(&mut self, id: &ResourceId) {
        let is_wild = self.is_wild(id.kind);
        let watched = self.resources[id.kind as usize].get(&id.name);
        if let Some(watched) = watched.filter(|watched| watched.named || is_wild) {
            let (value, failure) = (watched.value.clone(), watched.failure.clone());
            self.events.push(Event::new(id.clone(), value, failure));
        }
    }

    /// The entry of a resource that came: one of those wanted, or a new one where all are.
    pub(super) fn entry(&mut self, id: &ResourceId) -> Option<&mut Watched> {
        let is_wild = self.is_wild(id.kind) && super::name::authority(&id.name).is_none();
        let resources = self.of(id.kind);
        if is_wild && !resources.contains_key(&id.name) {
            let made = Watched::new(AuthorityIndex::DEFAULT, false);
            resources.insert(id.name.clone(), Box::new(made));
        }
        resources.get_mut(&id.name).map(Box::as_mut)
    }

    pub(super) fn of(&mut self, kind: ResourceType) -> &mut BTreeMap<Name, Box<Watched>> {
        &mut self.resources[kind as usize]
    }
}

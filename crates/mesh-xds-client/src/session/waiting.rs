//! Resource timers, as the store sees them (gRFC A57).

use std::time::Instant;

use mesh_core::{ResourceId, ResourceType};

use super::directory::{AuthorityIndex, ServerIndex};
use super::store::Store;
use super::watched::Wait;

impl Store {
    /// The resources of that type whose timer begins when the request to `server` that is being
    /// made has left.
    pub(super) fn start_waiting(
        &mut self,
        kind: ResourceType,
        server: ServerIndex,
        is_served: impl Fn(AuthorityIndex) -> bool,
    ) -> Vec<ResourceId> {
        let waiting = self
            .of(kind)
            .iter_mut()
            .filter(|(_, watched)| watched.timer == Wait::Unasked && is_served(watched.authority));
        let asked = waiting.map(|(name, watched)| {
            watched.timer = Wait::Asked(server);
            ResourceId::new(kind, name.clone())
        });
        asked.collect()
    }

    /// A resource without a value is waited for as if it had been asked for; whether it is one.
    pub(super) fn ask(&mut self, id: &ResourceId, server: ServerIndex) -> bool {
        let watched = self.of(id.kind).get_mut(&id.name);
        let Some(watched) = watched.filter(|watched| watched.timer == Wait::Unasked) else {
            return false;
        };
        watched.timer = Wait::Asked(server);
        true
    }

    /// Begins a resource timer, unless an answer or the end of the interest came first.
    pub(super) fn start_timer(
        &mut self,
        id: &ResourceId,
        server: ServerIndex,
        ends: Instant,
    ) -> bool {
        let watched = self.of(id.kind).get_mut(&id.name);
        let Some(watched) = watched.filter(|watched| watched.timer == Wait::Asked(server)) else {
            return false;
        };
        watched.timer = Wait::Until(server, ends);
        true
    }

    /// Ends a timer later than it was to.
    pub(super) fn postpone(
        &mut self,
        id: &ResourceId,
        server: ServerIndex,
        ends: Instant,
        later: Instant,
    ) {
        let watched = self.of(id.kind).get_mut(&id.name);
        if let Some(watched) = watched.filter(|w| w.timer == Wait::Until(server, ends)) {
            watched.timer = Wait::Until(server, later);
        }
    }

    pub(super) fn is_timed(&self, id: &ResourceId, server: ServerIndex, ends: Instant) -> bool {
        let watched = self.get(id.kind, &id.name);
        watched.is_some_and(|watched| watched.named && watched.timer == Wait::Until(server, ends))
    }

    /// On a new stream only what has no value is waited for again.
    pub(super) fn restart_waiting(&mut self, is_served: impl Fn(AuthorityIndex) -> bool) {
        for watched in self.resources.iter_mut().flat_map(|resources| resources.values_mut()) {
            if is_served(watched.authority) {
                watched.timer = if watched.value.is_some() { Wait::Over } else { Wait::Unasked };
            }
        }
    }

    /// What was asked of `server`, whose stream is gone, waits for `other` if that has been
    /// asked as well, else until it is asked for again.
    pub(super) fn stop_waiting(
        &mut self,
        server: ServerIndex,
        other: impl Fn(AuthorityIndex) -> Option<ServerIndex>,
    ) -> Vec<(ServerIndex, ResourceId)> {
        let mut moved = Vec::new();
        for kind in ResourceType::ALL {
            for (name, watched) in self.of(kind) {
                match watched.timer {
                    Wait::Asked(of) | Wait::Until(of, _) if of == server => {}
                    _ => continue,
                }
                watched.timer = Wait::Unasked;
                if let Some(other) = other(watched.authority) {
                    watched.timer = Wait::Asked(other);
                    moved.push((other, ResourceId::new(kind, name.clone())));
                }
            }
        }
        moved
    }
}

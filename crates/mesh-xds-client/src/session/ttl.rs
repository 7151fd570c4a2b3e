//! Times to live: resources that a server wants dropped unless it renews them.
//!
//! A server gives one in the `Resource` message around a resource, and renews it by the resource or by
//! a heartbeat: the same message with the same version and nothing in it. It counts whether or not the
//! server can be reached.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use mesh_core::ResourceId;

/// When each resource that has a time to live is to be dropped.
#[derive(Debug, Default)]
pub(super) struct Lifetimes {
    ends: HashMap<ResourceId, Instant>,
    queue: BTreeSet<(Instant, ResourceId)>,
}

impl Lifetimes {
    /// Gives `id` that time from now on; none has it stay.
    pub(super) fn set(&mut self, id: &ResourceId, ttl: Option<Duration>, now: Instant) {
        // Without any times, as almost always, this costs nothing.
        if ttl.is_none() && self.ends.is_empty() {
            return;
        }
        let ends = ttl.map(|ttl| now + ttl);
        let before = match ends {
            Some(ends) => self.ends.insert(id.clone(), ends),
            None => self.ends.remove(id),
        };
        if let Some(before) = before {
            self.queue.remove(&(before, id.clone()));
        }
        if let Some(ends) = ends {
            self.queue.insert((ends, id.clone()));
        }
    }

    /// When [`pop`](Self::pop) has something to give.
    pub(super) fn next(&self) -> Option<Instant> {
        self.queue.first().map(|(ends, _)| *ends)
    }

    /// A resource whose time is over at `now`.
    pub(super) fn pop(&mut self, now: Instant) -> Option<ResourceId> {
        if self.next()? > now {
            return None;
        }
        let (_, id) = self.queue.pop_first()?;
        self.ends.remove(&id);
        Some(id)
    }

    /// Puts all ends off: nothing was read meanwhile.
    pub(super) fn postpone(&mut self, by: Duration) {
        for ends in self.ends.values_mut() {
            *ends += by;
        }
        self.queue = self.ends.iter().map(|(id, ends)| (*ends, id.clone())).collect();
    }

    /// Forgets what is not known any more once that is most of it, so that names which come and go
    /// are not kept for as long as they were to live.
    pub(super) fn prune(&mut self, is_known: impl Fn(&ResourceId) -> bool, known: usize) {
        if self.ends.len() > 2 * known + FEW {
            self.ends.retain(|id, _| is_known(id));
            self.queue.retain(|(_, id)| is_known(id));
        }
    }
}

/// So few are not worth looking for.
const FEW: usize = 64;

//! The listeners of a sidecar, and which of them is a target's.
//!
//! A sidecar's listeners are made for connections that are redirected to it: each has an address
//! and a port, and serves all hosts that can be reached there. For a target this finds the one that
//! its connection would have come to, and tells the graph of it as if it were a Listener by the
//! target's name. A server is told of the chains that take connections to its port in the same way.

mod choice;
pub(crate) mod inbound;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mesh_core::finding::{Failure, FailureKind};
use mesh_core::resource::{Listener, Name, ServerListener, TrafficDirection};
use mesh_core::{ResourceId, ResourceType};

use crate::decode::Value;
use crate::session::Event;

/// All listeners that came, and the targets and servers that want one.
#[derive(Debug)]
pub(crate) struct Outbound {
    /// Whether a listener that is gone is gone for targets (gRFC A88), or stays.
    fails_on_data_errors: bool,
    listeners: BTreeMap<Name, Arc<ServerListener>>,
    /// Servers go by names of their own.
    targets: HashMap<Name, Chosen>,
    /// When the last listener came that was not there before.
    grown: Option<Instant>,
    /// Targets whose listener may still be on its way.
    expecting: BTreeSet<Name>,
}

#[derive(Debug, Default)]
struct Chosen {
    /// The listener, and what was made of it.
    made: Option<(Arc<ServerListener>, Value)>,
    /// Why there is none, from the session: nobody answers, or not in time.
    failure: Option<Arc<Failure>>,
}

impl Outbound {
    pub(crate) fn new(fails_on_data_errors: bool) -> Self {
        Self {
            fails_on_data_errors,
            listeners: BTreeMap::new(),
            targets: HashMap::new(),
            grown: None,
            expecting: BTreeSet::new(),
        }
    }

    /// A target wants its listener from now on. What there is to tell at once: where others have
    /// come, and a while ago, this one is not on its way.
    pub(crate) fn follow(&mut self, target: &Name, now: Instant) -> Option<Event> {
        self.targets.entry(target.clone()).or_default();
        self.expecting.insert(target.clone());
        match self.deadline() {
            Some(deadline) if deadline <= now => self.give_up(target),
            _ => self.settle(target),
        }
    }

    pub(crate) fn forget(&mut self, target: &Name) {
        self.targets.remove(target);
        self.expecting.remove(target);
    }

    /// When [`expire`](Self::expire) has something to tell.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.grown.filter(|_| !self.expecting.is_empty()).map(|grown| grown + SETTLING)
    }

    /// What there is to tell of targets whose listener did not come with the others.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<Event> {
        if self.deadline().is_none_or(|deadline| deadline > now) {
            return Vec::new();
        }
        let expecting = std::mem::take(&mut self.expecting);
        expecting.iter().filter_map(|target| self.give_up(target)).collect()
    }

    fn give_up(&mut self, name: &Name) -> Option<Event> {
        self.expecting.remove(name);
        let target = self.targets.get_mut(name)?;
        target.failure.get_or_insert_with(|| missing(name, FailureKind::DoesNotExist));
        self.settle(name)
    }

    /// The listeners for connections to the application.
    pub(crate) fn inbound(&self) -> impl Iterator<Item = &Arc<ServerListener>> {
        let listeners = self.listeners.values();
        listeners.filter(|listener| listener.traffic_direction == TrafficDirection::Inbound)
    }

    /// What the graph is told in place of an event of the session.
    pub(crate) fn take(&mut self, event: Event, now: Instant) -> Vec<Event> {
        if event.id.kind != ResourceType::Listener {
            return vec![event];
        }
        let name = &event.id.name;
        let port = match event.value {
            Some(Value::ServerListener(listener)) => {
                let port = listener.address.port();
                let before = self.listeners.insert(name.clone(), listener);
                if before.is_none() {
                    self.grown = Some(now);
                }
                let moved = before.map(|before| before.address.port());
                return self.settle_ports(port, moved);
            }
            // A control plane that has one for the target itself, as for a gRPC client.
            Some(Value::Listener(_)) if self.targets.contains_key(name) => return vec![event],
            _ => self.listeners.remove(name).map(|gone| gone.address.port()),
        };
        if let Some(port) = port {
            return self.settle_ports(port, None);
        }
        // No listener of that name: a target, for which the session has something to say.
        let Some(target) = self.targets.get_mut(name) else { return Vec::new() };
        target.failure = match event.failure {
            // Nothing has a server's name; what it lacks is a chain.
            Some(failure)
                if failure.kind == FailureKind::DoesNotExist
                    && inbound::address(name).is_some() =>
            {
                Some(missing(name, FailureKind::DoesNotExist))
            }
            failure => failure,
        };
        self.settle(&event.id.name).into_iter().collect()
    }

    fn settle_ports(&mut self, port: u16, other: Option<u16>) -> Vec<Event> {
        let is_there = |target: &&Name| {
            let there = choice::port(target);
            there == port || Some(there) == other || inbound::address(target).is_some()
        };
        let concerned: Vec<Name> = self.targets.keys().filter(is_there).cloned().collect();
        concerned.iter().filter_map(|target| self.settle(target)).collect()
    }

    /// Chooses a target's listener; what there is to tell of it.
    fn settle(&mut self, name: &Name) -> Option<Event> {
        let target = self.targets.get_mut(name)?;
        let id = ResourceId::new(ResourceType::Listener, name.clone());
        let local = inbound::address(name);
        let chosen = match local {
            Some(local) => {
                inbound::choose(self.listeners.values(), local).map(|found| (found, None))
            }
            None => choice::choose(self.listeners.values(), name)
                .map(|(found, manager)| (found, Some(manager))),
        };
        let Some((listener, manager)) = chosen else {
            if target.made.is_some() {
                target.failure = Some(missing(name, FailureKind::Deleted));
            }
            if self.fails_on_data_errors {
                target.made = None;
            }
            let value = target.made.as_ref().map(|(_, made)| made.clone());
            let failure = target.failure.clone();
            return (value.is_some() || failure.is_some()).then(|| Event::new(id, value, failure));
        };
        let unchanged = target.made.as_ref().filter(|(chosen, _)| Arc::ptr_eq(chosen, listener));
        let made = match unchanged {
            Some((_, made)) => made.clone(),
            None => match (local, manager) {
                (Some(local), _) => {
                    Value::ServerListener(Arc::new(inbound::made(listener, name, local)))
                }
                (None, Some((manager, is_tcp))) => {
                    let mut made = Listener::new(name.clone(), manager.clone());
                    made.is_tcp = is_tcp;
                    Value::Listener(Arc::new(made))
                }
                (None, None) => return None,
            },
        };
        target.made = Some((listener.clone(), made.clone()));
        self.expecting.remove(name);
        // That no listener has the target's own name is as it should be.
        target.failure.take_if(|failure| failure.kind != FailureKind::Unreachable);
        Some(Event::new(id, Some(made), target.failure.clone()))
    }
}

/// Listeners may come in several responses (delta): those of one set follow each other within this
/// time, which is a guess, and what a request to a host without a listener waits for at most.
const SETTLING: Duration = Duration::from_secs(1);

fn missing(target: &Name, kind: FailureKind) -> Arc<Failure> {
    let id = ResourceId::new(ResourceType::Listener, target.clone());
    let text = match inbound::address(target) {
        Some(_) => "the sidecar has no inbound filter chain for that port",
        None => "no outbound listener of the sidecar's takes connections there",
    };
    Arc::new(Failure::new(id, kind, text, None))
}

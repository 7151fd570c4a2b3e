//! What a client knows, and how its parts tell each other.

use std::time::Instant;

use mesh_core::{ResourceId, ResourceType};

use super::report::Health;
use super::reporting::Reporting;
use crate::client::lingering::Lingering;
use crate::client::mailbox::{Room, Sender};
use crate::client::names::Names;
use crate::graph::{Graph, Outbound, Step};
use crate::session::{Event, ServerIndex, Session};

#[derive(Debug)]
pub(super) struct State {
    pub(super) session: Session,
    pub(super) graph: Graph,
    /// Between the two, when all listeners of a sidecar come and each target has one of them.
    pub(super) outbound: Option<Outbound>,
    pub(super) names: Names,
    pub(super) lingering: Lingering,
    pub(super) reporting: Reporting,
    pub(super) mailbox: Sender,
    /// By server.
    pub(super) links: Vec<LinkStatus>,
    pub(super) deadline: Option<Instant>,
    /// Since when no responses are read because the data plane has not taken in the last ones.
    pub(super) held: Option<Instant>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct LinkStatus {
    pub(super) in_use: bool,
    pub(super) connected: bool,
    pub(super) error: Option<(String, Instant)>,
    pub(super) health: Health,
}

impl State {
    pub(super) fn tell(&mut self, event: Event, now: Instant) {
        self.reporting.take(&event);
        match &mut self.outbound {
            Some(outbound) => {
                outbound.take(event, now).into_iter().for_each(|event| self.graph.apply(event));
            }
            None => self.graph.apply(event),
        }
    }

    pub(super) fn act(&mut self, step: Step, now: Instant) {
        use ResourceType::Listener;
        for id in step.unsubscribe {
            if let (Some(outbound), Listener) = (&mut self.outbound, id.kind) {
                outbound.forget(&id.name);
            }
            // What has no value yet may as well be asked for anew.
            let ended = match self.session.has_value(id.kind, &id.name) {
                true => self.lingering.begin(id, now),
                false => vec![id],
            };
            self.let_go(&ended);
        }
        for id in &step.subscribe {
            // Where it is still asked for, this tells what is known.
            self.lingering.end(id);
            self.session.subscribe(id.kind, &id.name, now);
            if let (Some(outbound), Listener) = (&mut self.outbound, id.kind) {
                outbound
                    .follow(&id.name, now)
                    .into_iter()
                    .for_each(|event| self.graph.apply(event));
            }
        }
        step.stop_resolving.iter().for_each(|key| self.names.stop(key));
        step.resolve.into_iter().for_each(|dns| self.names.start(dns));
        self.mailbox.put(step.update);
    }

    /// Sees to all that is due.
    pub(super) fn expire(&mut self, now: Instant) {
        self.session.expire(now);
        let ended = self.lingering.expired(now);
        self.let_go(&ended);
        if let Some(outbound) = &mut self.outbound {
            outbound.expire(now).into_iter().for_each(|event| self.graph.apply(event));
        }
    }

    /// When that is.
    pub(super) fn next_deadline(&mut self) -> Option<Instant> {
        let outbound = self.outbound.as_ref().and_then(Outbound::deadline);
        let deadlines = [self.session.next_deadline(), self.lingering.deadline(), outbound];
        deadlines.into_iter().flatten().min()
    }

    pub(super) fn let_go(&mut self, names: &[ResourceId]) {
        for id in names {
            self.session.unsubscribe(id.kind, &id.name);
            if id.kind == ResourceType::Cluster {
                self.reporting.forget(&id.name);
            }
        }
    }

    pub(super) fn set_down(&mut self, server: ServerIndex, error: &str, now: Instant) {
        let link = &mut self.links[server.get()];
        link.connected = false;
        link.error = Some((error.to_owned(), now));
    }

    /// Whether responses are not read for want of room. Resource timers stand still meanwhile.
    pub(super) fn is_held(&mut self, room: &Room, now: Instant) -> bool {
        if !room.is_there() {
            self.held.get_or_insert(now);
            return true;
        }
        if let Some(since) = self.held.take() {
            self.session.postpone(now.saturating_duration_since(since));
        }
        false
    }
}

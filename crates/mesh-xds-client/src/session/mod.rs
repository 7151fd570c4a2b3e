//! The ADS session: what is said on a stream and what is known, without I/O.
//!
//! Messages, stream changes and times go in; [requests](Session::poll_request),
//! [events](Session::take_events) and a [deadline](Session::next_deadline) come out. Two parts
//! share the work, so that another wire form or a second server changes one of them only:
//!
//! | part | knows | rule |
//! |---|---|---|
//! | `wire` | versions, nonces, what has been asked on this stream | xDS, state of the world |
//! | `store` | each resource's last good value, failure, timer and state | gRFC A57 and A88 |
//!
//! Requests are made when there is room to send one, from the names wanted at that moment: any
//! number of subscription changes in between cost one request per type.

mod backoff;
mod event;
mod receive;
mod state;
mod store;
#[cfg(test)]
mod tests;
mod wire;

pub use backoff::Backoff;
pub use event::Event;
pub use state::{ResourceState, ResourceStatus};

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use mesh_core::finding::FailureKind;
use mesh_core::resource::Name;
use mesh_core::{ResourceId, ResourceType};
use mesh_pb::envoy::service::discovery::v3::DiscoveryRequest;

use crate::bootstrap::{Node, ServerFeatures};
use store::Store;
use wire::Wire;
pub(crate) use wire::type_url;

/// One control-plane server's stream, and the resources known from it.
#[derive(Debug)]
pub struct Session {
    wire: Wire,
    store: Store,
    timer: Timer,
    /// Why the server cannot be reached, while that is so.
    unreachable: Option<String>,
    answered: bool,
}

/// The resource timers. All have the same length, so they end in the order they began.
#[derive(Debug)]
struct Timer {
    length: Duration,
    kind: FailureKind,
    running: VecDeque<(Instant, ResourceId)>,
    /// Asked for in a request that has not left yet.
    asked: Vec<ResourceId>,
}

impl Timer {
    /// gRFC A57: a resource that is not answered for within 15 s does not exist. gRFC A88: or the
    /// server is slow, and is given twice the time.
    fn new(features: ServerFeatures) -> Self {
        let (length, kind) = if features.resource_timer_is_transient_error {
            (Duration::from_secs(30), FailureKind::Unreachable)
        } else {
            (Duration::from_secs(15), FailureKind::DoesNotExist)
        };
        Self { length, kind, running: VecDeque::new(), asked: Vec::new() }
    }
}

impl Session {
    /// A session that has said and heard nothing yet.
    pub fn new(node: &Node, features: ServerFeatures) -> Self {
        Self {
            wire: Wire::new(node),
            store: Store::new(&node.id, features.fail_on_data_errors),
            timer: Timer::new(features),
            unreachable: None,
            answered: false,
        }
    }

    /// Wants a resource. While the server cannot be reached, its failure is told at once.
    pub fn subscribe(&mut self, kind: ResourceType, name: &Name, now: Instant) {
        if self.store.rejoin(kind, name) {
            self.wire.names_changed(kind);
            return;
        }
        if !self.store.watch(kind, name) {
            return;
        }
        self.wire.names_changed(kind);
        if let Some(text) = &self.unreachable {
            self.store.fail(kind, name, FailureKind::Unreachable, text, now);
        }
    }

    /// No longer wants a resource, and forgets it as soon as the server is told.
    pub fn unsubscribe(&mut self, kind: ResourceType, name: &str) {
        if self.store.unwatch(kind, name, self.wire.is_up()) {
            self.wire.names_changed(kind);
        }
    }

    /// A stream is being opened over a connected transport: everything is asked for again.
    pub fn stream_up(&mut self) {
        self.answered = false;
        ResourceType::ALL.into_iter().for_each(|kind| self.store.forget_unwanted(kind));
        self.store.restart_waiting();
        self.wire.stream_up(&self.store);
    }

    /// The stream ended, or could not be opened, because of `error`.
    ///
    /// Returns whether the server had answered on it. If it had, that is no error (gRFC A57):
    /// servers close streams in the ordinary course of things.
    pub fn stream_down(&mut self, error: &str, now: Instant) -> bool {
        self.wire.stream_down();
        self.timer.running.clear();
        self.timer.asked.clear();
        if !self.answered {
            self.store.fail_all(error, now);
            self.unreachable = Some(error.to_owned());
        }
        std::mem::take(&mut self.answered)
    }

    /// Whether [`poll_request`](Self::poll_request) or
    /// [`request_left`](Self::request_left) has something to do once there is room to send.
    pub fn wants_to_send(&self) -> bool {
        self.wire.has_request() || !self.timer.asked.is_empty()
    }

    /// The next request to send, if one is due.
    pub fn poll_request(&mut self) -> Option<DiscoveryRequest> {
        let (kind, request) = self.wire.poll_request(&mut self.store)?;
        self.timer.asked.extend(self.store.start_waiting(kind));
        Some(request)
    }

    /// The requests polled so far have left on a connected stream: their resource timers begin.
    pub fn request_left(&mut self, now: Instant) {
        let ends = now + self.timer.length;
        for id in self.timer.asked.drain(..) {
            if self.store.start_timer(&id, ends) {
                self.timer.running.push_back((ends, id));
            }
        }
    }

    /// When [`expire`](Self::expire) has something to do next.
    pub fn next_deadline(&mut self) -> Option<Instant> {
        while let Some((ends, id)) = self.timer.running.front() {
            if self.store.is_timed(id, *ends) {
                return Some(*ends);
            }
            self.timer.running.pop_front();
        }
        None
    }

    /// Ends the resource timers that are over at `now`.
    pub fn expire(&mut self, now: Instant) {
        let seconds = self.timer.length.as_secs();
        let text = format!("no answer from the control plane within {seconds} s of asking");
        while self.next_deadline().is_some_and(|ends| ends <= now) {
            let Some((_, id)) = self.timer.running.pop_front() else { break };
            self.store.time_out(&id, self.timer.kind, &text, now);
        }
    }

    /// What changed since the last call, in order.
    pub fn take_events(&mut self) -> Vec<Event> {
        self.store.take_events()
    }

    /// Why the server cannot be reached, while that is so.
    pub fn unreachable(&self) -> Option<&str> {
        self.unreachable.as_deref()
    }

    /// Every resource wanted, as it stands.
    pub fn resources(&self) -> impl Iterator<Item = ResourceStatus> {
        self.store.statuses()
    }

    /// The last good value of every resource wanted.
    pub fn values(&self) -> impl Iterator<Item = &crate::decode::Value> {
        self.store.values()
    }
}

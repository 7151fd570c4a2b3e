//! The session and the graph together: what goes in at one has its consequences in the other.

mod report;
mod reporting;
mod state;
#[cfg(test)]
pub(super) mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use mesh_core::resource::{Name, ServerListener};
use mesh_core::{ResourceId, ResourceType};
use tokio::sync::Notify;

use super::Options;
use super::lingering::Lingering;
use super::mailbox::{Room, Sender};
use super::names::{Found, Names};
use super::servers::Servers;
use crate::bootstrap::{Ask, Bootstrap, ServerConfig};
use crate::decode::{Context, Value};
use crate::graph::{Graph, Interest, Outbound};
use crate::session::{Event, Protocol, Request, Response, ServerIndex, Session};
use reporting::Reporting;
use state::{LinkStatus, State};

/// All state of a client. Locked by its tasks for as long as it takes to take in one message, and
/// by whoever asks for the status; never on the path of a request.
#[derive(Debug)]
pub(crate) struct Core {
    node_id: String,
    servers: Vec<ServerConfig>,
    /// By server: there is something to send.
    wakers: Vec<Notify>,
    /// By server: other clusters than before may ask for load reports.
    reporters: Vec<Notify>,
    /// The servers in use, or the next deadline, are others than before.
    changed: Notify,
    room: Room,
    found: Arc<Found>,
    state: Mutex<State>,
}

/// What a link may do at the moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    pub(super) may_read: bool,
    pub(super) wants_to_send: bool,
}

impl Core {
    pub(super) fn new(
        bootstrap: &Bootstrap,
        servers: Servers,
        ask: Ask,
        (names, found): (Names, Arc<Found>),
        options: &Options,
        mailbox: Sender,
        now: Instant,
    ) -> Self {
        let (room, links) = (mailbox.room(), vec![LinkStatus::default(); servers.configs.len()]);
        let notifies = || servers.configs.iter().map(|_| Notify::new()).collect();
        let (wakers, reporters) = (notifies(), notifies());
        let providers = bootstrap.certificate_providers().keys();
        let local = bootstrap.local_cluster();
        let context = Context::default().with_certificate_providers(providers);
        let context = context.with_local_cluster(local.is_some());
        let context = context.with_regex_program_size(options.regex_program_size);
        let session = Session::new(bootstrap.node(), servers.directory);
        let mut session = session.with_context(context);
        let outbound = (ask == Ask::Envoy).then(|| {
            session.subscribe_all(ResourceType::Cluster, now);
            session.subscribe_all(ResourceType::Listener, now);
            Outbound::new(bootstrap.servers()[0].features.fail_on_data_errors)
        });
        let graph = Graph::new().with_narrowed_routes(ask.narrows_routes());
        let graph = graph.with_own_secrets(options.own_secrets.iter().cloned());
        let graph = graph.with_local_cluster(local.as_ref().map(|local| &local.name));
        let (deadline, held) = (None, None);
        let lingering = Lingering::new(options.unsubscribe_delay);
        let reporting = Reporting::default();
        let state = State {
            session,
            graph,
            outbound,
            names,
            lingering,
            reporting,
            mailbox,
            links,
            deadline,
            held,
        };
        let core = Self {
            node_id: bootstrap.node().id.clone(),
            servers: servers.configs,
            wakers,
            reporters,
            changed: Notify::new(),
            room,
            found,
            state: Mutex::new(state),
        };
        core.settle(&mut core.lock(), now);
        core
    }

    /// The servers, in use or not.
    pub(super) fn servers(&self) -> Vec<ServerIndex> {
        self.lock().session.servers().collect()
    }

    pub(super) fn server(&self, server: ServerIndex) -> &ServerConfig {
        &self.servers[server.get()]
    }

    /// Whether there should be a link to the server.
    pub(super) fn is_in_use(&self, server: ServerIndex) -> bool {
        self.lock().links[server.get()].in_use
    }

    /// There is no link to the server any more.
    pub(super) fn unlinked(&self, server: ServerIndex) {
        self.lock().links[server.get()].connected = false;
    }

    /// Waits until servers came into use or went, or the deadline moved. Cancel safe.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Waits until there may be something to send to the server. Cancel safe.
    pub(super) async fn woken(&self, server: ServerIndex) {
        self.wakers[server.get()].notified().await;
    }

    /// Where it is told that the data plane has taken in what came.
    pub(super) fn room(&self) -> &Room {
        &self.room
    }

    /// Interests changed.
    pub(super) fn set_interests(&self, interests: Vec<(Name, Interest)>, now: Instant) {
        let mut state = self.lock();
        for (listener, interest) in interests {
            state.graph.set_interest(&listener, interest);
        }
        self.settle(&mut state, now);
    }

    /// A stream is being opened over a connected transport.
    pub(super) fn stream_up(&self, server: ServerIndex) {
        let mut state = self.lock();
        state.links[server.get()].connected = true;
        state.links[server.get()].health.stream_up();
        state.session.stream_up(server);
        self.follow(&mut state);
    }

    /// The stream ended or could not be opened; whether the server had answered on it.
    pub(super) fn stream_down(&self, server: ServerIndex, error: &str, now: Instant) -> bool {
        let uri = &self.server(server).uri;
        let text = format!("control plane {uri} cannot be reached: {error}");
        let mut state = self.lock();
        state.set_down(server, error, now);
        let answered = state.session.stream_down(server, &text, now);
        if !answered {
            state.links[server.get()].health.failed();
        }
        self.settle(&mut state, now);
        answered
    }

    /// The server sent what cannot be read.
    pub(super) fn stream_spoiled(&self, server: ServerIndex, error: &str, now: Instant) {
        let uri = &self.server(server).uri;
        let text = format!("control plane {uri} cannot be used: {error}");
        let mut state = self.lock();
        state.set_down(server, error, now);
        state.links[server.get()].health.failed();
        state.session.stream_spoiled(server, &text, now);
        self.settle(&mut state, now);
    }

    /// A response came.
    pub(super) fn receive(&self, server: ServerIndex, response: Response, now: Instant) {
        let mut state = self.lock();
        state.links[server.get()].health.answered();
        state.session.receive(server, response, now);
        if self.settle(&mut state, now) {
            self.room.fill();
        }
    }

    /// Waits until [`take_names`](Self::take_names) has something to take in. Cancel safe.
    pub(super) async fn names_changed(&self) {
        self.found.changed().await;
    }

    /// Names of endpoints were resolved, or could not be.
    pub(super) fn take_names(&self, now: Instant) {
        let mut state = self.lock();
        for (key, entry) in self.found.take() {
            let id = ResourceId::new(ResourceType::ClusterLoadAssignment, key);
            let value = entry.value.map(Value::ClusterLoadAssignment);
            state.graph.apply(Event::new(id, value, entry.failure));
        }
        self.settle(&mut state, now);
    }

    /// A deadline of the session came. While responses are not read, what they may hold is not
    /// said to be missing.
    pub(super) fn expire(&self, now: Instant) {
        let mut state = self.lock();
        if state.is_held(&self.room, now) {
            self.follow(&mut state);
            return;
        }
        state.expire(now);
        self.settle(&mut state, now);
    }

    /// When [`expire`](Self::expire) is due.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.lock().deadline
    }

    /// How the server is asked.
    pub(super) fn protocol(&self, server: ServerIndex) -> Protocol {
        self.lock().session.protocol(server)
    }

    /// The server does not speak the protocol that it was asked by; whether it may be asked at once
    /// by another. One that speaks neither, as a proxy does before its server is there, is asked by
    /// the incremental one again at its next turn.
    pub(super) fn change_protocol(&self, server: ServerIndex, error: &str) -> bool {
        let mut state = self.lock();
        let config = self.server(server);
        match state.session.protocol(server) {
            Protocol::Delta => {
                tracing::info!(server = %config.uri, "state of the world instead of delta: {error}");
                state.session.set_protocol(server, Protocol::StateOfTheWorld);
                true
            }
            Protocol::StateOfTheWorld => {
                if config.features.delta {
                    state.session.set_protocol(server, Protocol::Delta);
                }
                false
            }
        }
    }

    /// What the server's link may do.
    pub(super) fn turn(&self, server: ServerIndex, now: Instant) -> Turn {
        let mut state = self.lock();
        let is_held = state.is_held(&self.room, now);
        self.follow(&mut state);
        Turn {
            may_read: !is_held && !state.session.is_full(server),
            wants_to_send: state.session.wants_to_send(server),
        }
    }

    /// There is room to send: earlier requests have left, and here is the next.
    pub(super) fn next_request(&self, server: ServerIndex, now: Instant) -> Option<Request> {
        let mut state = self.lock();
        state.session.request_left(server, now);
        let request = state.session.poll_request(server);
        self.follow(&mut state);
        request
    }

    /// The listeners for connections to the application.
    pub(super) fn inbound_listeners(&self) -> Vec<Arc<ServerListener>> {
        let state = self.lock();
        state.outbound.iter().flat_map(Outbound::inbound).cloned().collect()
    }

    /// Events change what is wanted, and what is wanted may fail at once: until nothing moves.
    /// Each round goes one step down the chain from listeners to endpoints, so it ends. Whether
    /// anything is told to the data plane.
    fn settle(&self, state: &mut State, now: Instant) -> bool {
        let mut is_told = false;
        loop {
            for event in state.session.take_events() {
                state.tell(event, now);
            }
            let step = state.graph.step();
            if step.is_empty() {
                break;
            }
            is_told |= !step.update.is_empty();
            state.act(step, now);
        }
        state.reporting.tell(&self.reporters);
        for (server, waker) in state.session.servers().zip(&self.wakers) {
            if state.session.wants_to_send(server) {
                waker.notify_one();
            }
        }
        self.follow(state);
        is_told
    }

    /// Lets the task know what has changed for it.
    fn follow(&self, state: &mut State) {
        let mut is_changed = false;
        for server in state.session.servers() {
            let in_use = state.session.is_in_use(server);
            is_changed |=
                std::mem::replace(&mut state.links[server.get()].in_use, in_use) != in_use;
        }
        let deadline = state.next_deadline().filter(|_| state.held.is_none());
        is_changed |= std::mem::replace(&mut state.deadline, deadline) != deadline;
        if is_changed {
            self.changed.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // After a panic under the lock its task is gone; the status may still be read.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

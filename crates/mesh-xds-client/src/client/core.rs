//! The session and the graph together: what goes in at one has its consequences in the other.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use mesh_core::resource::{Name, ServerListener};
use mesh_core::{Finding, ResourceId, ResourceType};

use super::mailbox::Sender;
use super::names::{Found, Names};
use super::status::{ServerStatus, Status};
use crate::bootstrap::{Ask, Bootstrap, ServerConfig};
use crate::decode::Value;
use crate::graph::{Graph, Interest, Outbound};
use crate::session::{Directory, Event, Protocol, Request, Response, ServerIndex, Session};

/// All state of a client. Locked by its task for as long as it takes to take in one message, and
/// by whoever asks for the status; never on the path of a request.
#[derive(Debug)]
pub(super) struct Core {
    node_id: String,
    uri: String,
    server: ServerIndex,
    found: Arc<Found>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    session: Session,
    graph: Graph,
    /// Between the two, when all listeners of a sidecar come and each target has one of them.
    outbound: Option<Outbound>,
    names: Names,
    mailbox: Sender,
    wants_delta: bool,
    connected: bool,
    error: Option<(String, Instant)>,
}

impl Core {
    pub(super) fn new(
        bootstrap: &Bootstrap,
        server: &ServerConfig,
        ask: Ask,
        (names, found): (Names, Arc<Found>),
        mailbox: Sender,
        now: Instant,
    ) -> Self {
        let mut directory = Directory::default();
        let index = directory.add_server(server.features);
        directory.set_default(vec![index]);
        let mut session = Session::new(bootstrap.node(), directory);
        let outbound = (ask == Ask::Envoy).then(|| {
            session.subscribe_all(ResourceType::Cluster, now);
            session.subscribe_all(ResourceType::Listener, now);
            Outbound::new(server.features.fail_on_data_errors)
        });
        let graph = Graph::new().with_narrowed_routes(ask.narrows_routes());
        let (connected, error) = (false, None);
        Self {
            node_id: bootstrap.node().id.clone(),
            uri: server.uri.to_string(),
            server: index,
            found,
            state: Mutex::new(State {
                session,
                graph,
                outbound,
                names,
                mailbox,
                wants_delta: server.features.delta,
                connected,
                error,
            }),
        }
    }

    /// Interests changed.
    pub(super) fn set_interests(&self, interests: Vec<(Name, Interest)>, now: Instant) {
        let mut state = self.lock();
        for (listener, interest) in interests {
            state.graph.set_interest(&listener, interest);
        }
        state.settle(now);
    }

    /// A stream is being opened over a connected transport.
    pub(super) fn stream_up(&self) {
        let mut state = self.lock();
        state.connected = true;
        state.session.stream_up(self.server);
    }

    /// The stream ended or could not be opened; whether the server had answered on it.
    pub(super) fn stream_down(&self, error: &str, now: Instant) -> bool {
        let text = format!("control plane {} cannot be reached: {error}", self.uri);
        let mut state = self.lock();
        state.connected = false;
        state.error = Some((error.to_owned(), now));
        let answered = state.session.stream_down(self.server, &text, now);
        state.settle(now);
        answered
    }

    /// The server sent what cannot be read.
    pub(super) fn stream_spoiled(&self, error: &str, now: Instant) {
        let text = format!("control plane {} cannot be used: {error}", self.uri);
        let mut state = self.lock();
        state.connected = false;
        state.error = Some((error.to_owned(), now));
        state.session.stream_spoiled(self.server, &text, now);
        state.settle(now);
    }

    /// A response came.
    pub(super) fn receive(&self, response: Response, now: Instant) {
        let mut state = self.lock();
        state.session.receive(self.server, response, now);
        state.settle(now);
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
        state.settle(now);
    }

    /// A deadline of the session came.
    pub(super) fn expire(&self, now: Instant) {
        let mut state = self.lock();
        state.session.expire(now);
        state.settle(now);
    }

    /// When [`expire`](Self::expire) is due.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.lock().session.next_deadline()
    }

    /// How the server is asked.
    pub(super) fn protocol(&self) -> Protocol {
        self.lock().session.protocol(self.server)
    }

    /// The server does not speak the protocol that it was asked by; whether it may be asked at once
    /// by another. One that speaks neither, as a proxy does before its server is there, is asked by
    /// the incremental one again at its next turn.
    pub(super) fn change_protocol(&self, error: &str) -> bool {
        let mut state = self.lock();
        let wants_delta = state.wants_delta;
        let session = &mut state.session;
        match session.protocol(self.server) {
            Protocol::Delta => {
                tracing::info!(server = %self.uri, "state of the world instead of delta: {error}");
                session.set_protocol(self.server, Protocol::StateOfTheWorld);
                true
            }
            Protocol::StateOfTheWorld => {
                if wants_delta {
                    session.set_protocol(self.server, Protocol::Delta);
                }
                false
            }
        }
    }

    /// Whether [`next_request`](Self::next_request) should be called once there is room.
    pub(super) fn wants_to_send(&self) -> bool {
        self.lock().session.wants_to_send(self.server)
    }

    /// There is room to send: earlier requests have left, and here is the next.
    pub(super) fn next_request(&self, now: Instant) -> Option<Request> {
        let mut state = self.lock();
        state.session.request_left(self.server, now);
        state.session.poll_request(self.server)
    }

    /// The listeners for connections to the application.
    pub(super) fn inbound_listeners(&self) -> Vec<Arc<ServerListener>> {
        let state = self.lock();
        state.outbound.iter().flat_map(Outbound::inbound).cloned().collect()
    }

    pub(super) fn status(&self) -> Status {
        let state = self.lock();
        let (connected, error) = (state.connected, state.error.clone());
        Status {
            node_id: self.node_id.clone(),
            servers: vec![ServerStatus { uri: self.uri.clone(), connected, error }],
            resources: state.session.resources().collect(),
        }
    }

    pub(super) fn findings(&self) -> Vec<Finding> {
        self.lock().session.values().flat_map(|value| value.findings()).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // After a panic under the lock the task is gone; the status may still be read.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Events change what is wanted, and what is wanted may fail at once: until nothing moves.
    /// Each round goes one step down the chain from listeners to endpoints, so it ends.
    fn settle(&mut self, now: Instant) {
        use ResourceType::Listener;
        loop {
            for event in self.session.take_events() {
                self.tell(event);
            }
            let step = self.graph.step();
            if step.is_empty() {
                return;
            }
            for id in &step.unsubscribe {
                self.session.unsubscribe(id.kind, &id.name);
                if let (Some(outbound), Listener) = (&mut self.outbound, id.kind) {
                    outbound.forget(&id.name);
                }
            }
            for id in &step.subscribe {
                self.session.subscribe(id.kind, &id.name, now);
                if let (Some(outbound), Listener) = (&mut self.outbound, id.kind) {
                    outbound.follow(&id.name).into_iter().for_each(|event| self.graph.apply(event));
                }
            }
            step.stop_resolving.iter().for_each(|key| self.names.stop(key));
            step.resolve.into_iter().for_each(|dns| self.names.start(dns));
            self.mailbox.put(step.update);
        }
    }

    fn tell(&mut self, event: Event) {
        match &mut self.outbound {
            Some(outbound) => {
                outbound.take(event).into_iter().for_each(|event| self.graph.apply(event));
            }
            None => self.graph.apply(event),
        }
    }
}

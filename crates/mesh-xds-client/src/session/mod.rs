//! The ADS session: what is said on streams and what is known, without I/O.
//!
//! Messages, stream changes and times go in; [requests](Session::poll_request),
//! [events](Session::take_events) and a [deadline](Session::next_deadline) come out. The parts:
//!
//! | part | knows | rule |
//! |---|---|---|
//! | `sotw`, `delta` | versions, nonces, what has been asked on this stream | the two protocols |
//! | `store` | each resource's last good value, failure, timer and state | gRFC A57 and A88 |
//! | `directory` | which servers answer for a name, and which are in use | gRFC A47 and A71 |
//!
//! Requests are made when there is room to send one, from the names wanted at that moment: any
//! number of subscription changes in between cost one request per type.

mod backoff;
mod counts;
mod delta;
mod directory;
mod event;
mod failing;
mod fallback;
mod name;
mod receive;
mod redacted;
mod sotw;
mod spelling;
mod state;
mod store;
mod stream;
#[cfg(test)]
mod tests;
mod ttl;
mod waiting;
mod watched;
mod wire;

pub use backoff::Backoff;
pub(crate) use backoff::FOREVER;
pub use counts::Counts;
pub use directory::{Directory, ServerIndex};
pub use event::Event;
pub use state::{ResourceDump, ResourceState, ResourceStatus};
pub use wire::{Protocol, Request, Response};

use std::time::{Duration, Instant};

use mesh_core::finding::FailureKind;
use mesh_core::resource::Name;
use mesh_core::{ResourceId, ResourceType};
use mesh_pb::envoy::config::core::v3::Node as NodeProto;

use crate::bootstrap::Node;
use crate::decode::Context;
use directory::{Authorities, AuthorityIndex};
use spelling::Spellings;
use store::Store;
use stream::Stream;
pub(crate) use wire::type_url;
use wire::{Share, Wire};

/// The streams to all servers, and the resources known from them.
#[derive(Debug)]
pub struct Session {
    node: NodeProto,
    store: Store,
    streams: Vec<Stream>,
    authorities: Authorities,
    spellings: Spellings,
    context: Context,
    counts: Counts,
}

impl Session {
    /// A session that has said and heard nothing yet.
    pub fn new(node: &Node, directory: Directory) -> Self {
        let stream = |(server, features)| Stream::new(directory.name_of(server), features);
        Self {
            node: node.to_proto(),
            store: Store::new(&node.id),
            streams: directory.servers().map(stream).collect(),
            authorities: Authorities::new(directory),
            spellings: Spellings::default(),
            context: Context::default(),
            counts: Counts::default(),
        }
    }

    /// Sets what decoding knows beside the resources.
    #[must_use]
    pub fn with_context(mut self, context: Context) -> Self {
        self.context = context;
        self
    }

    /// Wants a resource. While no server of its authority can be reached, its failure is told at
    /// once; so is that of a name that nobody can be asked for.
    pub fn subscribe(&mut self, kind: ResourceType, name: &Name, now: Instant) {
        let name = &self.spellings.subscribe(kind, name);
        let id = ResourceId::new(kind, name.clone());
        let problem = name::problem(kind, name);
        let authority = self.authorities.of(name).filter(|_| problem.is_none());
        let known = authority.unwrap_or(AuthorityIndex::NOWHERE);
        if !self.store.rejoin(kind, name) && !self.store.watch(kind, name, known) {
            // Another way to write a name that is wanted.
            self.store.retell(&id);
            return;
        }
        let Some(authority) = authority else {
            let text = problem.unwrap_or_else(|| "its authority is not configured".to_owned());
            self.store.fail(&id, FailureKind::Invalid, &text, now);
            return;
        };
        self.authorities.acquire(authority);
        self.name_changed(kind, name, authority);
        self.wait_with_all_others(&id, authority, now);
        self.settle_authority(authority, now);
    }

    /// No longer wants a resource, and forgets it as soon as the server is told.
    pub fn unsubscribe(&mut self, kind: ResourceType, name: &str) {
        let Some(name) = &self.spellings.unsubscribe(kind, name) else { return };
        let Some(authority) = self.store.get(kind, name).map(|watched| watched.authority) else {
            return;
        };
        let in_use = self.authorities.in_use(authority);
        let is_up = in_use.iter().any(|server| self.streams[server.get()].is_up);
        if self.store.unwatch(kind, name, is_up) {
            self.name_changed(kind, name, authority);
            self.authorities.release(authority);
            self.close_unused();
        }
    }

    /// Wants all resources of a type that the default authority has (LDS and CDS have such a
    /// wildcard; with other types it is up to the server).
    ///
    /// Each resource is told by an event as it comes, without a subscription by name. One that is
    /// no longer there is told without a value and forgotten, unless it is also wanted by name:
    /// then its value is kept as ever. By the state of the world, a response without any resource
    /// removes none: a server that has just started says that before it knows better. Names wanted
    /// beside it are taken from what comes by it, and not asked for.
    pub fn subscribe_all(&mut self, kind: ResourceType, now: Instant) {
        if !self.store.is_wild(kind) {
            self.store.set_wild(kind, true);
            self.all_changed(kind);
            self.settle_authority(AuthorityIndex::DEFAULT, now);
        }
    }

    /// Ends [`subscribe_all`](Self::subscribe_all). What came by it alone is forgotten; names
    /// that are wanted by themselves are asked for.
    pub fn unsubscribe_all(&mut self, kind: ResourceType) {
        if self.store.is_wild(kind) {
            self.store.set_wild(kind, false);
            self.all_changed(kind);
        }
    }

    /// Whether there should be a stream to the server, or attempts to open one.
    pub fn is_in_use(&self, server: ServerIndex) -> bool {
        self.authorities.users(server).next().is_some()
    }

    /// How the server is asked. Settled before a stream is opened.
    pub fn protocol(&self, server: ServerIndex) -> Protocol {
        self.streams[server.get()].wire.protocol()
    }

    /// Asks the server in another way from the next stream on. What is known stays; versions of
    /// the other protocol are not claimed.
    pub fn set_protocol(&mut self, server: ServerIndex, protocol: Protocol) {
        let stream = &mut self.streams[server.get()];
        if stream.wire.protocol() != protocol {
            stream.wire = Wire::new(protocol);
        }
    }

    /// A stream is being opened over a connected transport: everything is asked for again.
    pub fn stream_up(&mut self, server: ServerIndex) {
        for kind in ResourceType::ALL {
            if self.is_told_of_all(kind, Some(server)) {
                self.store.forget_unwanted(kind);
            }
        }
        let authorities = &self.authorities;
        self.store.restart_waiting(|authority| authorities.uses(authority, server));
        let stream = &mut self.streams[server.get()];
        stream.is_up = true;
        stream.node_sent = false;
        stream.answered = false;
        let is_served = &|authority| authorities.uses(authority, server);
        stream.wire.stream_up(Share { store: &self.store, server, is_served });
    }

    /// Whether [`poll_request`](Self::poll_request) or
    /// [`request_left`](Self::request_left) has something to do once there is room to send.
    pub fn wants_to_send(&self, server: ServerIndex) -> bool {
        let stream = &self.streams[server.get()];
        stream.is_up && (stream.wire.has_request() || !stream.timer.asked.is_empty())
    }

    /// Whether so many answers wait to be sent that the next response is not to be read before.
    pub fn is_full(&self, server: ServerIndex) -> bool {
        self.streams[server.get()].wire.is_full()
    }

    /// The next request to send to the server, if one is due.
    pub fn poll_request(&mut self, server: ServerIndex) -> Option<Request> {
        loop {
            let authorities = &self.authorities;
            let is_served = &|authority| authorities.uses(authority, server);
            let stream = &mut self.streams[server.get()];
            if !stream.is_up {
                return None;
            }
            let share = Share { store: &self.store, server, is_served };
            let (told, request) = stream.wire.poll_request(share)?;
            if let Some(kind) = told {
                let waiting = self.store.start_waiting(kind, server, is_served);
                stream.timer.asked.extend(waiting);
                if self.is_told_of_all(kind, None) {
                    self.store.forget_unwanted(kind);
                }
            }
            if let Some(mut request) = request {
                self.introduce(server, &mut request);
                return Some(request);
            }
        }
    }

    /// Says who we are in the first message of a stream.
    fn introduce(&mut self, server: ServerIndex, request: &mut Request) {
        if std::mem::replace(&mut self.streams[server.get()].node_sent, true) {
            return;
        }
        let node = Some(self.node.clone());
        match request {
            Request::StateOfTheWorld(request) => request.node = node,
            Request::Delta(request) => request.node = node,
        }
    }

    /// The requests polled so far have left on a connected stream: their resource timers begin.
    pub fn request_left(&mut self, server: ServerIndex, now: Instant) {
        let asked = std::mem::take(&mut self.streams[server.get()].timer.asked);
        asked.into_iter().for_each(|id| self.start_timer(server, id, now));
    }

    /// When [`expire`](Self::expire) has something to do next.
    pub fn next_deadline(&mut self) -> Option<Instant> {
        let timers = self.servers().filter_map(|server| self.next_deadline_of(server)).min();
        timers.into_iter().chain(self.store.lifetimes.next()).min()
    }

    fn next_deadline_of(&mut self, server: ServerIndex) -> Option<Instant> {
        let running = &mut self.streams[server.get()].timer.running;
        while let Some((ends, id)) = running.front() {
            if self.store.is_timed(id, server, *ends) {
                return Some(*ends);
            }
            running.pop_front();
        }
        // After a first sync of thousands, room for all of them is not needed again soon.
        running.shrink_to_fit();
        None
    }

    /// Ends the resource timers and the lives of resources that are over at `now`.
    pub fn expire(&mut self, now: Instant) {
        self.store.end_lifetimes(now);
        for server in self.servers() {
            let Stream { name, timer, .. } = &self.streams[server.get()];
            let (seconds, kind) = (timer.length.as_secs(), timer.kind);
            let text = format!("no answer from {name} within {seconds} s of asking");
            while self.next_deadline_of(server).is_some_and(|ends| ends <= now) {
                let running = &mut self.streams[server.get()].timer.running;
                let Some((_, id)) = running.pop_front() else { break };
                self.store.time_out(&id, kind, &text, now);
            }
        }
    }

    /// Puts all resource timers and ends of resources off: nothing was read meanwhile.
    pub fn postpone(&mut self, by: Duration) {
        self.store.lifetimes.postpone(by);
        for (at, stream) in self.streams.iter_mut().enumerate() {
            for (ends, id) in &mut stream.timer.running {
                let later = *ends + by;
                self.store.postpone(id, ServerIndex::at(at), *ends, later);
                *ends = later;
            }
        }
    }

    /// All servers, in use or not.
    pub fn servers(&self) -> impl Iterator<Item = ServerIndex> + use<> {
        (0..self.streams.len()).map(ServerIndex::at)
    }

    /// What changed since the last call, in order.
    pub fn take_events(&mut self) -> Vec<Event> {
        self.spellings.spell(self.store.take_events())
    }

    /// Why the servers of the default authority cannot be reached, while that is so.
    pub fn unreachable(&self) -> Option<&str> {
        self.authorities.failed(AuthorityIndex::DEFAULT)
    }

    /// Whether a good value of a resource that is wanted is known.
    pub fn has_value(&self, kind: ResourceType, name: &str) -> bool {
        self.store.get(kind, name).is_some_and(|watched| watched.value.is_some())
    }

    /// The server that the value of a resource is from.
    pub fn origin(&self, kind: ResourceType, name: &str) -> Option<ServerIndex> {
        self.store.get(kind, name)?.origin
    }

    /// Every resource wanted, as it stands.
    pub fn resources(&self) -> impl Iterator<Item = ResourceStatus> {
        self.store.statuses()
    }

    /// Who the client is, as it tells servers.
    pub(crate) fn node(&self) -> NodeProto {
        self.node.clone()
    }

    /// Every resource wanted, with the bytes of the values in use.
    pub fn dumps(&self) -> impl Iterator<Item = ResourceDump> {
        self.store.dumps()
    }

    /// What came of responses since the session began.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The last good value of every resource wanted.
    pub fn values(&self) -> impl Iterator<Item = &crate::decode::Value> {
        self.store.values()
    }

    /// Tells the streams that a name is wanted from now on, or no longer.
    fn name_changed(&mut self, kind: ResourceType, name: &Name, of: AuthorityIndex) {
        for server in self.authorities.in_use(of) {
            self.streams[server.get()].wire.name_changed(kind, name);
        }
    }

    /// Tells the streams that anything of a type may be wanted otherwise.
    fn all_changed(&mut self, kind: ResourceType) {
        let (authorities, store) = (&self.authorities, &self.store);
        for (at, stream) in self.streams.iter_mut().enumerate() {
            let server = ServerIndex::at(at);
            let is_served = &|authority| authorities.uses(authority, server);
            stream.wire.names_changed(kind, Share { store, server, is_served });
        }
    }

    /// A name that comes with all others of its type is not asked for; it is waited for from now
    /// on, if there is a stream on which the others are.
    fn wait_with_all_others(&mut self, id: &ResourceId, of: AuthorityIndex, now: Instant) {
        if self.store.asks_for(id.kind, &id.name) {
            return;
        }
        let mut in_use = self.authorities.in_use(of).iter();
        let up = in_use.find(|server| self.streams[server.get()].is_up).copied();
        if let Some(server) = up
            && self.store.ask(id, server)
        {
            self.start_timer(server, id.clone(), now);
        }
    }

    fn start_timer(&mut self, server: ServerIndex, id: ResourceId, now: Instant) {
        let timer = &mut self.streams[server.get()].timer;
        let ends = now + timer.length;
        if self.store.start_timer(&id, server, ends) {
            timer.running.push_back((ends, id));
        }
    }

    /// Whether no server but `except` still has to be told what is wanted of a type.
    fn is_told_of_all(&self, kind: ResourceType, except: Option<ServerIndex>) -> bool {
        let mut streams = self.streams.iter().enumerate();
        streams.all(|(at, stream)| {
            let is_excepted = except.is_some_and(|server| server.get() == at);
            is_excepted || !stream.is_up || !stream.wire.is_due(kind)
        })
    }
}

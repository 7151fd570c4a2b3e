//! The behaviours of an ADS stream, each by its rule.

mod delta;
mod existence;
mod fallback;
mod federation;
mod stream;
mod table;
mod timer;
mod ttl;
mod wildcard;

use std::time::{Duration, Instant};

use mesh_core::ResourceType::{self, Listener};
use mesh_core::finding::FailureKind;
use mesh_pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource,
};
use mesh_pb::google::protobuf::Any;

use super::{Directory, Request, ResourceState, ServerIndex, Session, type_url};
use crate::bootstrap::{Node, ServerFeatures};

/// A session driven by hand, with a clock of its own.
struct Driver {
    session: Session,
    server: ServerIndex,
    now: Instant,
    nonce: u32,
}

/// An event in short: type, name, whether there is a value, kind of failure.
type Told = (ResourceType, String, bool, Option<FailureKind>);

impl Driver {
    /// A session with an open stream.
    fn new() -> Self {
        Self::with_features(ServerFeatures::default())
    }

    /// A session with an open stream of the incremental protocol.
    fn delta() -> Self {
        Self::with_features(ServerFeatures { delta: true, ..ServerFeatures::default() })
    }

    fn with_features(features: ServerFeatures) -> Self {
        let mut driver = Self::with_directory(Directory::of_one(features));
        driver.up();
        driver
    }

    /// A session without streams, which talks to the first server.
    fn with_directory(directory: Directory) -> Self {
        let node = Node { id: "test-node".to_owned(), ..Node::default() };
        let (server, _) = directory.servers().next().unwrap();
        let session = Session::new(&node, directory);
        Self { session, server, now: Instant::now(), nonce: 0 }
    }

    /// Talks to that server from now on.
    fn at(&mut self, server: ServerIndex) -> &mut Self {
        self.server = server;
        self
    }

    /// The positions of the servers in use.
    fn in_use(&self) -> Vec<usize> {
        let servers = self.session.servers().filter(|server| self.session.is_in_use(*server));
        servers.map(ServerIndex::get).collect()
    }

    fn subscribe(&mut self, kind: ResourceType, names: &[&str]) {
        names.iter().for_each(|name| self.session.subscribe(kind, &(*name).into(), self.now));
    }

    /// Sends what is due, on a connected stream.
    fn send(&mut self) -> Vec<DiscoveryRequest> {
        let requests = std::iter::from_fn(|| self.session.poll_request(self.server));
        let requests = requests.map(|request| match request {
            Request::StateOfTheWorld(request) => request,
            Request::Delta(request) => panic!("{request:?}"),
        });
        let requests = requests.collect();
        self.session.request_left(self.server, self.now);
        requests
    }

    /// Sends what is due, by the incremental protocol.
    fn send_delta(&mut self) -> Vec<DeltaDiscoveryRequest> {
        let requests = std::iter::from_fn(|| self.session.poll_request(self.server));
        let requests = requests.map(|request| match request {
            Request::Delta(request) => request,
            Request::StateOfTheWorld(request) => panic!("{request:?}"),
        });
        let requests = requests.collect();
        self.session.request_left(self.server, self.now);
        requests
    }

    fn send_one_delta(&mut self) -> DeltaDiscoveryRequest {
        let mut requests = self.send_delta();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests.remove(0)
    }

    /// Takes in changes of version `version`; the nonce is numbered.
    fn change(
        &mut self,
        kind: ResourceType,
        version: &str,
        resources: Vec<(&str, Any)>,
        removed: &[&str],
    ) {
        self.nonce += 1;
        let made = resources.into_iter().map(|(name, resource)| Resource {
            name: name.to_owned(),
            version: version.to_owned(),
            resource: Some(resource),
            ..Resource::default()
        });
        let response = DeltaDiscoveryResponse {
            type_url: type_url(kind).to_owned(),
            nonce: format!("n{}", self.nonce),
            resources: made.collect(),
            removed_resources: removed.iter().map(|name| (*name).to_owned()).collect(),
            ..DeltaDiscoveryResponse::default()
        };
        self.session.receive(self.server, response, self.now);
    }

    /// Sends what is due, which must be one request.
    fn send_one(&mut self) -> DiscoveryRequest {
        let mut requests = self.send();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests.remove(0)
    }

    fn receive(&mut self, kind: ResourceType, version: &str, resources: Vec<Any>) {
        self.nonce += 1;
        let response = DiscoveryResponse {
            version_info: version.to_owned(),
            type_url: type_url(kind).to_owned(),
            nonce: format!("n{}", self.nonce),
            resources,
            ..DiscoveryResponse::default()
        };
        self.take(response);
    }

    fn take(&mut self, response: DiscoveryResponse) {
        self.session.receive(self.server, response, self.now);
    }

    fn restart(&mut self) {
        self.down("gone");
        self.up();
    }

    fn up(&mut self) {
        self.session.stream_up(self.server);
    }

    /// Ends the stream; whether it had been answered.
    fn down(&mut self, error: &str) -> bool {
        self.session.stream_down(self.server, error, self.now)
    }

    /// Lets time pass, and timers end.
    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.session.expire(self.now);
    }

    fn told(&mut self) -> Vec<Told> {
        let told = self.session.take_events().into_iter().map(|event| {
            let failure = event.failure.map(|failure| failure.kind);
            (event.id.kind, event.id.name.to_string(), event.value.is_some(), failure)
        });
        told.collect()
    }

    fn state(&self, name: &str) -> ResourceState {
        let found = self.session.resources().find(|status| &*status.id.name == name);
        found.expect("the resource is wanted").state
    }

    fn failure_text(&self, name: &str) -> String {
        let found = self.session.resources().find(|status| &*status.id.name == name);
        found.unwrap().failure.unwrap().to_string()
    }
}

fn good(kind: ResourceType, name: &str) -> Told {
    (kind, name.to_owned(), true, None)
}

/// Without a value.
fn failed(kind: ResourceType, name: &str, failure: FailureKind) -> Told {
    (kind, name.to_owned(), false, Some(failure))
}

/// With a value that is kept.
fn ambient(kind: ResourceType, name: &str, failure: FailureKind) -> Told {
    (kind, name.to_owned(), true, Some(failure))
}

/// A driver that has that listener, acknowledged.
fn with_listener(name: &str) -> Driver {
    let mut driver = Driver::new();
    driver.subscribe(Listener, &[name]);
    driver.send();
    driver.receive(Listener, "1", vec![crate::sample::listener(name, "routes")]);
    driver.send();
    driver.told();
    driver
}

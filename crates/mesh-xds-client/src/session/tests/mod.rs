//! The behaviours of an ADS stream, each by its rule.

mod existence;
mod stream;
mod timer;

use std::time::{Duration, Instant};

use mesh_core::ResourceType::{self, Listener};
use mesh_core::finding::FailureKind;
use mesh_pb::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use mesh_pb::google::protobuf::Any;

use super::{ResourceState, Session, type_url};
use crate::bootstrap::{Node, ServerFeatures};

/// A session driven by hand, with a clock of its own.
struct Driver {
    session: Session,
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

    fn with_features(features: ServerFeatures) -> Self {
        let node = Node { id: "test-node".to_owned(), ..Node::default() };
        let session = Session::new(&node, features);
        let mut driver = Self { session, now: Instant::now(), nonce: 0 };
        driver.session.stream_up();
        driver
    }

    fn subscribe(&mut self, kind: ResourceType, names: &[&str]) {
        names.iter().for_each(|name| self.session.subscribe(kind, &(*name).into(), self.now));
    }

    /// Sends what is due, on a connected stream.
    fn send(&mut self) -> Vec<DiscoveryRequest> {
        let requests = std::iter::from_fn(|| self.session.poll_request()).collect();
        self.session.request_left(self.now);
        requests
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
        self.session.receive(response, self.now);
    }

    fn restart(&mut self) {
        self.session.stream_down("gone", self.now);
        self.session.stream_up();
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

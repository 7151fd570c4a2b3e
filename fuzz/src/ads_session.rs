//! Sequences of what servers say and applications want.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use arbitrary::{Result, Unstructured};
use mesh_core::ResourceType;
use mesh_core::resource::Name;
use mesh_pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource,
    ResourceError, ResourceName,
};
use mesh_pb::google::protobuf::Any;
use mesh_pb::google::rpc::Status;
use mesh_pb::type_url;
use mesh_xds_client::bootstrap::{Node, ServerFeatures};
use mesh_xds_client::session::{Directory, Protocol, Request, ServerIndex, Session};

/// Few names, so that they often meet; some of another authority, of none, and written otherwise.
const NAMES: [&str; 9] = [
    "a",
    "b",
    "c",
    "",
    "*",
    "xdstp://far/envoy.config.route.v3.RouteConfiguration/r?x=1&a=2",
    "xdstp://far/envoy.config.route.v3.RouteConfiguration/r?a=2&x=1",
    "xdstp://far/envoy.config.endpoint.v3.ClusterLoadAssignment/e",
    "xdstp://nobody/envoy.config.route.v3.RouteConfiguration/r",
];
const FAR: &str = "xdstp://far/";

/// Runs the sequence that the bytes describe, against a model of what each server was told.
pub fn run(bytes: &[u8]) {
    let mut bytes = Unstructured::new(bytes);
    if let Ok(mut world) = World::new(&mut bytes) {
        while !bytes.is_empty() && world.step(&mut bytes).is_ok() {
            world.check();
        }
    }
}

struct World {
    session: Session,
    now: Instant,
    /// The best server of the default authority, the one behind it, and that of another.
    peers: [Peer; 3],
    wanted: BTreeSet<(ResourceType, Name)>,
    all: BTreeSet<ResourceType>,
    nonce: u32,
}

/// What a server was told on its stream.
struct Peer {
    server: ServerIndex,
    is_up: bool,
    has_node: bool,
    nonces: BTreeSet<String>,
    asked: BTreeSet<ResourceType>,
    names: BTreeSet<(ResourceType, String)>,
}

impl World {
    fn new(bytes: &mut Unstructured<'_>) -> Result<Self> {
        let mut directory = Directory::default();
        let mut add = || {
            let mut features = ServerFeatures::default();
            features.delta = bytes.arbitrary()?;
            features.fail_on_data_errors = bytes.arbitrary()?;
            features.resource_timer_is_transient_error = bytes.arbitrary()?;
            Ok(Peer::new(directory.add_server(features)))
        };
        let peers = [add()?, add()?, add()?];
        directory.set_default(vec![peers[0].server, peers[1].server]);
        directory.set_authority("far", vec![peers[2].server]);
        let session = Session::new(&Node::default(), directory);
        let (wanted, all) = (BTreeSet::new(), BTreeSet::new());
        Ok(Self { session, now: Instant::now(), peers, wanted, all, nonce: 0 })
    }

    fn step(&mut self, bytes: &mut Unstructured<'_>) -> Result<()> {
        let at = bytes.int_in_range(0..=2)?;
        let server = self.peers[at].server;
        match bytes.int_in_range(0..=11)? {
            0 | 1 => {
                let (kind, name) = (kind(bytes)?, name(bytes)?);
                self.session.subscribe(kind, &name, self.now);
                self.wanted.insert((kind, name));
            }
            2 => {
                let (kind, name) = (kind(bytes)?, name(bytes)?);
                // Only what is wanted is given up, as the graph does.
                if self.wanted.remove(&(kind, name.clone())) {
                    self.session.unsubscribe(kind, &name);
                }
            }
            3 => {
                let kind = kind(bytes)?;
                if self.all.remove(&kind) {
                    self.session.unsubscribe_all(kind);
                } else {
                    self.session.subscribe_all(kind, self.now);
                    self.all.insert(kind);
                }
            }
            4 if self.session.is_in_use(server) && !self.peers[at].is_up => {
                self.session.stream_up(server);
                self.peers[at] = Peer { is_up: true, ..Peer::new(server) };
            }
            5 => {
                self.peers[at].is_up = false;
                match bytes.int_in_range(0..=2)? {
                    0 => self.session.stream_spoiled(server, "spoiled", self.now),
                    1 => {
                        let protocol = match self.session.protocol(server) {
                            Protocol::Delta => Protocol::StateOfTheWorld,
                            Protocol::StateOfTheWorld => Protocol::Delta,
                        };
                        self.session.stream_down(server, "unimplemented", self.now);
                        self.session.set_protocol(server, protocol);
                    }
                    _ => {
                        self.session.stream_down(server, "down", self.now);
                    }
                }
            }
            6 => {
                self.now += Duration::from_secs(bytes.int_in_range(0..=20)?);
                self.session.expire(self.now);
            }
            7 => self.session.postpone(Duration::from_secs(bytes.int_in_range(0..=20)?)),
            8 => self.drain(),
            _ => self.respond(at, bytes)?,
        }
        Ok(())
    }

    fn respond(&mut self, at: usize, bytes: &mut Unstructured<'_>) -> Result<()> {
        self.nonce += 1;
        let nonce = self.nonce.to_string();
        let server = self.peers[at].server;
        self.peers[at].nonces.insert(nonce.clone());
        let type_url = match bytes.int_in_range(0..=9)? {
            0 => "type.googleapis.com/x".to_owned(),
            _ => url(kind(bytes)?).to_owned(),
        };
        let errors =
            (0..bytes.int_in_range(0..=2)?).map(|_| error(bytes)).collect::<Result<_>>()?;
        let count = bytes.int_in_range(0..=4)?;
        if bytes.arbitrary()? {
            let resources: Result<_> = (0..count).map(|_| resource(bytes, &type_url)).collect();
            let response = DiscoveryResponse {
                version_info: bytes.int_in_range(0..=3)?.to_string(),
                resources: resources?,
                resource_errors: errors,
                type_url,
                nonce,
                ..DiscoveryResponse::default()
            };
            self.session.receive(server, response, self.now);
        } else {
            let resources: Result<_> = (0..count).map(|_| change(bytes, &type_url)).collect();
            let removed: Result<_> =
                (0..bytes.int_in_range(0..=2)?).map(|_| Ok(name(bytes)?.to_string())).collect();
            let response = DeltaDiscoveryResponse {
                resources: resources?,
                removed_resources: removed?,
                resource_errors: errors,
                type_url,
                nonce,
                ..DeltaDiscoveryResponse::default()
            };
            self.session.receive(server, response, self.now);
        }
        Ok(())
    }

    /// Sends all that is due.
    fn drain(&mut self) {
        for peer in &mut self.peers {
            let mut sent = 0;
            while let Some(request) = self.session.poll_request(peer.server) {
                assert!(peer.is_up, "a request without a stream");
                match request {
                    Request::StateOfTheWorld(request) => peer.take(request),
                    Request::Delta(request) => peer.take_changes(request),
                    _ => panic!("of no protocol"),
                }
                sent += 1;
                assert!(sent < 10_000, "requests without end");
            }
            self.session.request_left(peer.server, self.now);
            assert!(!self.session.wants_to_send(peer.server));
        }
        self.check_names();
    }

    /// Each server knows what is wanted of it.
    fn check_names(&self) {
        for (at, is_far) in [(0, false), (2, true)] {
            let peer = &self.peers[at];
            if !peer.is_up {
                continue;
            }
            for kind in ResourceType::ALL {
                let is_wild = !is_far && self.all.contains(&kind);
                let told = peer.names.iter().filter(|(of, name)| *of == kind && name != "*");
                let told: BTreeSet<&str> = told.map(|(_, name)| name.as_str()).collect();
                let wanted = self.wanted.iter().filter(|(of, name)| {
                    *of == kind && name.starts_with(FAR) == is_far && is_askable(kind, name)
                });
                let wanted: BTreeSet<&str> = wanted.map(|(_, name)| ordered(name)).collect();
                let is_delta = self.session.protocol(peer.server) == Protocol::Delta;
                if !is_wild {
                    assert_eq!(told, wanted, "{kind} of server {at}");
                } else if !is_delta {
                    assert!(told.is_empty(), "{told:?} beside a wildcard");
                }
            }
        }
    }

    fn check(&mut self) {
        for peer in &mut self.peers {
            // The client closes these.
            peer.is_up &= self.session.is_in_use(peer.server);
        }
        for event in self.session.take_events() {
            let is_wanted = self.wanted.contains(&(event.id.kind, event.id.name.clone()));
            let is_wild = self.all.contains(&event.id.kind) && !event.id.name.starts_with("xdstp:");
            // What ended since is told as well, to nobody.
            let has_news = event.value.is_some() || event.failure.is_some();
            assert!(has_news, "{event:?} tells nothing");
            let _ = (is_wanted, is_wild);
        }
        for status in self.session.resources() {
            let kind = status.id.kind;
            let mut wanted = self.wanted.iter();
            let is_wanted =
                wanted.any(|(of, name)| *of == kind && ordered(name) == &*status.id.name);
            assert!(is_wanted || self.all.contains(&kind), "{status:?} is not wanted");
        }
        assert!(self.session.values().count() <= self.session.resources().count());
        let _ = self.session.next_deadline();
    }
}

impl Peer {
    fn new(server: ServerIndex) -> Self {
        Self {
            server,
            is_up: false,
            has_node: false,
            nonces: BTreeSet::new(),
            asked: BTreeSet::new(),
            names: BTreeSet::new(),
        }
    }

    fn check_head(&mut self, has_node: bool, nonce: &str, is_refusal: bool) {
        assert_eq!(has_node, !self.has_node, "the node goes with the first request");
        self.has_node = true;
        assert!(nonce.is_empty() || self.nonces.contains(nonce), "nonce of another stream");
        assert!(!is_refusal || !nonce.is_empty(), "refusal of nothing");
    }

    fn take(&mut self, request: DiscoveryRequest) {
        let is_refusal = request.error_detail.is_some();
        self.check_head(request.node.is_some(), &request.response_nonce, is_refusal);
        let kind = kind_of(&request.type_url);
        self.names.retain(|(of, _)| *of != kind);
        for name in request.resource_names {
            assert!(self.names.insert((kind, name)), "a name twice");
        }
    }

    fn take_changes(&mut self, request: DeltaDiscoveryRequest) {
        let is_refusal = request.error_detail.is_some();
        self.check_head(request.node.is_some(), &request.response_nonce, is_refusal);
        let kind = kind_of(&request.type_url);
        let (more, fewer) = (request.resource_names_subscribe, request.resource_names_unsubscribe);
        let is_first = self.asked.insert(kind);
        if !request.response_nonce.is_empty() {
            assert!(more.is_empty() && fewer.is_empty() && !is_first, "an answer goes alone");
        }
        assert!(is_first || request.initial_resource_versions.is_empty());
        for name in fewer {
            let was_told = self.names.remove(&(kind, name.clone()));
            assert!(was_told || name == "*", "{name:?} was not asked for");
        }
        for name in more {
            assert!(self.names.insert((kind, name)), "a name twice");
        }
    }
}

fn kind(bytes: &mut Unstructured<'_>) -> Result<ResourceType> {
    bytes.choose(&ResourceType::ALL).copied()
}

fn name(bytes: &mut Unstructured<'_>) -> Result<Name> {
    Ok((*bytes.choose(&NAMES)?).into())
}

/// The one of two ways to write a name that is kept.
fn ordered(name: &str) -> &str {
    if name == NAMES[5] { NAMES[6] } else { name }
}

/// Whether there is a server to ask for that name.
fn is_askable(kind: ResourceType, name: &str) -> bool {
    if !name.starts_with("xdstp:") {
        return !name.is_empty() && name != "*";
    }
    let of_type = url(kind).rsplit('/').next().unwrap_or_default();
    name.strip_prefix(FAR).is_some_and(|path| path.split('/').next() == Some(of_type))
}

fn url(kind: ResourceType) -> &'static str {
    match kind {
        ResourceType::Listener => type_url::LISTENER,
        ResourceType::RouteConfiguration => type_url::ROUTE_CONFIGURATION,
        ResourceType::Cluster => type_url::CLUSTER,
        ResourceType::ClusterLoadAssignment => type_url::CLUSTER_LOAD_ASSIGNMENT,
        ResourceType::Secret => type_url::SECRET,
    }
}

fn kind_of(type_url: &str) -> ResourceType {
    let found = ResourceType::ALL.into_iter().find(|kind| url(*kind) == type_url);
    found.expect("requests are of known types")
}

/// A resource with a name and nothing else, which is good for routes and endpoints; sometimes with
/// other bytes, of another type, or in a wrapper that holds none.
fn resource(bytes: &mut Unstructured<'_>, type_url: &str) -> Result<Any> {
    let name = name(bytes)?;
    let mut value = vec![0x0a, u8::try_from(name.len()).expect("names are short")];
    value.extend_from_slice(name.as_bytes());
    let mut type_url = type_url.to_owned();
    match bytes.int_in_range(0..=15)? {
        0 => value = bytes.arbitrary()?,
        1 => type_url = url(kind(bytes)?).to_owned(),
        2 => type_url = type_url::RESOURCE.to_owned(),
        3 => {
            value.pop();
        }
        // A field that makes another version of it.
        4..=7 => value.extend_from_slice(&[0xba, 0x3e, 1, bytes.arbitrary()?]),
        _ => {}
    }
    Ok(Any { type_url, value })
}

fn change(bytes: &mut Unstructured<'_>, type_url: &str) -> Result<Resource> {
    let inner = resource(bytes, type_url)?;
    let aliases: Result<_> =
        (0..bytes.int_in_range(0..=1)?).map(|_| Ok(name(bytes)?.to_string())).collect();
    Ok(Resource {
        name: name(bytes)?.to_string(),
        aliases: aliases?,
        version: bytes.int_in_range(0..=3)?.to_string(),
        resource: (bytes.int_in_range(0..=7)? > 0).then_some(inner),
        ..Resource::default()
    })
}

fn error(bytes: &mut Unstructured<'_>) -> Result<ResourceError> {
    let name = name(bytes)?.to_string();
    Ok(ResourceError {
        resource_name: Some(ResourceName { name, ..ResourceName::default() }),
        error_detail: Some(Status { code: bytes.int_in_range(0..=16)?, ..Status::default() }),
    })
}

//! A client without sockets, and what it takes.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use mesh_core::Snapshot;
use mesh_core::cluster::Tables;
use mesh_core::resource::{Name, Resources};
use mesh_pb::envoy::config::endpoint::v3 as endpoint;
use mesh_pb::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use mesh_pb::google::protobuf::Any;
use mesh_pb::type_url;
use mesh_xds_client::Bootstrap;
use mesh_xds_client::graph::{Graph, Interest};
use mesh_xds_client::session::{Directory, Request, ServerIndex, Session};
use prost::Message;

use super::{delays, made};

/// Endpoints of the large cluster.
const ENDPOINTS: u32 = 10_000;
/// The scheduler's account moves in steps of some milliseconds: what is measured is done so often
/// in each round that they do not matter.
const TIMES: u32 = 60;
const ROUNDS: u32 = 7;

/// Prints everything.
pub fn report() {
    let mut large = Rig::new(1, ENDPOINTS);
    large.sync();
    let bytes = made::assignment("c0", 0..ENDPOINTS).encode_to_vec();
    let mut samples: [Vec<f64>; 3] = Default::default();
    for round in 0..ROUNDS {
        samples[0].push(microseconds(|| {
            for _ in 0..TIMES {
                let made = endpoint::ClusterLoadAssignment::decode(black_box(&*bytes));
                black_box(made.unwrap_or_default());
            }
        }));
        // Each has another address in the middle than the one before.
        let one = |turn: u32| {
            let new = ENDPOINTS + round * TIMES + turn;
            let hosts = (0..ENDPOINTS).map(move |host| if host == 5_000 { new } else { host });
            made::assignment("c0", hosts)
        };
        large.update([made::assignment("c0", 0..ENDPOINTS)].into_iter());
        samples[1].push(large.update((0..TIMES).map(one)));
        samples[2].push(large.update((0..TIMES).map(all_changed)));
    }
    let [decode, one, all] = samples.map(|rounds| median(rounds) / f64::from(TIMES));
    println!("ClusterLoadAssignment of {ENDPOINTS} endpoints, {} bytes", bytes.len());
    println!("  prost decode                     {decode:8.0} µs");
    println!("  one changed, bytes to tables     {one:8.0} µs  {:.2}×", one / decode);
    println!("  all changed, bytes to tables     {all:8.0} µs  {:.2}×", all / decode);
    let [worst, quiet] = delays::worst(&mut large);
    println!("  worst pick while all change      {worst:8.1} µs, {quiet:.1} µs while nothing does");
    for (clusters, times) in [(300, 40), (1_000, 12), (10_000, 2)] {
        first_sync(clusters, times);
    }
}

/// Other endpoints than the turn before.
pub(super) fn all_changed(turn: u32) -> endpoint::ClusterLoadAssignment {
    let first = ((turn % 2) + 1) << 16;
    made::assignment("c0", first..first + ENDPOINTS)
}

/// One first sync of so many clusters.
pub fn sync_once(clusters: usize) {
    let mut rig = Rig::new(clusters, 10);
    println!("{} requests", rig.sync());
}

/// CPU, requests and memory of the first sync, against a server that answers each request.
fn first_sync(clusters: usize, times: u32) {
    let mut rounds = Vec::new();
    let mut requests = 0;
    for _ in 0..ROUNDS {
        let mut rigs: Vec<Rig> = (0..times).map(|_| Rig::new(clusters, 10)).collect();
        let took = microseconds(|| {
            for rig in &mut rigs {
                requests = rig.sync();
            }
        });
        rounds.push(took / f64::from(times));
    }
    let (held, raw) = held(clusters);
    println!(
        "first sync of {clusters} clusters of 10 endpoints: {:.1} ms, {requests} requests, \
         {:.2} MB held, {:.2} of them raw bytes",
        median(rounds) / 1e3,
        held as f64 / 1e6,
        raw as f64 / 1e6,
    );
}

/// The bytes that a client has allocated after the first sync of so many clusters of 10 endpoints,
/// and how many of them are resources as they came.
fn held(clusters: usize) -> (u64, u64) {
    let mut kept = None;
    let mut raw = 0;
    let counted = allocation_counter::measure(|| {
        let mut rig = Rig::new(clusters, 10);
        rig.sync();
        raw = rig.raw_bytes() as u64;
        rig.server = HashMap::new();
        kept = Some(rig);
    });
    (counted.bytes_current as u64, raw)
}

/// The session, the graph and the Snapshot of a client, and what its server has.
pub(super) struct Rig {
    session: Session,
    index: ServerIndex,
    graph: Graph,
    resources: Resources,
    pub(super) snapshot: Option<Snapshot<()>>,
    /// Tables that requests may still read.
    replaced: Vec<Arc<Tables<()>>>,
    server: HashMap<(&'static str, String), Any>,
    version: u64,
}

const ROOT: &str = "root";
const TYPES: [&str; 4] = [
    type_url::LISTENER,
    type_url::ROUTE_CONFIGURATION,
    type_url::CLUSTER,
    type_url::CLUSTER_LOAD_ASSIGNMENT,
];

impl Rig {
    fn new(clusters: usize, endpoints: u32) -> Self {
        let mut server = HashMap::new();
        let names: Vec<String> = (0..clusters).map(|number| format!("c{number}")).collect();
        server.insert((type_url::LISTENER, ROOT.to_owned()), made::listener(ROOT));
        server.insert((type_url::ROUTE_CONFIGURATION, ROOT.to_owned()), made::routes(ROOT, &names));
        for (number, name) in (0_u32..).zip(&names) {
            server.insert((type_url::CLUSTER, name.clone()), made::cluster(name));
            let hosts = number * endpoints..(number + 1) * endpoints;
            let assignment = made::any(&made::assignment(name, hosts));
            server.insert((type_url::CLUSTER_LOAD_ASSIGNMENT, name.clone()), assignment);
        }
        let bootstrap = Bootstrap::builder("127.0.0.1:1").with_node_id("n").build();
        let bootstrap = bootstrap.expect("a bootstrap with a server is complete");
        let mut directory = Directory::default();
        let index = directory.add_server(bootstrap.servers()[0].features);
        directory.set_default(vec![index]);
        let mut session = Session::new(bootstrap.node(), directory);
        session.stream_up(index);
        let mut graph = Graph::new();
        let listener: Name = ROOT.into();
        graph.set_interest(&listener, Interest::none().with_http(ROOT));
        let (resources, snapshot, replaced) = (Resources::new(), None, Vec::new());
        Self { session, index, graph, resources, snapshot, replaced, server, version: 0 }
    }

    /// Bytes of all resources as they came.
    fn raw_bytes(&self) -> usize {
        self.server.values().map(|any| any.value.len()).sum()
    }

    /// Answers requests until there are none, and counts them.
    fn sync(&mut self) -> usize {
        let mut requests = 0;
        self.settle();
        while let Some(request) = self.session.poll_request(self.index) {
            let Request::StateOfTheWorld(request) = request else { continue };
            requests += 1;
            self.session.request_left(self.index, Instant::now());
            let Some(response) = self.answer(&request) else { continue };
            self.session.receive(self.index, response, Instant::now());
            self.settle();
        }
        self.compile();
        // As a client does that waits for what is next: timers of what came are looked through.
        black_box(self.session.next_deadline());
        requests
    }

    /// Compiled once for all that came together, as a mesh does that is busy meanwhile.
    fn compile(&mut self) {
        let (made, _) = Snapshot::compile(&self.resources, self.snapshot.as_ref(), &());
        self.snapshot = Some(made);
    }

    /// What a server that answers each request with all it asks for says; nothing to an ACK.
    fn answer(&mut self, request: &DiscoveryRequest) -> Option<DiscoveryResponse> {
        let key = *TYPES.iter().find(|url| **url == request.type_url)?;
        let count = request.resource_names.len().to_string();
        if request.response_nonce == count {
            return None;
        }
        self.version += 1;
        let resources = request.resource_names.iter();
        let resources = resources.filter_map(|name| self.server.get(&(key, name.clone())).cloned());
        Some(DiscoveryResponse {
            version_info: self.version.to_string(),
            type_url: request.type_url.clone(),
            resources: resources.collect(),
            nonce: count,
            ..Default::default()
        })
    }

    fn settle(&mut self) {
        loop {
            for event in self.session.take_events() {
                self.graph.apply(event);
            }
            let step = self.graph.step();
            if step.is_empty() {
                return;
            }
            for id in &step.subscribe {
                self.session.subscribe(id.kind, &id.name, Instant::now());
            }
            if step.update.is_empty() {
                continue;
            }
            let changed: Vec<Name> = step.update.endpoints.keys().cloned().collect();
            let is_endpoints_only = step.update.is_endpoints_only();
            self.resources.apply(step.update);
            match &self.snapshot {
                Some(snapshot) if is_endpoints_only => {
                    // Kept until no request reads them, and freed here, as a mesh does.
                    self.replaced.retain(|tables| Arc::strong_count(tables) > 1);
                    let replaced = snapshot.update_endpoints(&self.resources, &changed, &());
                    self.replaced.extend(replaced);
                }
                Some(_) => self.compile(),
                None => {}
            }
        }
    }

    /// CPU microseconds from the bytes of responses to live tables, one after the other.
    pub(super) fn update(
        &mut self,
        all: impl Iterator<Item = endpoint::ClusterLoadAssignment>,
    ) -> f64 {
        let encoded: Vec<Vec<u8>> = all
            .map(|assignment| {
                self.version += 1;
                let response = DiscoveryResponse {
                    version_info: self.version.to_string(),
                    type_url: type_url::CLUSTER_LOAD_ASSIGNMENT.to_owned(),
                    resources: vec![made::any(&assignment)],
                    nonce: self.version.to_string(),
                    ..Default::default()
                };
                response.encode_to_vec()
            })
            .collect();
        microseconds(|| {
            for bytes in encoded {
                let response = DiscoveryResponse::decode(&*bytes).unwrap_or_default();
                self.session.receive(self.index, response, Instant::now());
                self.settle();
                black_box(self.session.poll_request(self.index));
            }
        })
    }
}

fn microseconds(run: impl FnOnce()) -> f64 {
    let before = cpu_time();
    run();
    (cpu_time() - before) as f64 / 1e3
}

/// CPU time of this thread, in nanoseconds, as the scheduler counts it.
fn cpu_time() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0)
}

pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

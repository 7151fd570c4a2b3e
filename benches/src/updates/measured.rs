//! A client without sockets, and what it takes.

use std::hint::black_box;
use std::time::Instant;

use mesh_core::Snapshot;
use mesh_core::resource::{Name, Resources};
use mesh_pb::envoy::config::endpoint::v3 as endpoint;
use mesh_pb::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use mesh_pb::google::protobuf::Any;
use mesh_pb::type_url;
use mesh_xds_client::Bootstrap;
use mesh_xds_client::graph::{Graph, Interest};
use mesh_xds_client::session::{Directory, Request, ServerIndex, Session};
use prost::Message;

use super::made;

/// Endpoints of the large cluster.
const ENDPOINTS: u32 = 10_000;
const ROUNDS: usize = 15;

/// Prints everything.
pub fn report() {
    let mut large = Rig::new(1, ENDPOINTS);
    large.sync();
    let bytes = made::assignment("c0", 0..ENDPOINTS).encode_to_vec();
    let mut samples: [Vec<f64>; 4] = Default::default();
    let mut worst = 0.0_f64;
    for round in 0..ROUNDS {
        samples[0].push(microseconds(|| {
            black_box(
                endpoint::ClusterLoadAssignment::decode(black_box(&*bytes)).unwrap_or_default(),
            );
        }));
        let round = u32::try_from(round).unwrap_or(0) + 1;
        let one = (0..ENDPOINTS).map(|host| if host == 5_000 { ENDPOINTS + round } else { host });
        samples[1].push(large.update(made::assignment("c0", one)));
        worst = worst.max(large.last_swap);
        samples[2]
            .push(large.update(made::assignment("c0", (round << 16)..(round << 16) + ENDPOINTS)));
        samples[3].push(large.update(made::assignment("c0", 0..ENDPOINTS)));
    }
    let [decode, one, all, back] = samples.map(median);
    println!("ClusterLoadAssignment of {ENDPOINTS} endpoints, {} bytes", bytes.len());
    println!("  prost decode                     {decode:8.0} µs");
    println!("  one changed, bytes to tables     {one:8.0} µs  {:.2}×", one / decode);
    println!("  all changed, bytes to tables     {all:8.0} µs  {:.2}×", all / decode);
    println!("  all changed back                 {back:8.0} µs  {:.2}×", back / decode);
    println!("  of one changed, tables alone     {worst:8.0} µs at most");
    for clusters in [300, 1_000, 10_000] {
        first_sync(clusters);
    }
}

/// CPU, requests and memory of the first sync, against a server that answers each request.
fn first_sync(clusters: usize) {
    let mut times = Vec::new();
    let mut requests = 0;
    for _ in 0..5 {
        let mut rig = Rig::new(clusters, 10);
        times.push(microseconds(|| requests = rig.sync()));
    }
    let mut kept = None;
    let mut raw = 0;
    let counted = allocation_counter::measure(|| {
        let mut rig = Rig::new(clusters, 10);
        rig.sync();
        raw = rig.raw_bytes();
        rig.server.clear();
        kept = Some(rig);
    });
    let held = counted.bytes_current as f64 / 1e6;
    println!(
        "first sync of {clusters} clusters of 10 endpoints: {:.1} ms, {requests} requests, \
         {held:.2} MB held, {:.2} of them raw bytes",
        median(times) / 1e3,
        raw as f64 / 1e6,
    );
    drop(kept);
}

/// The session, the graph and the Snapshot of a client, and what its server has.
struct Rig {
    session: Session,
    index: ServerIndex,
    graph: Graph,
    resources: Resources,
    snapshot: Option<Snapshot<()>>,
    server: std::collections::HashMap<(&'static str, String), Any>,
    version: u64,
    last_swap: f64,
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
        let mut server = std::collections::HashMap::new();
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
        let (resources, snapshot) = (Resources::new(), None);
        Self { session, index, graph, resources, snapshot, server, version: 0, last_swap: 0.0 }
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
            let Some(response) = self.answer(&request) else { continue };
            self.session.receive(self.index, response, Instant::now());
            self.settle();
        }
        requests
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
            let started = cpu_time();
            match &self.snapshot {
                Some(snapshot) if is_endpoints_only => {
                    black_box(snapshot.update_endpoints(&self.resources, &changed, &()));
                }
                // As a mesh does: compiled once for all that came together.
                before if !self.session.wants_to_send(self.index) || before.is_some() => {
                    let (made, _) = Snapshot::compile(&self.resources, before.as_ref(), &());
                    self.snapshot = Some(made);
                }
                _ => {}
            }
            self.last_swap = (cpu_time() - started) as f64 / 1e3;
        }
    }

    /// CPU microseconds from the bytes of a response to live tables.
    fn update(&mut self, assignment: endpoint::ClusterLoadAssignment) -> f64 {
        self.version += 1;
        let response = DiscoveryResponse {
            version_info: self.version.to_string(),
            type_url: type_url::CLUSTER_LOAD_ASSIGNMENT.to_owned(),
            resources: vec![made::any(&assignment)],
            nonce: self.version.to_string(),
            ..Default::default()
        };
        drop(assignment);
        let bytes = response.encode_to_vec();
        drop(response);
        let took = microseconds(|| {
            let response = DiscoveryResponse::decode(&*bytes).unwrap_or_default();
            self.session.receive(self.index, response, Instant::now());
            self.settle();
        });
        black_box(self.session.poll_request(self.index));
        took
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

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

//! What a change of configuration costs, off the request path.

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::Instant;

use criterion::{Criterion, criterion_group, criterion_main};
use http::StatusCode;
use mesh_benches::tables::{CLUSTER, Shape, assignment, resources_and, table};
use mesh_core::cluster::outlier::Observed;
use mesh_core::resource::{
    Cluster, ClusterLoadAssignment, Entry, LbPolicy, Name, OutlierDetection, Resource, Resources,
    Update,
};
use mesh_core::{Dialect, Snapshot};

/// How many clusters there are beside the one that changes.
const CLUSTERS: usize = 1_000;

fn changes(criterion: &mut Criterion) {
    one_endpoint(criterion);
    rebuild(criterion);
}

/// One endpoint of one cluster changes, among 10,000 routes and 1,000 clusters.
fn one_endpoint(criterion: &mut Criterion) {
    let (hosts, _) = table(Shape::Prefixes, 10_000);
    let others = (0..CLUSTERS).flat_map(|at| {
        let name = format!("other-{at}");
        [Resource::from(Cluster::new(name.clone())), assignment(&name, 10).into()]
    });
    let mut all = resources_and(hosts, others);
    let (snapshot, _) = Snapshot::compile(&all, None, &());
    let changed: [Name; 1] = [CLUSTER.into()];
    let mut last = 0;
    criterion.bench_function("one endpoint changes", |bench| {
        bench.iter(|| {
            last = (last + 1) % 250;
            let addresses = (0..9).chain([100 + last]);
            let addresses = addresses.map(|at| SocketAddr::from(([10, 0, 0, at as u8], 9080)));
            let next = ClusterLoadAssignment::of_addresses(CLUSTER, addresses);
            let mut update = Update::default();
            update.endpoints.insert(changed[0].clone(), Some(Entry::of(next)));
            all.apply(update);
            black_box(snapshot.update_endpoints(&all, &changed, &()))
        })
    });
}

/// One endpoint of 10,000 is ejected and returns: the tables are built anew twice.
fn rebuild(criterion: &mut Criterion) {
    let least = LbPolicy::LeastRequest { choice_count: 2 };
    for (name, policy, weights) in [
        ("round robin", LbPolicy::RoundRobin, false),
        ("least request", least, false),
        ("random", LbPolicy::Random, false),
        ("weighted round robin", LbPolicy::RoundRobin, true),
        ("weighted least request", least, true),
    ] {
        let mut detection = OutlierDetection::new();
        detection.consecutive_5xx = 1;
        detection.successful_active_health_check_uneject_host = true;
        let mut spec = Cluster::new(CLUSTER);
        spec.lb_policy = policy;
        spec.outlier_detection = Some(detection.into());
        let mut list = assignment(CLUSTER, 10_000);
        for (at, endpoint) in (1..).zip(&mut list.localities[0].endpoints) {
            endpoint.weight = if weights { 1 + at % 7 } else { 1 };
        }
        let all: Resources = [Resource::from(spec), list.into()].into_iter().collect();
        let (snapshot, _) = Snapshot::compile(&all, None, &());
        let state = snapshot.cluster_named(CLUSTER).expect("it was given").clone();
        let endpoint = state.tables().usable().nth(4_321).expect("there are more").clone();
        let (now, failed) = (Instant::now(), Observed::Status(StatusCode::BAD_GATEWAY));
        let detector = state.detector(Dialect::Http);
        criterion.bench_function(&format!("ejection and return, {name}"), |bench| {
            bench.iter(|| {
                assert!(state.observe(&endpoint, Dialect::Http, failed, || now, || 0));
                black_box(state.rebuild());
                assert!(detector.passed_health_check(endpoint.record(Dialect::Http), now));
                black_box(state.rebuild());
            })
        });
    }
}

criterion_group!(benches, changes);
criterion_main!(benches);

//! What a change of configuration costs, off the request path.

use std::hint::black_box;
use std::net::SocketAddr;

use criterion::{Criterion, criterion_group, criterion_main};
use mesh_benches::tables::{CLUSTER, Shape, assignment, cluster, resources_and, table};
use mesh_core::Snapshot;
use mesh_core::resource::{
    Cluster, ClusterLoadAssignment, Entry, LbPolicy, Name, Resource, Update,
};

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

/// The tables of a cluster of 10,000 are built anew, as after an ejection.
fn rebuild(criterion: &mut Criterion) {
    let policy = LbPolicy::LeastRequest { choice_count: 2 };
    let (snapshot, _) = Snapshot::compile(&cluster(10_000, policy), None, &());
    let state = snapshot.cluster_named(CLUSTER).expect("it was given").clone();
    criterion
        .bench_function("rebuild of 10,000", |bench| bench.iter(|| black_box(state.rebuild())));
}

criterion_group!(benches, changes);
criterion_main!(benches);

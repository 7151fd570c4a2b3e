//! The pick alone, against the number of endpoints.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use mesh_benches::tables::{CLUSTER, cluster};
use mesh_core::cluster::Choice;
use mesh_core::resource::LbPolicy;
use mesh_core::{Dialect, Snapshot};

fn picks(criterion: &mut Criterion) {
    for (name, policy) in [
        ("round robin", LbPolicy::RoundRobin),
        ("least request", LbPolicy::LeastRequest { choice_count: 2 }),
        ("random", LbPolicy::Random),
    ] {
        let mut group = criterion.benchmark_group(name);
        for size in [10, 100, 1_000, 10_000] {
            let (snapshot, _) = Snapshot::compile(&cluster(size, policy), None, &());
            let state = snapshot.cluster_named(CLUSTER).expect("it was given").clone();
            let mut random = 1u64;
            group.bench_function(BenchmarkId::from_parameter(size), |bench| {
                bench.iter(|| {
                    // A different endpoint each time, so that the caches do not know it.
                    random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                    black_box(state.pick(&Choice::new(Dialect::Http), random)).is_ok()
                })
            });
        }
        group.finish();
    }
}

criterion_group!(benches, picks);
criterion_main!(benches);

//! Time of the client pipeline on a ready stub, with the bare stub beside it.

use criterion::{Criterion, criterion_group, criterion_main};
use mesh_benches::{Config, Stub, meshed, once};

fn pipeline(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.expect("a runtime can be built");
    let _entered = runtime.enter();
    let mut group = criterion.benchmark_group("pipeline");
    group.bench_function("stub", |bench| bench.iter(|| once(&mut Stub)));
    for (name, config) in [
        ("mesh", Config::default()),
        ("mesh, retry policy", Config { retries: true, ..Config::default() }),
        ("mesh, 10,000 routes", Config { routes: 10_000, ..Config::default() }),
        ("mesh, 10,000 endpoints", Config { endpoints: 10_000, ..Config::default() }),
    ] {
        let mut service = meshed(config);
        group.bench_function(name, |bench| bench.iter(|| once(&mut service)));
    }
    group.finish();
}

criterion_group!(benches, pipeline);
criterion_main!(benches);

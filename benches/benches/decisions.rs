//! The decision alone, against the size of the table: one request that its last entry takes.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use mesh_benches::tables::{Ready, Shape};

fn decisions(criterion: &mut Criterion) {
    for (name, shape) in [
        ("virtual hosts", Shape::Hosts),
        ("exact routes", Shape::Exact),
        ("prefix routes", Shape::Prefixes),
    ] {
        let mut group = criterion.benchmark_group(name);
        for size in [1, 10, 100, 1_000, 10_000] {
            let ready = Ready::new(shape, size);
            group.bench_function(BenchmarkId::from_parameter(size), |bench| {
                bench.iter(|| black_box(ready.decide(black_box(7))))
            });
        }
        group.finish();
    }
}

criterion_group!(benches, decisions);
criterion_main!(benches);

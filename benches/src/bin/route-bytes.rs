//! Bytes of memory per route: 10,000 routes of one prefix and one exact header that share a cluster
//! and a retry policy, resources and Snapshot together.

use std::hint::black_box;

use mesh_benches::tables::{Shape, resources, table};
use mesh_core::Snapshot;

fn main() {
    const ROUTES: usize = 10_000;
    let one = held(1);
    let many = held(ROUTES + 1);
    println!("{:.0} bytes a route", (many - one) as f64 / ROUTES as f64);
}

/// What a table of that many routes holds once it is compiled.
fn held(routes: usize) -> i64 {
    let mut kept = None;
    let counted = allocation_counter::measure(|| {
        let (hosts, _) = table(Shape::PrefixesAndHeaders, routes);
        let all = resources(hosts);
        let (snapshot, _) = Snapshot::compile(&all, None, &());
        kept = Some((all, snapshot));
    });
    black_box(kept);
    counted.bytes_current
}

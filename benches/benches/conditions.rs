//! What a route's rarer features add to the decision.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderName, Request};
use mesh_benches::tables::{Ready, route};
use mesh_core::resource::{
    HeaderMatcher, PathMatcher, Regex, RouteMatch, StringMatcher, ValueMatch, VirtualHost,
};

fn conditions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("conditions");
    let header = |name, value| HeaderMatcher::new(HeaderName::from_static(name), value);
    let regex = |source: &str| Regex::new(source).expect("a valid regex");
    for (name, matcher) in [
        ("prefix alone", RouteMatch::prefix("/reviews")),
        ("regex path", RouteMatch::new(PathMatcher::Regex(regex("/reviews/[0-9]+")))),
        (
            "exact header",
            RouteMatch::prefix("/reviews")
                .with_header(header("end-user", ValueMatch::String(StringMatcher::exact("jason")))),
        ),
        (
            "regex header",
            RouteMatch::prefix("/reviews").with_header(header(
                "end-user",
                ValueMatch::String(StringMatcher::Regex(regex("j[a-z]+n"))),
            )),
        ),
    ] {
        let request = Request::get("http://other/reviews/0").header("end-user", "jason").body(());
        let request = request.expect("the URI is well formed");
        let hosts = vec![VirtualHost::new("all", ["*"], vec![route(matcher)])];
        let ready = Ready::of(hosts, request);
        group.bench_function(name, |bench| bench.iter(|| black_box(ready.decide(black_box(7)))));
    }
    group.finish();
}

criterion_group!(benches, conditions);
criterion_main!(benches);

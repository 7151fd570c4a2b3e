//! What a route's rarer features add to the decision.

use std::hint::black_box;
use std::time::{Instant, SystemTime};

use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use mesh_benches::TARGET;
use mesh_benches::tables::{Ready, resources_and, route};
use mesh_core::exchange::{Exchange, Next};
use mesh_core::filter::{Context, Request as Seen};
use mesh_core::resource::{
    AppendAction, Condition, HeaderMatcher, HeaderMutation, HeaderOperation, HttpConnectionManager,
    HttpFilter, HttpFilterKind, Listener, PathMatcher, Rbac, RbacAction, RbacPolicy, RbacRules,
    Regex, Resource, RouteMatch, RouteSpecifier, Rule, StringMatcher, ValueMatch, VirtualHost,
};
use mesh_core::snapshot::RootHint;
use mesh_core::{Dialect, Snapshot};

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

/// A policy of one path and one header allows the request.
fn rbac() -> HttpFilter {
    let path = Condition::UrlPath(StringMatcher::exact("/reviews/0"));
    let user = ValueMatch::String(StringMatcher::exact("jason"));
    let user = Condition::Header(HeaderMatcher::new(HeaderName::from_static("end-user"), user));
    let policy = RbacPolicy { permissions: vec![Rule::Is(path)], principals: vec![Rule::Is(user)] };
    let rules = RbacRules::new(RbacAction::Allow, [("readers", policy)]);
    HttpFilter::new("rbac", HttpFilterKind::Rbac(Rbac::new(rules).into()))
}

fn exchanges(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("exchange");
    let set = |name, value| {
        let value = HeaderValue::from_static(value);
        let action = AppendAction::OverwriteIfExistsOrAdd;
        HeaderOperation::new(HeaderName::from_static(name), value, action)
    };
    let changes = HeaderMutation::new(Vec::new(), vec![set("x-one", "1"), set("x-two", "2")]);
    for (name, filter, changes) in [
        ("nothing", None, None),
        ("rbac", Some(rbac()), None),
        ("two header changes", None, Some(Box::new(changes))),
    ] {
        let mut route = route(RouteMatch::prefix("/reviews"));
        route.request_headers = changes;
        let mut manager = HttpConnectionManager::new(RouteSpecifier::Rds("reviews".into()));
        manager.filters.splice(0..0, filter);
        let listener = Resource::from(Listener::new(TARGET, manager));
        // Takes the place of the plain listener of that name.
        let all = resources_and(vec![VirtualHost::new("all", ["*"], vec![route])], [listener]);
        let (snapshot, _) = Snapshot::compile(&all, None, &());
        let root = snapshot.root(&TARGET.into(), &RootHint::new()).expect("it was given");
        let mut headers = HeaderMap::new();
        headers.insert("end-user", HeaderValue::from_static("jason"));
        let context = Context::new(Instant::now(), SystemTime::now(), 7, Dialect::Http);
        group.bench_function(name, |bench| {
            bench.iter(|| {
                let mut method = Method::GET;
                let mut seen = Seen::new(&mut method, TARGET, "/reviews/0", &mut headers);
                let begun = Exchange::begin(&snapshot, root, &mut seen, &context);
                assert!(matches!(black_box(&begun).1, Next::Forward { .. }));
            })
        });
    }
    group.finish();
}

criterion_group!(benches, conditions, exchanges);
criterion_main!(benches);

//! Deciding about a request allocates nothing (invariant 4 of ARCHITECTURE.md).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use allocation_counter::measure;
use http::{HeaderName, Request};
use mesh_core::cluster::{Avoid, Choice};
use mesh_core::resource::{
    Action, Cluster, ClusterLoadAssignment, ClusterSpecifier, Forward, HeaderMatcher,
    HttpConnectionManager, LbPolicy, Listener, Name, PathMatcher, QueryParameterMatcher, Resource,
    Resources, RetryConditions, RetryPolicy, Route, RouteConfiguration, RouteMatch, RouteSpecifier,
    StringMatcher, ValueMatch, VirtualHost, WeightedCluster,
};
use mesh_core::snapshot::RootHint;
use mesh_core::{Decision, Dialect, Head, Snapshot, resilience};

fn split() -> Action {
    let clusters = vec![WeightedCluster::new("v1", 90), WeightedCluster::new("v2", 10)];
    Action::Forward(Arc::new(Forward::new(ClusterSpecifier::Weighted(clusters.into()))))
}

fn header(name: &'static str, value: ValueMatch) -> HeaderMatcher {
    HeaderMatcher::new(HeaderName::from_static(name), value)
}

/// A route of each kind that can be matched without allocating; the request matches the last.
fn routes() -> Vec<Route> {
    let exact = |value: &str| ValueMatch::String(StringMatcher::exact(value));
    let tier = RouteMatch::prefix("/").with_header(header("x-tier", exact("silver")));
    let list = RouteMatch::prefix("/api").with_header(header("x-list", exact("a,b,d")));
    let number =
        RouteMatch::prefix("/api").with_header(header("x-number", ValueMatch::Range(0..5)));
    let mut query = RouteMatch::prefix("/api");
    let value = exact("2");
    query.query_parameters.push(QueryParameterMatcher { name: "page".into(), value });
    let mut fraction = RouteMatch::prefix("/api");
    fraction.runtime_fraction = Some(0);
    let mut insensitive = RouteMatch::new(PathMatcher::Exact("/API/V2".into()));
    insensitive.case_sensitive = false;
    let separated = RouteMatch::new(PathMatcher::PathSeparatedPrefix("/api/v2".into()));
    let last = RouteMatch::prefix("/api/v1")
        .with_header(header("x-tier", exact("gold")))
        .with_header(header("x-list", exact("b")));
    let all = [tier, list, number, query, fraction, insensitive, separated, last];
    all.map(|matcher| Route::new(matcher, split())).into()
}

fn resources(lb_policy: LbPolicy) -> Resources {
    let mut hosts: Vec<_> = (0..100)
        .map(|n| VirtualHost::new(format!("h{n}"), [format!("h{n}.*"), format!("*.h{n}")], vec![]))
        .collect();
    hosts.push(VirtualHost::new("reviews", ["*.reviews.local"], routes()));
    let manager = HttpConnectionManager::new(RouteSpecifier::Rds("routes".into()));
    let fixed: [Resource; 2] = [
        Listener::new("reviews.local", manager).into(),
        RouteConfiguration::new("routes", hosts).into(),
    ];
    let clusters = ["v1", "v2"].into_iter().flat_map(|name| {
        let mut cluster = Cluster::new(name);
        cluster.lb_policy = lb_policy;
        let addresses = (0..10).map(|n| SocketAddr::from(([10, 0, 0, n], 80)));
        let endpoints = ClusterLoadAssignment::of_addresses(name, addresses);
        [Resource::from(cluster), Resource::from(endpoints)]
    });
    fixed.into_iter().chain(clusters).collect()
}

/// A request from its head to the end of its retry; `None` when something fails.
fn decide(
    snapshot: &Snapshot<()>,
    listener: &Name,
    hint: &RootHint,
    request: &Request<()>,
) -> Option<()> {
    let random = 0x0123_4567_89ab_cdef;
    let head = Head::of(request);
    let root = snapshot.root(listener, hint)?;
    let decision = snapshot.route(root, &head, Dialect::Http, random);
    let Decision::Forward { route, cluster } = decision else { panic!("{decision:?}") };
    let view = snapshot.view(route);
    assert!(view.timeout(Dialect::Http).is_some() && view.retry_policy().is_none());
    let cluster = snapshot.cluster(cluster)?;
    let permit = cluster.admit().ok()?;
    let picked = cluster.pick(&Choice::new(Dialect::Http), random).ok()?;
    picked.count_failure();
    let policy = RetryPolicy::new(RetryConditions::FIVE_XX);
    let outcome = resilience::Outcome::ConnectFailure;
    let ended = resilience::Ended::unanswered(outcome, SystemTime::UNIX_EPOCH);
    let state = resilience::RetryState::default();
    let decision = state.decide(&policy, &ended, Dialect::Http, random);
    assert_ne!(decision, resilience::RetryDecision::Done);
    let retry = cluster.admit_retry().ok()?;
    let tried = [picked.address()];
    let again =
        cluster.pick(&Choice::new(Dialect::Http).with_avoid(Avoid::new(&tried, 9)), random).ok()?;
    drop((permit, picked, retry, again));
    Some(())
}

#[test]
fn request_path_does_not_allocate() {
    let request = Request::builder()
        .uri("http://Shop.Reviews.LOCAL/api/v1/reviews/0?page=1")
        .header("x-tier", "gold")
        .header("x-list", "a")
        .header("x-list", "b")
        .header("x-number", "7")
        .body(())
        .unwrap();
    for lb_policy in [LbPolicy::RoundRobin, LbPolicy::LeastRequest { choice_count: 2 }] {
        let (snapshot, _) = Snapshot::compile(&resources(lb_policy), None, &());
        let listener: Name = "reviews.local".into();
        let hint = RootHint::new();
        // The first use of `arc-swap` by a thread registers it, which allocates once.
        decide(&snapshot, &listener, &hint, &request).unwrap();
        let counted = measure(|| {
            for _ in 0..100 {
                decide(&snapshot, &listener, &hint, &request).unwrap();
            }
        });
        assert_eq!(counted.count_total, 0, "{counted:?}");
    }
}

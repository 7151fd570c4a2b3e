//! What a route costs, as the allocator counts it.

use std::hint::black_box;
use std::sync::Arc;

use http::HeaderName;
use mesh_core::Snapshot;
use mesh_core::resource::{
    Action, ClusterSpecifier, Forward, HeaderMatcher, HttpConnectionManager, Listener, Name,
    PathMatcher, Resource, Resources, RetryConditions, RetryPolicy, Route, RouteConfiguration,
    RouteMatch, RouteSpecifier, StringMatcher, ValueMatch, VirtualHost,
};

const ROUTES: u64 = 10_000;
/// The most bytes a route may cost.
const LIMIT: u64 = 400;

/// A table of routes of one path and one exact header, which share cluster and retry policy.
fn resources(path: impl Fn(Name) -> PathMatcher) -> Resources {
    let policy = Arc::new(RetryPolicy::new(RetryConditions::FIVE_XX));
    let mut forward = Forward::new(ClusterSpecifier::Cluster("backend".into()));
    forward.retry_policy = Some(policy);
    let action = Action::Forward(Arc::new(forward));
    let header = HeaderName::from_static("x-tenant");
    let route = |number: u64| {
        let mut matcher = RouteMatch::new(path(format!("/api/service-{number}/").into()));
        matcher.headers.reserve_exact(1);
        let value = ValueMatch::String(StringMatcher::exact(format!("tenant-{number}")));
        Route::new(matcher.with_header(HeaderMatcher::new(header.clone(), value)), action.clone())
    };
    let mut routes = Vec::with_capacity(ROUTES as usize);
    routes.extend((0..ROUTES).map(route));
    let host = VirtualHost::new("host", ["*"], routes);
    let manager = HttpConnectionManager::new(RouteSpecifier::Rds("routes".into()));
    [
        Resource::from(Listener::new("l", manager)),
        RouteConfiguration::new("routes", vec![host]).into(),
    ]
    .into_iter()
    .collect()
}

#[test]
fn route_costs_at_most_four_hundred_bytes() {
    type Kind = fn(Name) -> PathMatcher;
    let kinds = [("prefix", PathMatcher::Prefix as Kind), ("exact", PathMatcher::Exact)];
    for (kind, path) in kinds {
        let mut kept = None;
        let info = allocation_counter::measure(|| {
            let resources = resources(path);
            let (snapshot, _) = Snapshot::compile(&resources, None, &());
            kept = Some((resources, snapshot));
        });
        black_box(&kept);
        let each = info.bytes_current as u64 / ROUTES;
        assert!(each <= LIMIT, "{kind}: {each} bytes a route");
    }
}

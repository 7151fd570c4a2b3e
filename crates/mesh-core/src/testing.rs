//! Short forms of resources and requests for tests.

use std::net::SocketAddr;
use std::sync::Arc;

use http::Request;
use proptest::prelude::*;

use crate::finding::{Failure, FailureKind, ResourceId, ResourceType};
use crate::resource::{
    Action, Cluster, ClusterLoadAssignment, ClusterSpecifier, Endpoint, Forward, HealthStatus,
    HttpConnectionManager, Listener, Locality, LocalityLbEndpoints, Route, RouteConfiguration,
    RouteMatch, RouteSpecifier, VirtualHost, WeightedCluster,
};

pub(crate) fn forward(cluster: &str) -> Action {
    Action::Forward(Arc::new(Forward::new(ClusterSpecifier::Cluster(cluster.into()))))
}

pub(crate) fn weighted(clusters: &[(&str, u32)]) -> Action {
    let clusters = clusters.iter().map(|(name, weight)| WeightedCluster::new(*name, *weight));
    Action::Forward(Arc::new(Forward::new(ClusterSpecifier::Weighted(
        clusters.collect::<Vec<_>>().into(),
    ))))
}

/// A route that forwards what begins with `prefix`.
pub(crate) fn route(prefix: &str, cluster: &str) -> Route {
    Route::new(RouteMatch::prefix(prefix), forward(cluster))
}

/// A listener whose routes are the RouteConfiguration `routes`.
pub(crate) fn listener(name: &str, routes: &str) -> Listener {
    Listener::new(name, HttpConnectionManager::new(RouteSpecifier::Rds(routes.into())))
}

/// Routes of one virtual host that takes every authority.
pub(crate) fn routes(name: &str, routes: Vec<Route>) -> RouteConfiguration {
    RouteConfiguration::new(name, vec![VirtualHost::new("all", ["*"], routes)])
}

pub(crate) fn cluster(name: &str) -> Cluster {
    Cluster::new(name)
}

pub(crate) fn address(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number], 80))
}

pub(crate) fn endpoints(
    name: &str,
    addresses: impl IntoIterator<Item = u8>,
) -> ClusterLoadAssignment {
    ClusterLoadAssignment::of_addresses(name, addresses.into_iter().map(address))
}

/// A locality of that priority, of endpoints with their health.
pub(crate) fn locality(priority: u32, endpoints: &[(u8, HealthStatus)]) -> LocalityLbEndpoints {
    let endpoint = |(number, health): &(u8, HealthStatus)| {
        let mut endpoint = Endpoint::new(address(*number));
        endpoint.health = *health;
        endpoint
    };
    let endpoints = endpoints.iter().map(endpoint).collect();
    let mut locality = LocalityLbEndpoints::new(Locality::default(), endpoints);
    locality.priority = priority;
    locality.weight = Some(1);
    locality
}

pub(crate) fn failure(kind: ResourceType, name: &str, text: &str) -> Arc<Failure> {
    let id = ResourceId::new(kind, name);
    Arc::new(Failure::new(id, FailureKind::Invalid, text, None))
}

/// A GET request with those headers.
pub(crate) fn get(uri: &str, headers: &[(&'static str, &str)]) -> Request<()> {
    let request = Request::builder().uri(uri);
    headers.iter().fold(request, |r, (name, value)| r.header(*name, *value)).body(()).unwrap()
}

/// Well mixed numbers that are the same in every run.
pub(crate) fn randoms(count: usize) -> impl Iterator<Item = u64> {
    let step = |state: &mut u64| {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Some(mixed ^ (mixed >> 31))
    };
    std::iter::repeat_n((), count).scan(1, move |state, ()| step(state))
}

/// Short texts of few letters, so that they often meet.
pub(crate) fn text_of(
    letters: &'static [char],
    length: std::ops::Range<usize>,
) -> impl Strategy<Value = String> {
    let letter = prop::sample::select(letters);
    prop::collection::vec(letter, length).prop_map(|letters| letters.into_iter().collect())
}

/// Draws per share; what is counted lies within three standard deviations.
pub(crate) const DRAWS: usize = 4_000;

#[track_caller]
pub(crate) fn assert_share(count: usize, share: f64) {
    let (mean, draws) = (DRAWS as f64 * share, DRAWS as f64);
    let deviation = 3.0 * (draws * share * (1.0 - share)).sqrt();
    assert!((count as f64 - mean).abs() <= deviation, "{count} of {DRAWS} for {share}");
}

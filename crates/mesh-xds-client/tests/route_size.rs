//! What a decoded route costs, as the allocator counts it.

use std::hint::black_box;
use std::sync::Arc;

use mesh_core::resource::{HttpConnectionManager, Listener, Resource, Resources, RouteSpecifier};
use mesh_core::{ResourceId, ResourceType, Snapshot};
use mesh_pb::envoy::config::route::v3 as pb;
use mesh_pb::envoy::r#type::matcher::v3::{StringMatcher, string_matcher};
use mesh_xds_client::decode::{Value, decode};
use prost::Message;

const ROUTES: u64 = 10_000;
/// The most bytes a route may cost.
const LIMIT: u64 = 400;

/// A route of one path and one exact header, with a cluster and a retry policy that all have.
fn route(path: pb::route_match::PathSpecifier, number: u64) -> pb::Route {
    let tenant = string_matcher::MatchPattern::Exact(format!("tenant-{number}"));
    let tenant = StringMatcher { match_pattern: Some(tenant), ..StringMatcher::default() };
    let header = pb::HeaderMatcher {
        name: "x-tenant".to_owned(),
        header_match_specifier: Some(pb::header_matcher::HeaderMatchSpecifier::StringMatch(tenant)),
        ..pb::HeaderMatcher::default()
    };
    let policy = pb::RetryPolicy { retry_on: "5xx".to_owned(), ..pb::RetryPolicy::default() };
    let cluster = pb::route_action::ClusterSpecifier::Cluster("backend".to_owned());
    let action = pb::RouteAction {
        cluster_specifier: Some(cluster),
        retry_policy: Some(policy),
        ..pb::RouteAction::default()
    };
    pb::Route {
        r#match: Some(pb::RouteMatch {
            path_specifier: Some(path),
            headers: vec![header],
            ..pb::RouteMatch::default()
        }),
        action: Some(pb::route::Action::Route(action)),
        ..pb::Route::default()
    }
}

fn configuration(path: fn(String) -> pb::route_match::PathSpecifier) -> Vec<u8> {
    let one = |number| route(path(format!("/api/service-{number}/")), number);
    let host = pb::VirtualHost {
        name: "all".to_owned(),
        domains: vec!["*".to_owned()],
        routes: (0..ROUTES).map(one).collect(),
        ..pb::VirtualHost::default()
    };
    let name = "routes".to_owned();
    let all = pb::RouteConfiguration { name, virtual_hosts: vec![host], ..Default::default() };
    all.encode_to_vec()
}

/// What the bytes are once they are decoded and compiled.
fn compiled(bytes: &[u8]) -> (Resources, Snapshot<()>) {
    let id = ResourceId::new(ResourceType::RouteConfiguration, "routes");
    let Ok(Value::RouteConfiguration(routes)) = decode(&id, bytes) else {
        panic!("it is a valid route configuration")
    };
    let routes = Arc::into_inner(routes).expect("nobody else has it");
    let manager = HttpConnectionManager::new(RouteSpecifier::Rds("routes".into()));
    let listener = Resource::from(Listener::new("l", manager));
    let resources: Resources = [listener, routes.into()].into_iter().collect();
    let (snapshot, _) = Snapshot::compile(&resources, None, &());
    (resources, snapshot)
}

#[test]
fn decoded_route_costs_at_most_four_hundred_bytes() {
    use pb::route_match::PathSpecifier::{Path, Prefix};
    type Kind = fn(String) -> pb::route_match::PathSpecifier;
    for (kind, path) in [("prefix", Prefix as Kind), ("exact", Path)] {
        let bytes = configuration(path);
        let mut kept = None;
        let info = allocation_counter::measure(|| kept = Some(compiled(&bytes)));
        black_box(&kept);
        let each = info.bytes_current as u64 / ROUTES;
        println!("{kind}: {each} bytes a route");
        assert!(each <= LIMIT, "{kind}: {each} bytes a route");
    }
}

use mesh_pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use mesh_pb::envoy::config::core::v3::{AggregatedConfigSource, ConfigSource};
use mesh_pb::envoy::config::listener::v3::{ApiListener, Listener};
use mesh_pb::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use mesh_pb::envoy::config::route::v3::route::Action;
use mesh_pb::envoy::config::route::v3::route_action::ClusterSpecifier;
use mesh_pb::envoy::config::route::v3::route_match::PathSpecifier;
use mesh_pb::envoy::config::route::v3::weighted_cluster::ClusterWeight;
use mesh_pb::envoy::config::route::v3::{
    HeaderMatcher, RetryPolicy, Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost,
    WeightedCluster,
};
use mesh_pb::envoy::extensions::filters::http::router::v3::Router;
use mesh_pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use mesh_pb::envoy::r#type::matcher::v3::StringMatcher;
use mesh_pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use mesh_pb::google::protobuf::{Any, Duration, UInt32Value};
use mesh_pb::type_url;

use super::{CLUSTERS, Layout, PATH, Shape, TARGET, any};

/// The API listener of [`TARGET`].
pub(crate) fn listener() -> Any {
    let source = ConfigSourceSpecifier::Ads(AggregatedConfigSource {});
    let source = ConfigSource { config_source_specifier: Some(source), ..Default::default() };
    let rds = hcm::Rds { config_source: Some(source), route_config_name: TARGET.to_owned() };
    let manager = manager(hcm::http_connection_manager::RouteSpecifier::Rds(rds));
    let listener = Listener {
        name: TARGET.to_owned(),
        api_listener: Some(ApiListener { api_listener: Some(manager) }),
        ..Default::default()
    };
    any(type_url::LISTENER, &listener)
}

/// The connection manager, with the router as its only filter.
pub(crate) fn manager(routes: hcm::http_connection_manager::RouteSpecifier) -> Any {
    let router = any(type_url::ROUTER, &Router::default());
    let manager = hcm::HttpConnectionManager {
        stat_prefix: "bench".to_owned(),
        route_specifier: Some(routes),
        http_filters: vec![hcm::HttpFilter {
            name: "envoy.filters.http.router".to_owned(),
            config_type: Some(hcm::http_filter::ConfigType::TypedConfig(router)),
            ..Default::default()
        }],
        ..Default::default()
    };
    any(type_url::HTTP_CONNECTION_MANAGER, &manager)
}

/// The table: others first, then the one that is hit.
pub(crate) fn routes(shape: Shape) -> RouteConfiguration {
    let others = 1..shape.routes;
    let virtual_hosts = match shape.layout {
        Layout::Prefixes => {
            let others = others.map(|n| other(PathSpecifier::Prefix(format!("/other/{n}/"))));
            let last = hit(shape, PathSpecifier::Prefix("/reviews".to_owned()));
            vec![host(TARGET.to_owned(), others.chain([last]).collect())]
        }
        Layout::Paths => {
            let others = others.map(|n| other(PathSpecifier::Path(format!("/other/{n}"))));
            let last = hit(shape, PathSpecifier::Path(PATH.to_owned()));
            vec![host(TARGET.to_owned(), others.chain([last]).collect())]
        }
        Layout::Hosts => {
            let others = others.map(|n| {
                let route = other(PathSpecifier::Prefix("/".to_owned()));
                host(format!("other-{n}.default.svc.cluster.local:9080"), vec![route])
            });
            let last = hit(shape, PathSpecifier::Prefix("/reviews".to_owned()));
            others.chain([host(TARGET.to_owned(), vec![last])]).collect()
        }
    };
    RouteConfiguration { name: TARGET.to_owned(), virtual_hosts, ..Default::default() }
}

fn host(domain: String, routes: Vec<Route>) -> VirtualHost {
    VirtualHost { name: domain.clone(), domains: vec![domain], routes, ..Default::default() }
}

/// A route that no request takes.
fn other(path: PathSpecifier) -> Route {
    let cluster = ClusterSpecifier::Cluster(CLUSTERS[0].0.to_owned());
    let action = RouteAction { cluster_specifier: Some(cluster), ..Default::default() };
    route(RouteMatch { path_specifier: Some(path), ..Default::default() }, action)
}

/// The route that every request takes.
fn hit(shape: Shape, path: PathSpecifier) -> Route {
    let exact = MatchPattern::Exact("jason".to_owned());
    let exact = StringMatcher { match_pattern: Some(exact), ..Default::default() };
    let headers = [
        ("end-user", HeaderMatchSpecifier::StringMatch(exact)),
        ("accept", HeaderMatchSpecifier::PresentMatch(true)),
    ];
    let headers = headers.map(|(name, specifier)| HeaderMatcher {
        name: name.to_owned(),
        header_match_specifier: Some(specifier),
        ..Default::default()
    });
    let clusters = CLUSTERS.map(|(name, weight)| ClusterWeight {
        name: name.to_owned(),
        weight: Some(UInt32Value { value: weight }),
        ..Default::default()
    });
    let split = WeightedCluster { clusters: clusters.into(), ..Default::default() };
    let retry = RetryPolicy { retry_on: "5xx,unavailable".to_owned(), ..Default::default() };
    let action = RouteAction {
        cluster_specifier: Some(ClusterSpecifier::WeightedClusters(split)),
        timeout: Some(Duration { seconds: 15, nanos: 0 }),
        retry_policy: shape.retries.then_some(retry),
        ..Default::default()
    };
    let matcher =
        RouteMatch { path_specifier: Some(path), headers: headers.into(), ..Default::default() };
    route(matcher, action)
}

fn route(matcher: RouteMatch, action: RouteAction) -> Route {
    Route { r#match: Some(matcher), action: Some(Action::Route(action)), ..Default::default() }
}

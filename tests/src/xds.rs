//! xDS resources, as small as they can be.

use std::net::SocketAddr;

use mesh_pb::envoy::config::cluster::v3::Cluster;
use mesh_pb::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, CustomClusterType, DiscoveryType, EdsClusterConfig, LbPolicy,
};
use mesh_pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use mesh_pb::envoy::config::core::v3::socket_address::PortSpecifier;
use mesh_pb::envoy::config::core::v3::{
    Address, AggregatedConfigSource, ConfigSource, Locality, SelfConfigSource, SocketAddress,
    address,
};
use mesh_pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use mesh_pb::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints,
};
use mesh_pb::envoy::config::listener::v3::{ApiListener, Listener};
use mesh_pb::envoy::config::route::v3::route::Action;
use mesh_pb::envoy::config::route::v3::route_action::ClusterSpecifier;
use mesh_pb::envoy::config::route::v3::route_match::PathSpecifier;
use mesh_pb::envoy::config::route::v3::{
    Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost,
};
use mesh_pb::envoy::extensions::clusters::aggregate::v3::ClusterConfig;
use mesh_pb::envoy::extensions::filters::http::router::v3::Router;
use mesh_pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use mesh_pb::google::protobuf::{Any, UInt32Value};
use mesh_pb::type_url;
use prost::Message;

/// A message as an `Any`.
pub fn any(type_url: &str, message: &impl Message) -> Any {
    Any { type_url: type_url.to_owned(), value: message.encode_to_vec() }
}

fn ads() -> Option<ConfigSource> {
    let specifier = ConfigSourceSpecifier::Ads(AggregatedConfigSource {});
    Some(ConfigSource { config_source_specifier: Some(specifier), ..Default::default() })
}

/// A Listener whose routes are in the RouteConfiguration `routes`.
pub fn listener(name: &str, routes: &str) -> Any {
    let rds = hcm::Rds { config_source: ads(), route_config_name: routes.to_owned() };
    let router =
        hcm::http_filter::ConfigType::TypedConfig(any(type_url::ROUTER, &Router::default()));
    let manager = hcm::HttpConnectionManager {
        route_specifier: Some(hcm::http_connection_manager::RouteSpecifier::Rds(rds)),
        http_filters: vec![hcm::HttpFilter {
            name: "router".to_owned(),
            config_type: Some(router),
            ..Default::default()
        }],
        ..Default::default()
    };
    let manager = any(type_url::HTTP_CONNECTION_MANAGER, &manager);
    let listener = Listener {
        name: name.to_owned(),
        api_listener: Some(ApiListener { api_listener: Some(manager) }),
        ..Default::default()
    };
    any(type_url::LISTENER, &listener)
}

/// A RouteConfiguration for every host: path prefixes and the clusters they lead to.
pub fn routes(name: &str, prefixes: &[(&str, &str)]) -> Any {
    let route = |&(prefix, cluster): &(&str, &str)| Route {
        r#match: Some(RouteMatch {
            path_specifier: Some(PathSpecifier::Prefix(prefix.to_owned())),
            ..Default::default()
        }),
        action: Some(Action::Route(RouteAction {
            cluster_specifier: Some(ClusterSpecifier::Cluster(cluster.to_owned())),
            ..Default::default()
        })),
        ..Default::default()
    };
    let host = VirtualHost {
        name: "all".to_owned(),
        domains: vec!["*".to_owned()],
        routes: prefixes.iter().map(route).collect(),
        ..Default::default()
    };
    let routes = RouteConfiguration {
        name: name.to_owned(),
        virtual_hosts: vec![host],
        ..Default::default()
    };
    any(type_url::ROUTE_CONFIGURATION, &routes)
}

/// A Cluster whose endpoints come by EDS under its own name.
pub fn cluster(name: &str) -> Any {
    let config = EdsClusterConfig { eds_config: ads(), service_name: String::new() };
    any(type_url::CLUSTER, &eds_cluster(name, Some(config)))
}

/// The same, whose load is to be reported to the server it comes from, with those metrics.
pub fn reporting_cluster(name: &str, metrics: &[&str]) -> Any {
    let config = EdsClusterConfig { eds_config: ads(), service_name: String::new() };
    let lrs_server = ConfigSourceSpecifier::Self_(SelfConfigSource::default());
    let cluster = Cluster {
        lrs_server: Some(ConfigSource {
            config_source_specifier: Some(lrs_server),
            ..Default::default()
        }),
        lrs_report_endpoint_metrics: metrics.iter().map(ToString::to_string).collect(),
        ..eds_cluster(name, Some(config))
    };
    any(type_url::CLUSTER, &cluster)
}

/// An aggregate of those clusters.
pub fn aggregate(name: &str, clusters: &[&str]) -> Any {
    let clusters = clusters.iter().map(ToString::to_string).collect();
    let config = ClusterConfig { clusters };
    let custom = CustomClusterType {
        name: "envoy.clusters.aggregate".to_owned(),
        typed_config: Some(any(AGGREGATE, &config)),
    };
    let cluster = Cluster {
        name: name.to_owned(),
        lb_policy: LbPolicy::ClusterProvided.into(),
        cluster_discovery_type: Some(ClusterDiscoveryType::ClusterType(custom)),
        ..Default::default()
    };
    any(type_url::CLUSTER, &cluster)
}

const AGGREGATE: &str = "type.googleapis.com/envoy.extensions.clusters.aggregate.v3.ClusterConfig";

/// A Cluster that does not say where its endpoints come from.
pub fn invalid_cluster(name: &str) -> Any {
    any(type_url::CLUSTER, &eds_cluster(name, None))
}

fn eds_cluster(name: &str, config: Option<EdsClusterConfig>) -> Cluster {
    Cluster {
        name: name.to_owned(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into())),
        eds_cluster_config: config,
        ..Default::default()
    }
}

/// The endpoints of a cluster, in one locality.
pub fn endpoints(cluster: &str, addresses: &[SocketAddr]) -> Any {
    let endpoint = |address: &SocketAddr| {
        let socket = SocketAddress {
            address: address.ip().to_string(),
            port_specifier: Some(PortSpecifier::PortValue(address.port().into())),
            ..Default::default()
        };
        let address = Address { address: Some(address::Address::SocketAddress(socket)) };
        let endpoint = Endpoint { address: Some(address), ..Default::default() };
        LbEndpoint {
            host_identifier: Some(HostIdentifier::Endpoint(endpoint)),
            ..Default::default()
        }
    };
    let locality = LocalityLbEndpoints {
        locality: Some(Locality { region: "here".to_owned(), ..Default::default() }),
        lb_endpoints: addresses.iter().map(endpoint).collect(),
        load_balancing_weight: Some(UInt32Value { value: 1 }),
        ..Default::default()
    };
    let assignment = ClusterLoadAssignment {
        cluster_name: cluster.to_owned(),
        endpoints: vec![locality],
        ..Default::default()
    };
    any(type_url::CLUSTER_LOAD_ASSIGNMENT, &assignment)
}

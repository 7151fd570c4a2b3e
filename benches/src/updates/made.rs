//! Messages as a control plane would send them.

use mesh_pb::envoy::config::cluster::v3 as cluster;
use mesh_pb::envoy::config::core::v3 as core;
use mesh_pb::envoy::config::endpoint::v3 as endpoint;
use mesh_pb::envoy::config::listener::v3 as listener;
use mesh_pb::envoy::config::route::v3 as route;
use mesh_pb::envoy::extensions::filters::http::router::v3::Router;
use mesh_pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use mesh_pb::google::protobuf::{Any, UInt32Value};
use prost::{Message, Name};

pub(super) fn any<M: Message + Name>(message: &M) -> Any {
    Any { type_url: M::type_url(), value: message.encode_to_vec() }
}

fn ads() -> Option<core::ConfigSource> {
    let ads = core::config_source::ConfigSourceSpecifier::Ads(core::AggregatedConfigSource {});
    Some(core::ConfigSource { config_source_specifier: Some(ads), ..Default::default() })
}

pub(super) fn listener(name: &str) -> Any {
    let router = hcm::HttpFilter {
        name: "router".to_owned(),
        config_type: Some(hcm::http_filter::ConfigType::TypedConfig(any(&Router::default()))),
        ..Default::default()
    };
    let rds = hcm::Rds { config_source: ads(), route_config_name: name.to_owned() };
    let manager = hcm::HttpConnectionManager {
        http_filters: vec![router],
        route_specifier: Some(hcm::http_connection_manager::RouteSpecifier::Rds(rds)),
        ..Default::default()
    };
    any(&listener::Listener {
        name: name.to_owned(),
        api_listener: Some(listener::ApiListener { api_listener: Some(any(&manager)) }),
        ..Default::default()
    })
}

/// One virtual host with one route by prefix for each cluster.
pub(super) fn routes(name: &str, clusters: &[String]) -> Any {
    let routes = clusters.iter().map(|cluster| route::Route {
        r#match: Some(route::RouteMatch {
            path_specifier: Some(route::route_match::PathSpecifier::Prefix(format!("/{cluster}"))),
            ..Default::default()
        }),
        action: Some(route::route::Action::Route(route::RouteAction {
            cluster_specifier: Some(route::route_action::ClusterSpecifier::Cluster(
                cluster.clone(),
            )),
            ..Default::default()
        })),
        ..Default::default()
    });
    any(&route::RouteConfiguration {
        name: name.to_owned(),
        virtual_hosts: vec![route::VirtualHost {
            name: "all".to_owned(),
            domains: vec!["*".to_owned()],
            routes: routes.collect(),
            ..Default::default()
        }],
        ..Default::default()
    })
}

pub(super) fn cluster(name: &str) -> Any {
    let kind = cluster::cluster::DiscoveryType::Eds as i32;
    any(&cluster::Cluster {
        name: name.to_owned(),
        cluster_discovery_type: Some(cluster::cluster::ClusterDiscoveryType::Type(kind)),
        eds_cluster_config: Some(cluster::cluster::EdsClusterConfig {
            eds_config: ads(),
            service_name: String::new(),
        }),
        ..Default::default()
    })
}

/// An assignment of one locality with those endpoints, each told as `10.x.y.z`.
pub(super) fn assignment(
    name: &str,
    hosts: impl Iterator<Item = u32>,
) -> endpoint::ClusterLoadAssignment {
    let endpoint = |host: u32| endpoint::LbEndpoint {
        host_identifier: Some(endpoint::lb_endpoint::HostIdentifier::Endpoint(
            endpoint::Endpoint {
                address: Some(core::Address {
                    address: Some(core::address::Address::SocketAddress(core::SocketAddress {
                        address: format!("10.{}.{}.{}", host >> 16, (host >> 8) & 255, host & 255),
                        port_specifier: Some(core::socket_address::PortSpecifier::PortValue(8080)),
                        ..Default::default()
                    })),
                }),
                ..Default::default()
            },
        )),
        ..Default::default()
    };
    endpoint::ClusterLoadAssignment {
        cluster_name: name.to_owned(),
        endpoints: vec![endpoint::LocalityLbEndpoints {
            locality: Some(core::Locality { region: "here".to_owned(), ..Default::default() }),
            load_balancing_weight: Some(UInt32Value { value: 1 }),
            lb_endpoints: hosts.map(endpoint).collect(),
            ..Default::default()
        }],
        ..Default::default()
    }
}

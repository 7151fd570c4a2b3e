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

pub(crate) fn any<M: Message + Name>(message: &M) -> Any {
    Any { type_url: M::type_url(), value: message.encode_to_vec() }
}

pub(crate) fn ads() -> Option<core::ConfigSource> {
    Some(core::ConfigSource {
        config_source_specifier: Some(core::config_source::ConfigSourceSpecifier::Ads(
            core::AggregatedConfigSource {},
        )),
        ..core::ConfigSource::default()
    })
}

pub(crate) fn listener(name: &str, routes: &str) -> Any {
    let router = hcm::HttpFilter {
        name: "router".to_owned(),
        config_type: Some(hcm::http_filter::ConfigType::TypedConfig(any(&Router::default()))),
        ..hcm::HttpFilter::default()
    };
    let rds = hcm::Rds { config_source: ads(), route_config_name: routes.to_owned() };
    let manager = hcm::HttpConnectionManager {
        http_filters: vec![router],
        route_specifier: Some(hcm::http_connection_manager::RouteSpecifier::Rds(rds)),
        ..hcm::HttpConnectionManager::default()
    };
    any(&listener::Listener {
        name: name.to_owned(),
        api_listener: Some(listener::ApiListener { api_listener: Some(any(&manager)) }),
        ..listener::Listener::default()
    })
}

/// One virtual host for everything, with one route by weight over the clusters.
pub(crate) fn routes(name: &str, clusters: &[&str]) -> Any {
    let weighted = |cluster: &&str| route::weighted_cluster::ClusterWeight {
        name: (*cluster).to_owned(),
        weight: Some(UInt32Value { value: 1 }),
        ..route::weighted_cluster::ClusterWeight::default()
    };
    let action = route::RouteAction {
        cluster_specifier: Some(route::route_action::ClusterSpecifier::WeightedClusters(
            route::WeightedCluster {
                clusters: clusters.iter().map(weighted).collect(),
                ..route::WeightedCluster::default()
            },
        )),
        ..route::RouteAction::default()
    };
    let made = route::Route {
        r#match: Some(route::RouteMatch {
            path_specifier: Some(route::route_match::PathSpecifier::Prefix("/".to_owned())),
            ..route::RouteMatch::default()
        }),
        action: Some(route::route::Action::Route(action)),
        ..route::Route::default()
    };
    any(&route::RouteConfiguration {
        name: name.to_owned(),
        virtual_hosts: vec![route::VirtualHost {
            name: "all".to_owned(),
            domains: vec!["*".to_owned()],
            routes: vec![made],
            ..route::VirtualHost::default()
        }],
        ..route::RouteConfiguration::default()
    })
}

pub(crate) fn cluster_message(name: &str) -> cluster::Cluster {
    cluster::Cluster {
        name: name.to_owned(),
        cluster_discovery_type: Some(cluster::cluster::ClusterDiscoveryType::Type(
            cluster::cluster::DiscoveryType::Eds as i32,
        )),
        eds_cluster_config: Some(cluster::cluster::EdsClusterConfig {
            eds_config: ads(),
            service_name: String::new(),
        }),
        ..cluster::Cluster::default()
    }
}

pub(crate) fn cluster(name: &str) -> Any {
    any(&cluster_message(name))
}

/// A cluster that no client can accept.
pub(crate) fn bad_cluster(name: &str) -> Any {
    any(&cluster::Cluster { lb_policy: 77, ..cluster_message(name) })
}

pub(crate) fn endpoints(name: &str, ports: &[u32]) -> Any {
    let endpoint = |port: &u32| endpoint::LbEndpoint {
        host_identifier: Some(endpoint::lb_endpoint::HostIdentifier::Endpoint(
            endpoint::Endpoint {
                address: Some(core::Address {
                    address: Some(core::address::Address::SocketAddress(core::SocketAddress {
                        address: "127.0.0.1".to_owned(),
                        port_specifier: Some(core::socket_address::PortSpecifier::PortValue(*port)),
                        ..core::SocketAddress::default()
                    })),
                }),
                ..endpoint::Endpoint::default()
            },
        )),
        ..endpoint::LbEndpoint::default()
    };
    any(&endpoint::ClusterLoadAssignment {
        cluster_name: name.to_owned(),
        endpoints: vec![endpoint::LocalityLbEndpoints {
            locality: Some(core::Locality { region: "here".to_owned(), ..Default::default() }),
            load_balancing_weight: Some(UInt32Value { value: 1 }),
            lb_endpoints: ports.iter().map(endpoint).collect(),
            ..endpoint::LocalityLbEndpoints::default()
        }],
        ..endpoint::ClusterLoadAssignment::default()
    })
}

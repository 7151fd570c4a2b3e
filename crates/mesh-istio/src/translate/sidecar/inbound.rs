//! What comes in to a sidecar's workload: one listener with a filter chain for each of its ports.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use mesh_pb::envoy::config::core::v3::TrafficDirection;
use mesh_pb::envoy::config::listener::v3::{FilterChain, FilterChainMatch, Listener};
use mesh_pb::envoy::config::route::v3::route::Action;
use mesh_pb::envoy::config::route::v3::route_action::ClusterSpecifier;
use mesh_pb::envoy::config::route::v3::route_match::PathSpecifier;
use mesh_pb::envoy::config::route::v3::{
    Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost,
};
use mesh_pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use mesh_pb::google::protobuf::BoolValue;
use mesh_pb::type_url;

use super::super::listener::manager;
use super::super::{any, duration, uint32};
use super::listener::{MANAGER_NAME, TCP_PROXY_NAME, at, chain, tcp_proxy};
use crate::model::{AppProtocol, Host, Model};
use crate::node::{Mode, Node};

/// Istio's name of the listener.
pub(super) const NAME: &str = "virtualInbound";
/// Where connections to the workload are redirected to, as by Istio.
const PORT: u16 = 15_006;

/// The ports of the workload and what is spoken there: those that its address is an endpoint with,
/// of any service. Where services disagree, HTTP is understood.
fn ports(model: &Model, node: &Node) -> BTreeMap<u16, bool> {
    let mut found = BTreeMap::new();
    let Ok(ip) = node.ip.parse::<IpAddr>() else { return found };
    for service in model.registry().services() {
        let own = service.endpoints.iter().filter(|endpoint| endpoint.address == Host::Ip(ip));
        for endpoint in own {
            for (port, number) in service.ports.iter().zip(&endpoint.ports) {
                if let Some(number) = number {
                    *found.entry(*number).or_default() |= port.protocol != AppProtocol::Tcp;
                }
            }
        }
    }
    found
}

/// Whether anything comes in.
pub(super) fn has_any(model: &Model, node: &Node) -> bool {
    !ports(model, node).is_empty()
}

/// The clusters that lead to the workload itself.
pub(super) fn clusters(model: &Model, node: &Node) -> Vec<String> {
    let ports = ports(model, node);
    ports.keys().filter(|_| !node.bound).map(|port| cluster(*port)).collect()
}

/// Whether a cluster of that name leads to a workload itself.
pub(super) fn is_cluster(name: &str) -> bool {
    let port = name.strip_prefix("inbound|").and_then(|rest| rest.strip_suffix("||"));
    port.is_some_and(|port| port.parse::<u16>().is_ok_and(|number| cluster(number) == name))
}

fn cluster(port: u16) -> String {
    format!("inbound|{port}||")
}

/// The listener; none where nothing comes in, or nobody redirects it.
pub(super) fn listener(model: &Model, node: &Node) -> Option<Listener> {
    let ports = ports(model, node);
    if node.bound || ports.is_empty() {
        return None;
    }
    let chains = ports.into_iter().map(|(port, is_http)| {
        let made = match is_http {
            true => chain(MANAGER_NAME, http(port)),
            false => chain(TCP_PROXY_NAME, tcp_proxy(&cluster(port), None)),
        };
        let matches =
            FilterChainMatch { destination_port: uint32(port.into()), ..Default::default() };
        FilterChain { name: format!("0.0.0.0_{port}"), filter_chain_match: Some(matches), ..made }
    });
    let listener = at(NAME, Ipv4Addr::UNSPECIFIED.into(), PORT, FilterChain::default());
    Some(Listener {
        filter_chains: chains.collect(),
        traffic_direction: TrafficDirection::Inbound.into(),
        // The port that was connected to is known by where the connection was redirected from.
        use_original_dst: Some(BoolValue { value: true }),
        ..listener
    })
}

fn http(port: u16) -> mesh_pb::google::protobuf::Any {
    let mut made = manager(format!("inbound_0.0.0.0_{port}"), String::new(), Mode::Envoy);
    // Faults are for clients to make; the last one is the router.
    made.http_filters = made.http_filters.pop().into_iter().collect();
    made.normalize_path = Some(BoolValue { value: true });
    let routes = hcm::http_connection_manager::RouteSpecifier::RouteConfig(routes(port));
    made.route_specifier = Some(routes);
    any(type_url::HTTP_CONNECTION_MANAGER, &made)
}

fn routes(port: u16) -> RouteConfiguration {
    let action = RouteAction {
        cluster_specifier: Some(ClusterSpecifier::Cluster(cluster(port))),
        timeout: Some(duration(std::time::Duration::ZERO)),
        ..Default::default()
    };
    let route = Route {
        name: "default".to_owned(),
        r#match: Some(RouteMatch {
            path_specifier: Some(PathSpecifier::Prefix("/".to_owned())),
            ..Default::default()
        }),
        action: Some(Action::Route(action)),
        ..Default::default()
    };
    let host = VirtualHost {
        name: format!("inbound|http|{port}"),
        domains: vec!["*".to_owned()],
        routes: vec![route],
        ..Default::default()
    };
    RouteConfiguration {
        name: cluster(port),
        virtual_hosts: vec![host],
        validate_clusters: Some(BoolValue { value: false }),
        ..Default::default()
    }
}

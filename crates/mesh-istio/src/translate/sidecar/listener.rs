//! LDS by port.

use mesh_pb::envoy::config::core::v3::{
    Address, SocketAddress, TrafficDirection, address::Address as Kind,
    socket_address::PortSpecifier,
};
use mesh_pb::envoy::config::listener::v3::{Filter, FilterChain, Listener, filter::ConfigType};
use mesh_pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use mesh_pb::envoy::extensions::filters::network::tcp_proxy::v3::{
    TcpProxy, tcp_proxy::ClusterSpecifier,
};
use mesh_pb::google::protobuf::BoolValue;
use mesh_pb::type_url;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::super::listener::manager;
use super::super::name::ClusterName;
use super::super::policy::Policies;
use super::super::{any, duration};
use super::{PASSTHROUGH, VIRTUAL_OUTBOUND, address, inbound, listener_name, ports};
use crate::model::Model;
use crate::node::{Mode, Node};

/// The listener of this name: HTTP where a service speaks it on that port, else to the one service
/// that is meant.
pub(in super::super) fn listener(model: &Model, node: &Node, name: &str) -> Option<Listener> {
    if name == VIRTUAL_OUTBOUND {
        return (!node.bound).then(virtual_outbound);
    }
    if name == inbound::NAME {
        return inbound::listener(model, node);
    }
    let (ip, port) = name.split_once('_')?;
    let (ip, port): (IpAddr, u16) = (ip.parse().ok()?, port.parse().ok()?);
    if listener_name(ip, port) != name {
        return None;
    }
    let everyone = ip == address(node);
    let mut tcp = None;
    for found in ports(model, node).filter(|found| found.number == port) {
        if found.is_http() {
            if everyone {
                return Some(bind(http(ip, port), node));
            }
        } else if tcp.is_none() && found.own_address(node).unwrap_or(address(node)) == ip {
            let cluster = ClusterName { port, subset: "", host: &found.service.host };
            let policy = Policies::lookup(model, node, found.service).effective(port, None);
            let pool = policy.connection_pool.and_then(|pool| pool.tcp.as_ref());
            let idle = pool.and_then(|tcp| tcp.idle_timeout).map(|idle| idle.0);
            tcp = Some(tcp_proxy(&cluster.to_string(), idle));
        }
    }
    let chain = chain(TCP_PROXY_NAME, tcp?);
    Some(bind(at(name, ip, port, chain), node))
}

fn http(ip: IpAddr, port: u16) -> Listener {
    let name = listener_name(ip, port);
    let manager = hcm::HttpConnectionManager {
        normalize_path: Some(BoolValue { value: true }),
        // A stream ends by the timeouts of its route.
        stream_idle_timeout: Some(duration(Duration::ZERO)),
        upgrade_configs: vec![hcm::http_connection_manager::UpgradeConfig {
            upgrade_type: "websocket".to_owned(),
            ..Default::default()
        }],
        ..manager(format!("outbound_{name}"), port.to_string(), Mode::Envoy)
    };
    let chain = chain(MANAGER_NAME, any(type_url::HTTP_CONNECTION_MANAGER, &manager));
    at(&name, ip, port, chain)
}

/// Hands redirected connections to the listener they were meant for, and those that have none on
/// to where they were going.
fn virtual_outbound() -> Listener {
    let onward = chain(TCP_PROXY_NAME, tcp_proxy(PASSTHROUGH, None));
    Listener {
        use_original_dst: Some(BoolValue { value: true }),
        ..at(VIRTUAL_OUTBOUND, Ipv4Addr::UNSPECIFIED.into(), VIRTUAL_OUTBOUND_PORT, onward)
    }
}

pub(super) fn at(name: &str, ip: IpAddr, port: u16, chain: FilterChain) -> Listener {
    let socket = SocketAddress {
        address: ip.to_string(),
        port_specifier: Some(PortSpecifier::PortValue(port.into())),
        ..Default::default()
    };
    Listener {
        name: name.to_owned(),
        address: Some(Address { address: Some(Kind::SocketAddress(socket)) }),
        filter_chains: vec![chain],
        traffic_direction: TrafficDirection::Outbound.into(),
        ..Default::default()
    }
}

fn bind(listener: Listener, node: &Node) -> Listener {
    let bind_to_port = (!node.bound).then_some(BoolValue { value: false });
    Listener { bind_to_port, ..listener }
}

pub(super) fn chain(filter: &str, config: mesh_pb::google::protobuf::Any) -> FilterChain {
    let config_type = Some(ConfigType::TypedConfig(config));
    FilterChain {
        filters: vec![Filter { name: filter.to_owned(), config_type }],
        ..Default::default()
    }
}

pub(super) fn tcp_proxy(cluster: &str, idle: Option<Duration>) -> mesh_pb::google::protobuf::Any {
    let proxy = TcpProxy {
        stat_prefix: cluster.to_owned(),
        cluster_specifier: Some(ClusterSpecifier::Cluster(cluster.to_owned())),
        idle_timeout: idle.map(duration),
        ..Default::default()
    };
    any(TCP_PROXY, &proxy)
}

const TCP_PROXY: &str =
    "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";
/// Envoy's well-known names of the filters.
pub(super) const TCP_PROXY_NAME: &str = "envoy.filters.network.tcp_proxy";
pub(super) const MANAGER_NAME: &str = "envoy.filters.network.http_connection_manager";
/// Istio's, to which a sidecar's rules redirect.
const VIRTUAL_OUTBOUND_PORT: u16 = 15_001;

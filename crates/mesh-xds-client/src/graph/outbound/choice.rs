//! Which listener a connection to a target comes to, as istiod names and fills them.

use std::net::IpAddr;
use std::sync::Arc;

use mesh_core::resource::{
    ChainAction, FilterChain, HttpConnectionManager, RouteSpecifier, ServerListener,
    TrafficDirection,
};

/// Of HTTP without encryption, where a target names no port.
const DEFAULT_PORT: u16 = 80;

/// The port of a target.
pub(super) fn port(target: &str) -> u16 {
    split(target).1
}

fn split(target: &str) -> (&str, u16) {
    let is_address = target.parse::<IpAddr>().is_ok();
    let parts = target.rsplit_once(':').filter(|_| !is_address);
    let with_port = parts.and_then(|(host, port)| Some((host, port.parse().ok()?)));
    let (host, port) = with_port.unwrap_or((target, DEFAULT_PORT));
    (host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host), port)
}

/// The listener, and what it does with HTTP. Of several, the one that is meant the most; of equals,
/// the first by name.
pub(super) fn choose<'a>(
    listeners: impl Iterator<Item = &'a Arc<ServerListener>>,
    target: &str,
) -> Option<(&'a Arc<ServerListener>, &'a HttpConnectionManager)> {
    let (host, port) = split(target);
    let ip: Option<IpAddr> = host.parse().ok();
    let ranked = listeners.filter_map(|listener| {
        let is_outbound = listener.traffic_direction != TrafficDirection::Inbound;
        let manager = (is_outbound && listener.address.port() == port)
            .then(|| manager(listener, ip, port))??;
        Some((rank(listener, manager, host, ip, target)?, (listener, manager)))
    });
    ranked.min_by_key(|(rank, _)| *rank).map(|(_, found)| found)
}

/// How much a listener is meant for a host: for it alone (0), or for all there are on the port (1).
/// `None` for another's.
fn rank(
    listener: &ServerListener,
    manager: &HttpConnectionManager,
    host: &str,
    ip: Option<IpAddr>,
    target: &str,
) -> Option<u8> {
    if ip == Some(listener.address.ip()) {
        return Some(0);
    }
    // One for a service's own address names its routes after the service.
    if let RouteSpecifier::Rds(routes) = &manager.routes
        && ip.is_none()
    {
        let named = routes.rsplit_once(':').map(|(named, _)| named);
        let is_of = |named: &str| {
            named.strip_prefix(host).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        if **routes == *target || named.is_some_and(is_of) {
            return Some(0);
        }
    }
    let address = listener.address.ip();
    // Where nobody redirects connections, a sidecar listens for its own workload alone.
    (address.is_unspecified() || address.is_loopback()).then_some(1)
}

/// What is done with plain HTTP: by the first filter chain that takes it.
fn manager(
    listener: &ServerListener,
    ip: Option<IpAddr>,
    port: u16,
) -> Option<&HttpConnectionManager> {
    let chains = listener.filter_chains.iter().filter(|chain| takes(chain, ip, port));
    chains.chain(&listener.default_filter_chain).find_map(|chain| match &chain.action {
        ChainAction::Http(manager) => Some(&**manager),
        _ => None,
    })
}

fn takes(chain: &FilterChain, ip: Option<IpAddr>, port: u16) -> bool {
    let matches = &chain.matches;
    let ranges = &matches.prefix_ranges;
    let protocols = &matches.application_protocols;
    // What a listener filter finds in the first bytes of plain HTTP.
    let is_http = |name: &str| matches!(name, "http/1.0" | "http/1.1" | "h2c");
    matches.server_names.is_empty()
        && matches.transport_protocol.as_deref().is_none_or(|name| name == "raw_buffer")
        && (protocols.is_empty() || protocols.iter().any(|name| is_http(name)))
        && matches.destination_port.is_none_or(|wanted| wanted == port)
        && (ranges.is_empty() || ip.is_some_and(|ip| ranges.iter().any(|range| range.contains(ip))))
}

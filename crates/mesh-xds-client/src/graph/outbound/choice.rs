//! Which listener a connection to a target comes to, as istiod names and fills them.

use std::net::IpAddr;
use std::sync::Arc;

use mesh_core::resource::{
    Action, ChainAction, ClusterSpecifier, FilterChain, HttpConnectionManager, Name,
    RouteSpecifier, ServerListener, TrafficDirection,
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

/// What a listener does with a target's connections, and whether that is to pass bytes on.
pub(super) type Served<'a> = (&'a HttpConnectionManager, bool);

/// The listener, and what it does. Of several, the one that is meant the most; of equals, one that
/// serves HTTP, then the first by name.
pub(super) fn choose<'a>(
    listeners: impl Iterator<Item = &'a Arc<ServerListener>>,
    target: &str,
) -> Option<(&'a Arc<ServerListener>, Served<'a>)> {
    let (host, port) = split(target);
    let ip: Option<IpAddr> = host.parse().ok();
    let ranked = listeners.filter_map(|listener| {
        let is_outbound = listener.traffic_direction != TrafficDirection::Inbound;
        let served = (is_outbound && listener.address.port() == port)
            .then(|| served(listener, (host, ip, port)))??;
        Some(((rank(listener, served, (host, ip), target)?, served.1), (listener, served)))
    });
    ranked.min_by_key(|(rank, _)| *rank).map(|(_, found)| found)
}

/// How much a listener is meant for a host: for it alone (0), or for all there are on the port (1).
/// `None` for another's.
fn rank(
    listener: &ServerListener,
    (manager, is_tcp): Served<'_>,
    (host, ip): (&str, Option<IpAddr>),
    target: &str,
) -> Option<u8> {
    if ip == Some(listener.address.ip()) {
        return Some(0);
    }
    if is_tcp && ip.is_none() {
        // It was looked at whose clusters they are.
        return Some(u8::from(!is_named(manager, host)));
    }
    // One for a service's own address names its routes after the service.
    if let RouteSpecifier::Rds(routes) = &manager.routes
        && ip.is_none()
    {
        let named = routes.rsplit_once(':').map(|(named, _)| named);
        if **routes == *target || named.is_some_and(|named| is_of(named, host)) {
            return Some(0);
        }
    }
    is_for_all(listener).then_some(1)
}

/// Where nobody redirects connections, a sidecar listens for its own workload alone.
fn is_for_all(listener: &ServerListener) -> bool {
    let address = listener.address.ip();
    address.is_unspecified() || address.is_loopback()
}

/// Whether a full name is what a client in some namespace means by `host`.
fn is_of(named: &str, host: &str) -> bool {
    named.strip_prefix(host).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// What is done with plain HTTP, by the first filter chain that takes it, else with the bytes of
/// such connections.
fn served<'a>(
    listener: &'a ServerListener,
    (host, ip, port): (&str, Option<IpAddr>, u16),
) -> Option<Served<'a>> {
    let chains = listener.filter_chains.iter().filter(|chain| takes(chain, ip, port));
    let mut chains = chains.chain(&listener.default_filter_chain);
    let http = chains.clone().find_map(|chain| match &chain.action {
        ChainAction::Http(manager) => Some((&**manager, false)),
        _ => None,
    });
    http.or_else(|| {
        chains.find_map(|chain| match &chain.action {
            ChainAction::Tcp(manager) if is_meant(listener, manager, host, ip) => {
                Some((&**manager, true))
            }
            _ => None,
        })
    })
}

/// Whether bytes for a host are passed on to its own clusters. By address everybody's are: so a
/// connection would go. By name, those of a service are for it alone, and those of which nothing is
/// known are for all where the listener is.
fn is_meant(
    listener: &ServerListener,
    manager: &HttpConnectionManager,
    host: &str,
    ip: Option<IpAddr>,
) -> bool {
    if ip.is_some() {
        return true;
    }
    let mut services = clusters(manager).filter_map(service).peekable();
    match services.peek() {
        Some(_) => services.any(|service| is_of(service, host)),
        None => is_for_all(listener),
    }
}

fn is_named(manager: &HttpConnectionManager, host: &str) -> bool {
    clusters(manager).filter_map(service).any(|service| is_of(service, host))
}

/// The host in Istio's name of a cluster, `outbound|PORT|SUBSET|HOST`.
fn service(cluster: &Name) -> Option<&str> {
    cluster.strip_prefix("outbound|")?.splitn(3, '|').nth(2)
}

/// The clusters of a TCP proxy, whose only route is known.
fn clusters(manager: &HttpConnectionManager) -> impl Iterator<Item = &Name> {
    let routes = match &manager.routes {
        RouteSpecifier::Inline(routes) => Some(routes),
        RouteSpecifier::Rds(_) => None,
    };
    let hosts = routes.into_iter().flat_map(|routes| &routes.virtual_hosts);
    let actions = hosts.flat_map(|host| &host.routes).map(|route| &route.action);
    actions.flat_map(|action| {
        let specifier = match action {
            Action::Forward(forward) => Some(&forward.cluster),
            _ => None,
        };
        let (one, several) = match specifier {
            Some(ClusterSpecifier::Cluster(name)) => (Some(name), None),
            Some(ClusterSpecifier::Weighted(list)) => (None, Some(&list.clusters)),
            _ => (None, None),
        };
        one.into_iter().chain(several.into_iter().flatten().map(|part| &part.name))
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

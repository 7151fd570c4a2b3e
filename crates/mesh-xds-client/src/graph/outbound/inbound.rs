//! Which of a sidecar's inbound filter chains are a server's.
//!
//! A sidecar takes connections to all ports of its workload by one listener, whose chains match the
//! port that was connected to, and hands requests on to clusters named `inbound|PORT||`. Here the
//! server itself takes the connections to its port, and is where those clusters lead.

use std::net::SocketAddr;
use std::sync::Arc;

use mesh_core::resource::{
    Action, ChainAction, ClusterSpecifier, FilterChain, HttpConnectionManager, Name,
    RouteConfiguration, RouteSpecifier, ServerListener, TrafficDirection,
};

/// What comes before the address in the name that a server's chains go by.
const PREFIX: &str = "virtualInbound|";

/// The name for a server at that address.
pub(crate) fn name(address: SocketAddr) -> Name {
    format!("{PREFIX}{address}").into()
}

/// The address of the server that a name is for.
pub(super) fn address(name: &str) -> Option<SocketAddr> {
    name.strip_prefix(PREFIX)?.parse().ok()
}

/// The listener that connections to `local` come in by: one of that port, else the one for all.
pub(super) fn choose<'l>(
    listeners: impl Iterator<Item = &'l Arc<ServerListener>>,
    local: SocketAddr,
) -> Option<&'l Arc<ServerListener>> {
    let inbound = listeners.filter(|it| it.traffic_direction == TrafficDirection::Inbound);
    let fitting = inbound.filter(|listener| listener.chains().any(|chain| names(chain, local)));
    fitting.max_by_key(|listener| listener.address.port() == local.port())
}

/// Whether a chain is for that port by name. One for all ports is for those that nothing is known of.
fn names(chain: &FilterChain, local: SocketAddr) -> bool {
    chain.matches.destination_port == Some(local.port())
}

/// What of the listener concerns a server at `local`, as a listener of its own.
pub(super) fn made(listener: &ServerListener, name: &Name, local: SocketAddr) -> ServerListener {
    let mut made = ServerListener::new(name.clone(), local);
    made.traffic_direction = TrafficDirection::Inbound;
    let chains = listener.filter_chains.iter().filter(|chain| names(chain, local)).cloned();
    made.filter_chains = chains.collect();
    made.filter_chains.iter_mut().for_each(serve);
    made.findings.clone_from(&listener.findings);
    made
}

/// Leaves to the server what would be handed on to it.
fn serve(chain: &mut FilterChain) {
    let ChainAction::Http(manager) = &mut chain.action else { return };
    let manager: &mut HttpConnectionManager = manager;
    let RouteSpecifier::Inline(routes) = &mut manager.routes else { return };
    let routes: &mut RouteConfiguration = Arc::make_mut(routes);
    for route in routes.virtual_hosts.iter_mut().flat_map(|host| &mut host.routes) {
        if let Action::Forward(forward) = &route.action
            && let ClusterSpecifier::Cluster(cluster) = &forward.cluster
            && cluster.starts_with("inbound|")
            // What more is asked of requests, those that serve do on the way to that cluster.
            && forward.rate_limits.is_none()
            && forward.path_rewrite.is_none()
            && forward.host_rewrite.is_none()
        {
            route.action = Action::NonForwarding;
        }
    }
}

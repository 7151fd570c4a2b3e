//! What a sidecar is sent, which asks for all there is and not by the name of a target: listeners
//! by port, named `0.0.0.0_PORT`, their routes named `PORT`, and the clusters that lead elsewhere.
//! Names and contents are those of istiod.
//!
//! A node of which nobody redirects the connections (metadata `INTERCEPTION_MODE` of `NONE`) is
//! sent listeners that are bound, at `127.0.0.1`; any other those that a redirected connection is
//! handed to, and the one at 15001 that does so; and `virtualInbound` at 15006, with a filter chain for
//! each port on which the node's address is an endpoint of some service.

mod clusters;
mod inbound;
mod listener;
mod routes;

pub(super) use clusters::cluster;
pub(super) use listener::listener;
pub(super) use routes::route_configuration;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::ResourceType;
use super::name::all;
use crate::model::{AppProtocol, Model, Service};
use crate::node::Node;

/// Every name of a type that a sidecar's wildcard stands for.
pub(super) fn names(model: &Model, node: &Node, kind: ResourceType) -> Vec<String> {
    let ports = |http| ports(model, node).filter(move |port| port.is_http() == http);
    match kind {
        ResourceType::Listener => {
            let address = address(node);
            let mut names: BTreeSet<String> =
                ports(true).map(|port| listener_name(address, port.number)).collect();
            names.extend(
                ports(false).map(|port| {
                    listener_name(port.own_address(node).unwrap_or(address), port.number)
                }),
            );
            if !node.bound {
                names.insert(VIRTUAL_OUTBOUND.to_owned());
                names.extend(inbound::has_any(model, node).then(|| inbound::NAME.to_owned()));
            }
            names.into_iter().collect()
        }
        ResourceType::RouteConfiguration => {
            let numbers: BTreeSet<u16> = ports(true).map(|port| port.number).collect();
            numbers.into_iter().map(|number| number.to_string()).collect()
        }
        ResourceType::Cluster => {
            let mut names = all(model, node, kind);
            names.extend([BLACK_HOLE, PASSTHROUGH].map(str::to_owned));
            names.extend(inbound::clusters(model, node));
            names
        }
        ResourceType::ClusterLoadAssignment | ResourceType::Secret => all(model, node, kind),
    }
}

/// One port of a service.
struct Port<'a> {
    service: &'a Arc<Service>,
    number: u16,
    protocol: AppProtocol,
}

impl Port<'_> {
    fn is_http(&self) -> bool {
        self.protocol != AppProtocol::Tcp
    }

    /// The service's address, where a sidecar can listen for it: connections that are redirected
    /// keep the address they were meant for.
    fn own_address(&self, node: &Node) -> Option<IpAddr> {
        if node.bound {
            return None;
        }
        self.service.addresses.iter().find_map(|address| address.parse().ok())
    }
}

/// All that a node can reach, in the order of services.
fn ports<'a>(model: &'a Model, node: &Node) -> impl Iterator<Item = Port<'a>> {
    let services = model.registry().services();
    let visible = services.filter(|service| service.visible(&node.namespace));
    visible.flat_map(|service| {
        service.ports.iter().map(move |port| Port {
            service,
            number: port.number,
            protocol: port.protocol,
        })
    })
}

/// Where a node's listeners are that are for all addresses.
fn address(node: &Node) -> IpAddr {
    if node.bound { Ipv4Addr::LOCALHOST.into() } else { Ipv4Addr::UNSPECIFIED.into() }
}

fn listener_name(address: IpAddr, port: u16) -> String {
    format!("{address}_{port}")
}

/// Of the listener that redirected connections come in by.
const VIRTUAL_OUTBOUND: &str = "virtualOutbound";
/// Of the cluster that leads to where a connection was meant to go.
const PASSTHROUGH: &str = "PassthroughCluster";
/// Of the cluster that leads nowhere.
const BLACK_HOLE: &str = "BlackHoleCluster";

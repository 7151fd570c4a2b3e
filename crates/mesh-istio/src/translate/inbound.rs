//! LDS: the listener of a server, which leaves every request to its application.
//!
//! Rules that would guard it (PeerAuthentication, AuthorizationPolicy) are not translated yet, and
//! reading them says so.

use std::net::SocketAddr;

use mesh_pb::envoy::config::core::v3::socket_address::PortSpecifier;
use mesh_pb::envoy::config::core::v3::{Address, SocketAddress, TrafficDirection, address};
use mesh_pb::envoy::config::listener::v3::{Filter, FilterChain, Listener, filter};
use mesh_pb::envoy::config::route::v3::route::Action;
use mesh_pb::envoy::config::route::v3::route_match::PathSpecifier;
use mesh_pb::envoy::config::route::v3::{
    NonForwardingAction, Route, RouteConfiguration, RouteMatch, VirtualHost,
};
use mesh_pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use mesh_pb::type_url;

use super::{any, listener};
use crate::node::Mode;

/// What comes before the address in the names that Istio's bootstraps make.
const PREFIX: &str = "xds.istio.io/grpc/lds/inbound/";

/// The listener of that name; none when it is no server's.
pub(super) fn listener(name: &str) -> Option<Listener> {
    let local: SocketAddr = name.strip_prefix(PREFIX)?.parse().ok()?;
    let socket = SocketAddress {
        address: local.ip().to_string(),
        port_specifier: Some(PortSpecifier::PortValue(local.port().into())),
        ..Default::default()
    };
    let mut manager = listener::manager(NAME.to_owned(), String::new(), Mode::Grpc);
    // Faults are for clients to make; the last one is the router.
    manager.http_filters = manager.http_filters.pop().into_iter().collect();
    manager.route_specifier =
        Some(hcm::http_connection_manager::RouteSpecifier::RouteConfig(routes()));
    let filter = Filter {
        name: NAME.to_owned(),
        config_type: Some(filter::ConfigType::TypedConfig(any(
            type_url::HTTP_CONNECTION_MANAGER,
            &manager,
        ))),
    };
    Some(Listener {
        name: name.to_owned(),
        address: Some(Address { address: Some(address::Address::SocketAddress(socket)) }),
        filter_chains: vec![FilterChain {
            name: NAME.to_owned(),
            filters: vec![filter],
            ..Default::default()
        }],
        traffic_direction: TrafficDirection::Inbound.into(),
        ..Default::default()
    })
}

/// Istio's name of a chain without TLS.
const NAME: &str = "inbound-plaintext";

fn routes() -> RouteConfiguration {
    let route = Route {
        r#match: Some(RouteMatch {
            path_specifier: Some(PathSpecifier::Prefix(String::new())),
            ..Default::default()
        }),
        action: Some(Action::NonForwardingAction(NonForwardingAction {})),
        ..Default::default()
    };
    let host = VirtualHost {
        name: "inbound".to_owned(),
        domains: vec!["*".to_owned()],
        routes: vec![route],
        ..Default::default()
    };
    RouteConfiguration {
        name: "inbound".to_owned(),
        virtual_hosts: vec![host],
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_is_known_by_its_address_and_nothing_else() {
        let made = listener(&format!("{PREFIX}10.0.0.1:9080")).unwrap();
        assert_eq!(made.filter_chains.len(), 1);
        for other in ["reviews:9080", "10.0.0.1:9080", &format!("{PREFIX}reviews:9080"), PREFIX] {
            assert!(listener(other).is_none(), "{other}");
        }
        assert!(listener(&format!("{PREFIX}[::1]:80")).is_some());
    }
}

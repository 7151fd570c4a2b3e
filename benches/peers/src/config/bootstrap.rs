use std::net::{Ipv4Addr, SocketAddr};

use mesh_pb::envoy::config::bootstrap::v3::bootstrap::StaticResources;
use mesh_pb::envoy::config::bootstrap::v3::{Admin, Bootstrap};
use mesh_pb::envoy::config::listener::v3::filter::ConfigType;
use mesh_pb::envoy::config::listener::v3::{Filter, FilterChain, Listener};
use mesh_pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;

use hcm::http_connection_manager::RouteSpecifier;

use super::cluster::address;
use super::{Addresses, CLUSTERS, Shape, fixed_cluster, manager, routes};

/// One table that Envoy serves.
#[derive(Clone, Debug)]
pub(crate) struct Served {
    /// The name of its listener.
    pub(crate) listener: String,
    /// The table.
    pub(crate) shape: Shape,
}

/// Envoy's configuration: a listener for each table, all to the same clusters, which speak HTTP/2 or
/// HTTP/1.1.
pub(crate) fn bootstrap(tables: &[Served], upstreams: &[SocketAddr], is_http2: bool) -> Bootstrap {
    let any_port = || Some(address(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))));
    let listener = |served: &Served| {
        let routes = RouteSpecifier::RouteConfig(routes(served.shape));
        let manager = manager(routes);
        let filter = Filter {
            name: "envoy.filters.network.http_connection_manager".to_owned(),
            config_type: Some(ConfigType::TypedConfig(manager)),
        };
        Listener {
            name: served.listener.clone(),
            address: any_port(),
            filter_chains: vec![FilterChain { filters: vec![filter], ..Default::default() }],
            ..Default::default()
        }
    };
    let given = Addresses::Given(upstreams);
    let clusters = CLUSTERS.map(|(name, _)| fixed_cluster(name, given, is_http2));
    let resources = StaticResources {
        listeners: tables.iter().map(listener).collect(),
        clusters: clusters.into(),
        ..Default::default()
    };
    Bootstrap {
        admin: Some(Admin { address: any_port(), ..Default::default() }),
        static_resources: Some(resources),
        ..Default::default()
    }
}

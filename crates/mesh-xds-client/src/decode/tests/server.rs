//! Listeners with an address (gRFC A36).

use mesh_core::ResourceType::Listener;
use mesh_core::resource::{
    Action, ChainAction, CidrRange, ClusterSpecifier as Clusters, RouteSpecifier, ServerListener,
    SourceType, TrafficDirection,
};
use mesh_pb::envoy::config::core::v3 as core;
use mesh_pb::envoy::config::listener::v3 as pb;
use mesh_pb::envoy::extensions::filters::listener::proxy_protocol::v3::ProxyProtocol;
use mesh_pb::envoy::extensions::filters::listener::tls_inspector::v3::TlsInspector;
use mesh_pb::envoy::extensions::filters::network::tcp_proxy::v3::TcpProxy;
use mesh_pb::envoy::extensions::filters::network::tcp_proxy::v3::tcp_proxy::ClusterSpecifier;
use mesh_pb::google::protobuf::{Any, BoolValue};

use super::super::Value;
use super::listener::good as manager;
use super::{decode, findings, number, refused, unknown};
use crate::sample::any;

pub(super) fn filter(name: &str, config: Any) -> pb::Filter {
    let config_type = Some(pb::filter::ConfigType::TypedConfig(config));
    pb::Filter { name: name.to_owned(), config_type }
}

fn chain() -> pb::FilterChain {
    pb::FilterChain { filters: vec![filter("hcm", any(&manager()))], ..Default::default() }
}

/// What istiod tells a gRPC server in mode DISABLE or PERMISSIVE.
pub(super) fn good() -> pb::Listener {
    let socket = core::SocketAddress {
        address: "0.0.0.0".to_owned(),
        port_specifier: Some(core::socket_address::PortSpecifier::PortValue(8080)),
        ..Default::default()
    };
    let address = core::address::Address::SocketAddress(socket);
    pb::Listener {
        name: "x".to_owned(),
        address: Some(core::Address { address: Some(address) }),
        filter_chains: vec![chain()],
        ..Default::default()
    }
}

pub(super) fn made(proto: &pb::Listener) -> ServerListener {
    let Value::ServerListener(made) = decode(Listener, proto).unwrap() else {
        panic!("no server's listener")
    };
    (*made).clone()
}

#[track_caller]
pub(super) fn refuses(change: impl FnOnce(&mut pb::Listener), field: &str, text: &str) {
    let mut proto = good();
    change(&mut proto);
    refused(Listener, &proto, field, text);
}

#[track_caller]
pub(super) fn fails_grpc_alone(change: impl FnOnce(&mut pb::Listener)) -> ServerListener {
    let mut proto = good();
    change(&mut proto);
    let found = made(&proto);
    assert!(found.refused_by_grpc.is_some());
    found
}

#[test]
fn address_and_chain_with_routes() {
    let found = made(&good());
    assert_eq!(found.address, "0.0.0.0:8080".parse().unwrap());
    assert_eq!(found.refused_by_grpc, None);
    assert!(found.bind_to_port && found.default_filter_chain.is_none());
    let ChainAction::Http(manager) = &found.filter_chains[0].action else { panic!("no HTTP") };
    assert!(matches!(&manager.routes, RouteSpecifier::Rds(name) if &**name == "routes"));
    assert!(found.filter_chains[0].tls.is_none());
    let alone = pb::Listener {
        filter_chains: vec![],
        default_filter_chain: Some(chain()),
        traffic_direction: core::TrafficDirection::Outbound as i32,
        bind_to_port: Some(BoolValue { value: false }),
        ..good()
    };
    let found = made(&alone);
    assert!(found.default_filter_chain.is_some() && !found.bind_to_port);
    assert_eq!(found.traffic_direction, TrafficDirection::Outbound);
}

#[test]
fn address_that_is_not_one() {
    refuses(|l| l.address = Some(Default::default()), "address", "is missing");
    let pipe = core::address::Address::Pipe(Default::default());
    let pipe = Some(core::Address { address: Some(pipe) });
    refuses(|l| l.address = pipe, "address", "must be a socket_address");
    let with_port = |port| {
        let socket = core::SocketAddress {
            address: "::1".to_owned(),
            port_specifier: Some(core::socket_address::PortSpecifier::PortValue(port)),
            ..Default::default()
        };
        let address = core::address::Address::SocketAddress(socket);
        move |l: &mut pb::Listener| l.address = Some(core::Address { address: Some(address) })
    };
    refuses(with_port(65_536), "address.socket_address.port_value", "is not a port");
}

#[test]
fn chains_that_are_refused() {
    refuses(|l| l.filter_chains.clear(), "filter_chains", "is empty, and there is no default");
    refuses(
        |l| l.filter_chains[0].filters.clear(),
        "filter_chains[0].filters",
        "no connection manager",
    );
    let twice = |l: &mut pb::Listener| {
        l.filter_chains[0].filters.push(filter("again", any(&manager())));
    };
    refuses(twice, "filter_chains[0].filters[0].typed_config", "must be the last");
    let foreign = |l: &mut pb::Listener| {
        l.filter_chains[0].filters.insert(0, filter("f", unknown()));
    };
    refuses(foreign, "filter_chains[0].filters[0].typed_config", "is not supported");
    refuses(
        |l| l.filter_chains[0].filters[0].config_type = None,
        "filter_chains[0].filters[0].typed_config",
        "is missing",
    );
    refuses(
        |l| l.default_filter_chain = Some(Default::default()),
        "default_filter_chain.filters",
        "no connection manager",
    );
    let mut without_routes = manager();
    without_routes.route_specifier = None;
    refuses(
        |l| l.filter_chains[0].filters = vec![filter("hcm", any(&without_routes))],
        "filter_chains[0].filters[0].typed_config",
        "no route specifier",
    );
}

#[test]
fn chain_with_filters_that_envoy_knows_closes_connections() {
    let redis = Any {
        type_url: "type.googleapis.com/envoy.extensions.filters.network.redis_proxy.v3.RedisProxy"
            .to_owned(),
        value: Vec::new(),
    };
    let redis = filter("redis", redis);
    let found = fails_grpc_alone(|l| l.filter_chains[0].filters = vec![redis.clone()]);
    let ChainAction::Close(name) = &found.filter_chains[0].action else { panic!("not closed") };
    assert_eq!(&**name, "redis");
    let guarded = fails_grpc_alone(|l| l.filter_chains[0].filters.insert(0, redis));
    assert!(matches!(guarded.filter_chains[0].action, ChainAction::Close(_)));
}

#[test]
fn chain_with_a_tcp_proxy_passes_bytes_on() {
    let proxy = |change: fn(&mut TcpProxy)| {
        let mut made = TcpProxy {
            cluster_specifier: Some(ClusterSpecifier::Cluster("db".to_owned())),
            max_connect_attempts: number(3),
            ..Default::default()
        };
        change(&mut made);
        vec![filter("tcp", any(&made))]
    };
    let found = fails_grpc_alone(|l| l.filter_chains[0].filters = proxy(|_| ()));
    let ChainAction::Tcp(manager) = &found.filter_chains[0].action else { panic!("no TCP") };
    let hour = Some(std::time::Duration::from_secs(3600));
    assert_eq!((manager.clients.idle_timeout, manager.stream_idle_timeout), (hour, hour));
    assert_eq!(found.refused_by_grpc, Some("it has a TCP proxy"));
    let RouteSpecifier::Inline(routes) = &manager.routes else { panic!("no routes") };
    let Action::Forward(forward) = &routes.virtual_hosts[0].routes[0].action else { panic!() };
    assert!(matches!(&forward.cluster, Clusters::Cluster(name) if &**name == "db"));
    assert_eq!(forward.retry_policy.as_ref().unwrap().num_retries, 2);
    let none = Some(std::time::Duration::ZERO);
    assert_eq!(forward.idle_timeout, none, "making a connection is not idleness");
    let endless: fn(&mut TcpProxy) = |p| p.idle_timeout = Some(Default::default());
    let found = fails_grpc_alone(|l| l.filter_chains[0].filters = proxy(endless));
    let ChainAction::Tcp(manager) = &found.filter_chains[0].action else { panic!("no TCP") };
    assert_eq!((manager.clients.idle_timeout, manager.stream_idle_timeout), (none, none));
    let field = "filter_chains[0].filters[0].typed_config";
    let refused = |change, at: &str, text| {
        refuses(|l| l.filter_chains[0].filters = proxy(change), &format!("{field}{at}"), text);
    };
    refused(|p| p.cluster_specifier = None, ".cluster_specifier", "is missing");
    refused(|p| p.max_connect_attempts = number(0), ".max_connect_attempts", "at least 1");
    let empty = |p: &mut TcpProxy| {
        p.cluster_specifier = Some(ClusterSpecifier::WeightedClusters(Default::default()));
    };
    refused(empty, ".weighted_clusters.clusters", "is empty");
}

#[test]
fn listener_filters_that_look_and_change_nothing() {
    let with = |config: Any| {
        move |l: &mut pb::Listener| {
            l.listener_filters = vec![pb::ListenerFilter {
                name: "f".to_owned(),
                config_type: Some(pb::listener_filter::ConfigType::TypedConfig(config)),
                ..Default::default()
            }];
        }
    };
    fails_grpc_alone(with(any(&TlsInspector::default())));
    refuses(with(any(&ProxyProtocol::default())), "listener_filters[0]", "is not supported");
    refuses(with(unknown()), "listener_filters[0]", "is not supported");
}

#[test]
fn original_destination_fails_grpc_alone_and_is_reported() {
    let found = fails_grpc_alone(|l| l.use_original_dst = Some(BoolValue { value: true }));
    assert_eq!(found.findings[0].field, "use_original_dst");
}

#[test]
fn what_decides_about_connections_and_is_not_supported_is_refused() {
    refuses(|l| l.fcds_config = Some(Default::default()), "fcds_config", "is not supported");
    let matcher = Some(Default::default());
    refuses(|l| l.filter_chain_matcher = matcher, "filter_chain_matcher", "is not supported");
    let udp = Some(Default::default());
    refuses(|l| l.udp_listener_config = udp, "udp_listener_config", "is not supported");
    #[allow(deprecated, reason = "that is what is tested")]
    let proxied = |l: &mut pb::Listener| {
        l.filter_chains[0].use_proxy_proto = Some(BoolValue { value: true });
    };
    refuses(proxied, "filter_chains[0].use_proxy_proto", "is not supported");
}

fn matched(change: impl FnOnce(&mut pb::FilterChainMatch)) -> pb::FilterChain {
    let mut found = pb::FilterChainMatch::default();
    change(&mut found);
    pb::FilterChain { filter_chain_match: Some(found), ..chain() }
}

fn range(address: &str, bits: u32) -> core::CidrRange {
    core::CidrRange { address_prefix: address.to_owned(), prefix_len: number(bits) }
}

#[test]
fn conditions_of_a_chain() {
    let chain = matched(|m| {
        m.destination_port = number(80);
        m.prefix_ranges = vec![range("10.1.2.3", 8)];
        m.source_type = 1;
        m.source_prefix_ranges = vec![range("::1", 128)];
        m.direct_source_prefix_ranges = vec![range("10.0.0.0", 8)];
        m.source_ports = vec![1, 2];
        m.server_names = vec!["A.example".to_owned(), "*.b".to_owned()];
        m.transport_protocol = "tls".to_owned();
        m.application_protocols = vec!["h2".to_owned()];
    });
    let found = made(&pb::Listener { filter_chains: vec![chain], ..good() });
    let matches = &found.filter_chains[0].matches;
    assert_eq!(matches.destination_port, Some(80));
    assert_eq!(matches.prefix_ranges, [CidrRange::new("10.0.0.0".parse().unwrap(), 8)]);
    assert_eq!(matches.source_type, SourceType::SameIpOrLoopback);
    assert_eq!(matches.source_ports, [1, 2]);
    let names: Vec<&str> = matches.server_names.iter().map(|name| &**name).collect();
    assert_eq!(names, ["a.example", "*.b"]);
    assert_eq!(matches.transport_protocol.as_deref(), Some("tls"));
    assert_eq!(matches.application_protocols.len(), 1);
}

#[test]
fn conditions_that_are_refused() {
    let refuses = |change: fn(&mut pb::FilterChainMatch), field: &str, text: &str| {
        let field = format!("filter_chains[0].filter_chain_match.{field}");
        refuses(|l| l.filter_chains = vec![matched(change)], &field, text);
    };
    refuses(|m| m.destination_port = number(0), "destination_port", "is not a port");
    refuses(|m| m.source_ports = vec![70_000], "source_ports[0]", "is not a port");
    let at = "prefix_ranges[0].address_prefix";
    refuses(|m| m.prefix_ranges = vec![range("x", 8)], at, "not an IP address");
    let at = "source_prefix_ranges[0].prefix_len";
    refuses(|m| m.source_prefix_ranges = vec![range("::1", 129)], at, "is above 128");
    refuses(|m| m.source_type = 7, "source_type", "unknown value");
    refuses(|m| m.server_names = vec!["a*".to_owned()], "server_names[0]", "wildcard");
    refuses(|m| m.server_names = vec![String::new()], "server_names[0]", "is empty");
}

#[test]
fn two_chains_for_the_same_connections_are_refused() {
    const FIELD: &str = "filter_chains[1].filter_chain_match";
    let refuses = |a: pb::FilterChain, b: pb::FilterChain| {
        refuses(|l| l.filter_chains = vec![a, b], FIELD, "repeats that of another chain");
    };
    refuses(chain(), chain());
    refuses(chain(), matched(|_| {}));
    // Compared as they are understood, not as they are written.
    refuses(
        matched(|m| m.prefix_ranges = vec![range("10.1.2.3", 8), range("11.0.0.0", 8)]),
        matched(|m| m.prefix_ranges = vec![range("10.9.9.9", 8)]),
    );
    refuses(
        matched(|m| m.server_names = vec!["A".to_owned()]),
        matched(|m| m.server_names = vec!["a".to_owned(), "b".to_owned()]),
    );
    refuses(matched(|m| m.source_ports = vec![1, 2]), matched(|m| m.source_ports = vec![3, 2]));
    let apart = vec![
        chain(),
        matched(|m| m.source_type = 1),
        matched(|m| m.source_type = 2),
        matched(|m| m.prefix_ranges = vec![range("10.0.0.0", 8), range("10.0.0.0", 8)]),
        matched(|m| m.prefix_ranges = vec![range("10.0.0.0", 9)]),
        matched(|m| m.transport_protocol = "tls".to_owned()),
        matched(|m| m.application_protocols = vec!["h2".to_owned()]),
        matched(|m| m.destination_port = number(1)),
    ];
    assert_eq!(made(&pb::Listener { filter_chains: apart, ..good() }).filter_chains.len(), 8);
}

/// Four lists of 100 would be 100,000,000 conditions.
#[test]
fn conditions_that_multiply_are_bounded() {
    let chain = matched(|m| {
        m.source_ports = (1..=100).collect();
        m.server_names = (0..100).map(|i| i.to_string()).collect();
        m.application_protocols = (0..100).map(|i| i.to_string()).collect();
        m.prefix_ranges = (0..100).map(|i| range(&format!("10.0.0.{i}"), 32)).collect();
    });
    refuses(|l| l.filter_chains = vec![chain], "filter_chains", "over 65536");
}

#[test]
fn times_of_clients_are_the_servers_to_keep() {
    let seconds = |seconds| Some(mesh_pb::google::protobuf::Duration { seconds, nanos: 0 });
    let mut told = manager();
    (told.request_timeout, told.request_headers_timeout) = (seconds(1), seconds(0));
    told.common_http_protocol_options = Some(core::HttpProtocolOptions {
        idle_timeout: seconds(3),
        max_connection_duration: seconds(4),
        ..Default::default()
    });
    let mut proto = good();
    proto.filter_chains[0].filters = vec![filter("hcm", any(&told))];
    let Value::ServerListener(found) = findings(Listener, &proto, &[]) else { unreachable!() };
    let ChainAction::Http(manager) = &found.filter_chains[0].action else { unreachable!() };
    let whole = |seconds| Some(std::time::Duration::from_secs(seconds));
    let clients = manager.clients;
    assert_eq!((clients.request_timeout, clients.request_headers_timeout), (whole(1), whole(0)));
    assert_eq!((clients.idle_timeout, clients.max_connection_duration), (whole(3), whole(4)));
}

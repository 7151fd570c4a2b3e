//! How connections are used, and whose names are looked up.

use mesh_pb::envoy::config::core::v3::{address, socket_address::PortSpecifier};
use mesh_pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use mesh_pb::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;

use super::clusters::destination_rule;
use super::*;

fn protocol_options(cluster: &mesh_pb::envoy::config::cluster::v3::Cluster) -> HttpProtocolOptions {
    let any = cluster.typed_extension_protocol_options.values().next().unwrap();
    prost::Message::decode(&*any.value).unwrap()
}

#[test]
fn connection_pools_say_how_connections_are_used() {
    use mesh_pb::envoy::extensions::upstreams::http::v3::http_protocol_options as options;
    use options::UpstreamProtocolOptions as Version;
    use options::explicit_http_config::ProtocolConfig;
    let of = |pool: &str, mode: Mode| {
        let spec = format!("{{host: reviews, trafficPolicy: {{connectionPool: {pool}}}}}");
        let rule = destination_rule("default", &spec).replace("name: more", "name: aaa");
        model(&rule).cluster(&here().with_mode(mode), REVIEWS).unwrap()
    };
    let pool = "{tcp: {tcpKeepalive: {probes: 3, time: 7s, interval: 1500ms}, \
                maxConnectionDuration: 1h}, http: {maxRequestsPerConnection: 1, idleTimeout: 90s}}";
    for mode in [Mode::Native, Mode::Envoy] {
        let made = of(pool, mode);
        let probes = made.upstream_connection_options.unwrap().tcp_keepalive.unwrap();
        let seen = [probes.keepalive_probes, probes.keepalive_time, probes.keepalive_interval];
        assert_eq!(seen.map(|value| value.unwrap().value), [3, 7, 2]);
        let options = protocol_options(&made);
        let common = options.common_http_protocol_options.unwrap();
        assert_eq!(common.max_requests_per_connection.unwrap().value, 1);
        assert_eq!(common.idle_timeout.unwrap().seconds, 90);
        assert_eq!(common.max_connection_duration.unwrap().seconds, 3600);
        let Version::ExplicitHttpConfig(one) = options.upstream_protocol_options.unwrap() else {
            panic!()
        };
        assert!(matches!(one.protocol_config, Some(ProtocolConfig::HttpProtocolOptions(_))));
    }
    let grpc = of(pool, Mode::Grpc);
    assert!(grpc.typed_extension_protocol_options.is_empty());
    assert!(grpc.upstream_connection_options.is_none());

    let pool = "{http: {h2UpgradePolicy: UPGRADE, maxConcurrentStreams: 5, \
                http2KeepAlive: {interval: 10s}}}";
    let options = protocol_options(&of(pool, Mode::Native));
    assert!(options.common_http_protocol_options.is_none());
    let Some(Version::ExplicitHttpConfig(two)) = options.upstream_protocol_options else {
        panic!()
    };
    let Some(ProtocolConfig::Http2ProtocolOptions(two)) = two.protocol_config else { panic!() };
    assert_eq!(two.max_concurrent_streams.unwrap().value, 5);
    let pings = two.connection_keepalive.unwrap();
    assert_eq!((pings.interval.unwrap().seconds, pings.timeout.unwrap().seconds), (10, 20));

    let options = protocol_options(&of("{http: {useClientProtocol: true}}", Mode::Native));
    let version = options.upstream_protocol_options.unwrap();
    assert!(matches!(version, Version::UseDownstreamProtocolConfig(_)));
    for pool in ["{http: {h2UpgradePolicy: DO_NOT_UPGRADE}}", "{tcp: {idleTimeout: 3s}}"] {
        assert!(of(pool, Mode::Native).typed_extension_protocol_options.is_empty(), "{pool}");
    }
}

#[test]
fn names_are_looked_up_by_clients() {
    use mesh_pb::envoy::config::cluster::v3::cluster::{
        ClusterDiscoveryType, DiscoveryType, DnsLookupFamily,
    };
    let entry = |host: &str, resolution: &str, endpoints: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: {host}}}\n\
             spec: {{hosts: [{host}], resolution: {resolution}, ports: [{{number: 80, name: http, \
             targetPort: 8080}}], endpoints: [{endpoints}]}}\n---\n"
        )
    };
    let model = model(
        &[
            entry("alone.test", "DNS", ""),
            entry(
                "two.test",
                "DNS",
                "{address: A.test, weight: 3}, {address: b.test, ports: {http: 1}}",
            ),
            entry("one.test", "DNS_ROUND_ROBIN", "{address: c.test}"),
            entry("numbers.test", "DNS", "{address: 127.0.0.9}"),
        ]
        .concat(),
    );
    let kind = |host: &str, mode: Mode| {
        let (name, node) = (format!("outbound|80||{host}"), here().with_mode(mode));
        let made = model.cluster(&node, &name).unwrap();
        let Some(ClusterDiscoveryType::Type(kind)) = made.cluster_discovery_type else { panic!() };
        let kind = DiscoveryType::try_from(kind).unwrap();
        let is_eds = kind == DiscoveryType::Eds;
        assert_eq!(model.load_assignment(&node, &name).is_some(), is_eds);
        assert_eq!(made.load_assignment.is_some(), !is_eds);
        let listed = model.names(&node, ResourceType::ClusterLoadAssignment).contains(&name);
        assert_eq!(listed, is_eds);
        if !is_eds {
            assert_eq!(made.dns_lookup_family(), DnsLookupFamily::V4Preferred);
        }
        let found = made.load_assignment.into_iter().flat_map(|it| it.endpoints);
        let found = found.flat_map(|group| group.lb_endpoints).map(|endpoint| {
            let Some(HostIdentifier::Endpoint(host)) = endpoint.host_identifier else { panic!() };
            let Some(address::Address::SocketAddress(socket)) = host.address.unwrap().address
            else {
                panic!()
            };
            let Some(PortSpecifier::PortValue(port)) = socket.port_specifier else { panic!() };
            format!("{}:{port}*{}", socket.address, endpoint.load_balancing_weight.unwrap().value)
        });
        (kind, found.collect::<Vec<_>>())
    };
    let of = |kind, hosts: &[&str]| (kind, hosts.iter().map(|host| (*host).to_owned()).collect());
    for mode in [Mode::Native, Mode::Envoy] {
        let strict = DiscoveryType::StrictDns;
        assert_eq!(kind("alone.test", mode), of(strict, &["alone.test:8080*1"]));
        assert_eq!(kind("two.test", mode), of(strict, &["a.test:8080*3", "b.test:1*1"]));
        assert_eq!(kind("one.test", mode), of(DiscoveryType::LogicalDns, &["c.test:8080*1"]));
        assert_eq!(kind("numbers.test", mode), of(DiscoveryType::Eds, &[]));
    }
    let logical = DiscoveryType::LogicalDns;
    assert_eq!(kind("alone.test", Mode::Grpc), of(logical, &["alone.test:8080*1"]));
    assert_eq!(kind("one.test", Mode::Grpc), of(logical, &["c.test:8080*1"]));
    assert_eq!(kind("two.test", Mode::Grpc), of(DiscoveryType::Eds, &[]));
}

use mesh_core::ResourceType::ClusterLoadAssignment;
use mesh_core::resource::{self as core, HealthStatus};
use mesh_pb::envoy::config::core::v3 as proto_core;
use mesh_pb::envoy::config::core::v3::address::Address;
use mesh_pb::envoy::config::core::v3::socket_address::PortSpecifier;
use mesh_pb::envoy::config::endpoint::v3 as pb;
use mesh_pb::envoy::config::endpoint::v3::cluster_load_assignment::{Policy, policy};
use mesh_pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use mesh_pb::envoy::r#type::v3::FractionalPercent;
use mesh_pb::google::protobuf::value::Kind;
use mesh_pb::google::protobuf::{Duration, Struct, Value as ProtoValue};

use super::super::Value;
use super::{decode, findings, number, refused};

fn socket(address: &str, port: u32) -> proto_core::SocketAddress {
    proto_core::SocketAddress {
        address: address.to_owned(),
        port_specifier: Some(PortSpecifier::PortValue(port)),
        ..proto_core::SocketAddress::default()
    }
}

fn at_address(address: Address) -> pb::LbEndpoint {
    let address = Some(proto_core::Address { address: Some(address) });
    pb::LbEndpoint {
        host_identifier: Some(HostIdentifier::Endpoint(pb::Endpoint {
            address,
            ..pb::Endpoint::default()
        })),
        ..pb::LbEndpoint::default()
    }
}

fn endpoint(port: u32) -> pb::LbEndpoint {
    at_address(Address::SocketAddress(socket("10.0.0.1", port)))
}

fn locality(
    region: &str,
    priority: u32,
    endpoints: Vec<pb::LbEndpoint>,
) -> pb::LocalityLbEndpoints {
    pb::LocalityLbEndpoints {
        locality: Some(proto_core::Locality { region: region.to_owned(), ..Default::default() }),
        priority,
        lb_endpoints: endpoints,
        load_balancing_weight: number(1),
        ..pb::LocalityLbEndpoints::default()
    }
}

fn assignment(endpoints: Vec<pb::LocalityLbEndpoints>) -> pb::ClusterLoadAssignment {
    pb::ClusterLoadAssignment { endpoints, ..pb::ClusterLoadAssignment::default() }
}

fn made(proto: &pb::ClusterLoadAssignment) -> core::ClusterLoadAssignment {
    let Value::ClusterLoadAssignment(made) = decode(ClusterLoadAssignment, proto).unwrap() else {
        panic!("no endpoints")
    };
    (*made).clone()
}

#[track_caller]
fn refuses(localities: Vec<pb::LocalityLbEndpoints>, field: &str, text: &str) {
    refused(ClusterLoadAssignment, &assignment(localities), field, text);
}

#[track_caller]
fn refuses_endpoint(endpoint: pb::LbEndpoint, field: &str, text: &str) {
    let field = format!("endpoints[0].lb_endpoints[0].{field}");
    refuses(vec![locality("r", 0, vec![endpoint])], &field, text);
}

#[test]
fn localities_with_priorities_weights_and_health() {
    let weighted = pb::LbEndpoint {
        load_balancing_weight: number(3),
        health_status: proto_core::HealthStatus::Draining as i32,
        ..endpoint(2)
    };
    let strange = pb::LbEndpoint { health_status: 99, ..endpoint(3) };
    let v6 = at_address(Address::SocketAddress(socket("::1", 1)));
    let proto = assignment(vec![
        locality("far", 1, vec![v6]),
        locality("near", 0, vec![endpoint(1), weighted, strange]),
    ]);
    let found = made(&proto);
    assert_eq!((found.localities[0].priority, found.localities[0].weight), (1, Some(1)));
    assert_eq!(found.localities[0].endpoints[0].address(), "[::1]:1".parse().unwrap());
    let near: Vec<(u32, HealthStatus)> =
        found.localities[1].endpoints.iter().map(|e| (e.weight, e.health)).collect();
    let expected =
        [(1, HealthStatus::Unknown), (3, HealthStatus::Draining), (1, HealthStatus::Unhealthy)];
    assert_eq!(near, expected);
}

#[test]
fn metadata_of_the_balancer_is_kept() {
    let of = |filter: &str| {
        let kind = Some(Kind::BoolValue(true));
        let fields = [("canary".to_owned(), ProtoValue { kind })].into();
        let fields = [(filter.to_owned(), Struct { fields })].into();
        let metadata = proto_core::Metadata { filter_metadata: fields, ..Default::default() };
        let canary = pb::LbEndpoint { metadata: Some(metadata), ..endpoint(1) };
        let found = made(&assignment(vec![locality("r", 0, vec![canary])]));
        found.localities[0].endpoints[0].metadata.clone()
    };
    let kept = of("envoy.lb").unwrap();
    assert_eq!(kept.get("envoy.lb", ["canary"]), Some(&core::Value::Bool(true)));
    assert!(of("others").is_none());
}

#[test]
fn nothing_at_all_and_a_locality_without_a_name_are_accepted() {
    assert!(made(&assignment(Vec::new())).localities.is_empty());
    let bare = pb::LocalityLbEndpoints {
        lb_endpoints: vec![endpoint(1)],
        ..pb::LocalityLbEndpoints::default()
    };
    assert_eq!(made(&assignment(vec![bare])).localities[0].weight, None);
}

#[test]
fn priorities_have_no_gap() {
    let of = |priorities: &[u32]| {
        let made = priorities.iter().enumerate();
        made.map(|(index, priority)| locality(&index.to_string(), *priority, Vec::new())).collect()
    };
    made(&assignment(of(&[2, 0, 1, 1, 0])));
    refuses(of(&[1]), "endpoints", "priority 0 is missing");
    refuses(of(&[0, 2]), "endpoints", "priority 1 is missing");
    refuses(of(&[0, 0, 1, 1, u32::MAX]), "endpoints", "priority 2 is missing");
}

#[test]
fn weights_fit_together() {
    let heavy = |region, priority| pb::LocalityLbEndpoints {
        load_balancing_weight: number(u32::MAX),
        ..locality(region, priority, Vec::new())
    };
    made(&assignment(vec![heavy("a", 0), heavy("b", 1)]));
    refuses(vec![heavy("a", 0), heavy("b", 0)], "endpoints", "weights of priority 0");
    let heavy = |port| pb::LbEndpoint { load_balancing_weight: number(u32::MAX), ..endpoint(port) };
    refuses(
        vec![locality("a", 0, vec![heavy(1), heavy(2)])],
        "endpoints[0].lb_endpoints[1]",
        "over 2^32 - 1",
    );
    let none = pb::LbEndpoint { load_balancing_weight: number(0), ..endpoint(1) };
    refuses_endpoint(none, "load_balancing_weight", "at least 1");
}

#[test]
fn repeated_localities_and_addresses_are_refused() {
    let twice = vec![locality("a", 0, Vec::new()), locality("a", 0, Vec::new())];
    refuses(twice, "endpoints[1]", "repeats a locality");
    made(&assignment(vec![locality("a", 0, Vec::new()), locality("a", 1, Vec::new())]));
    let twice = vec![locality("a", 0, vec![endpoint(1)]), locality("b", 0, vec![endpoint(1)])];
    refuses(twice, "endpoints[1].lb_endpoints[0]", "repeats address 10.0.0.1:1");
}

/// It may say which of them are reached over TLS.
#[test]
fn transports_by_the_metadata_of_a_locality_are_refused() {
    let with = |key: &str| {
        let filter_metadata = [(key.to_owned(), Struct::default())].into();
        let metadata = proto_core::Metadata { filter_metadata, ..Default::default() };
        vec![pb::LocalityLbEndpoints { metadata: Some(metadata), ..locality("a", 0, Vec::new()) }]
    };
    made(&assignment(with("other")));
    let field = r#"endpoints[0].metadata.filter_metadata["envoy.transport_socket_match"]"#;
    refuses(with("envoy.transport_socket_match"), field, "is not supported");
}

#[test]
fn addresses_that_are_refused() {
    let of = |socket| at_address(Address::SocketAddress(socket));
    let at = |field: &str| format!("endpoint.address{field}");
    refuses_endpoint(pb::LbEndpoint::default(), "endpoint", "is missing");
    let name = HostIdentifier::EndpointName("n".to_owned());
    let named = pb::LbEndpoint { host_identifier: Some(name), ..pb::LbEndpoint::default() };
    refuses_endpoint(named, "endpoint_name", "not supported");
    let pipe = at_address(Address::Pipe(Default::default()));
    refuses_endpoint(pipe, &at(".pipe.path"), "is empty");
    let internal = at_address(Address::EnvoyInternalAddress(Default::default()));
    refuses_endpoint(internal, &at(""), "socket_address");
    for text in ["host", "", "10.0.0.1%eth0", "fe80::1%eth0", "10.0.0.256"] {
        let field = at(".socket_address.address");
        refuses_endpoint(of(socket(text, 1)), &field, "not an IP address");
    }
    refuses_endpoint(of(socket("::1", 65_536)), &at(".socket_address.port_value"), "not a port");
    let udp = proto_core::SocketAddress { protocol: 1, ..socket("::1", 1) };
    refuses_endpoint(of(udp), &at(".socket_address.protocol"), "must be TCP");
    let bare = proto_core::SocketAddress { port_specifier: None, ..socket("::1", 1) };
    refuses_endpoint(of(bare), &at(".socket_address"), "no port");
    let named = proto_core::SocketAddress {
        port_specifier: Some(PortSpecifier::NamedPort("http".to_owned())),
        ..socket("::1", 1)
    };
    refuses_endpoint(of(named), &at(".socket_address.named_port"), "not supported");
}

#[test]
fn pipes_are_told_apart_by_their_paths() {
    let pipe =
        |path: &str| at_address(Address::Pipe(proto_core::Pipe { path: path.to_owned(), mode: 0 }));
    let found = made(&assignment(vec![locality("a", 0, vec![pipe("/run/a"), pipe("@b")])]));
    let [first, second] = &found.localities[0].endpoints[..] else { panic!("two") };
    assert_eq!(
        (first.pipe().map(|p| &**p), second.pipe().map(|p| &**p)),
        (Some("/run/a"), Some("@b"))
    );
    assert_ne!(first.address(), second.address());
    let twice = vec![locality("a", 0, vec![pipe("@b")]), locality("b", 0, vec![pipe("@b")])];
    refuses(twice, "endpoints[1].lb_endpoints[0]", "repeats address");
}

#[test]
fn drops_are_checked() {
    let with = |category: &str, denominator| {
        let overload = policy::DropOverload {
            category: category.to_owned(),
            drop_percentage: Some(FractionalPercent { numerator: 1, denominator }),
        };
        let policy = Policy { drop_overloads: vec![overload], ..Policy::default() };
        pb::ClusterLoadAssignment { policy: Some(policy), ..assignment(Vec::new()) }
    };
    let found = made(&with("lb", 0)).drop_overloads;
    assert_eq!((&*found[0].category, found[0].per_million), ("lb", 10_000));
    let field = "policy.drop_overloads[0].category";
    refused(ClusterLoadAssignment, &with("", 0), field, "is empty");
    let field = "policy.drop_overloads[0].drop_percentage.denominator";
    refused(ClusterLoadAssignment, &with("lb", 9), field, "unknown value 9");
}

#[test]
fn other_settings_are_reported() {
    let mut proto = assignment(vec![locality("a", 0, vec![endpoint(1)])]);
    let stale = Duration { seconds: 1, nanos: 0 };
    proto.policy = Some(Policy { endpoint_stale_after: Some(stale), ..Policy::default() });
    findings(ClusterLoadAssignment, &proto, &["policy.endpoint_stale_after"]);
}

#[test]
fn further_addresses_are_read() {
    let with = |address: Option<proto_core::Address>| {
        let mut host = endpoint(1);
        if let Some(HostIdentifier::Endpoint(endpoint)) = &mut host.host_identifier {
            endpoint.additional_addresses.push(pb::endpoint::AdditionalAddress { address });
        }
        assignment(vec![locality("a", 0, vec![host])])
    };
    let Some(HostIdentifier::Endpoint(other)) = endpoint(2).host_identifier else { panic!() };
    let found = made(&with(other.address.clone()));
    let expected = made(&assignment(vec![locality("a", 0, vec![endpoint(2)])]));
    let expected = expected.localities[0].endpoints[0].address();
    assert_eq!(*found.localities[0].endpoints[0].additional_addresses(), [expected]);
    let field = "endpoints[0].lb_endpoints[0].endpoint.additional_addresses[0].address";
    refused(ClusterLoadAssignment, &with(None), field, "is missing");
}

#[test]
fn overprovisioning_is_at_least_something() {
    let with = |factor| pb::ClusterLoadAssignment {
        policy: Some(Policy { overprovisioning_factor: number(factor), ..Policy::default() }),
        ..assignment(Vec::new())
    };
    assert_eq!(made(&with(100)).overprovisioning_factor, 100);
    assert_eq!(made(&assignment(Vec::new())).overprovisioning_factor, 140);
    let field = "policy.overprovisioning_factor";
    refused(ClusterLoadAssignment, &with(0), field, "at least 1");
}

#[test]
fn hostname_and_hash_key_are_read() {
    let mut host = endpoint(1);
    if let Some(HostIdentifier::Endpoint(endpoint)) = &mut host.host_identifier {
        endpoint.hostname = "h.local".to_owned();
    }
    let text = ProtoValue { kind: Some(Kind::StringValue("key".to_owned())) };
    let fields = Struct { fields: [("hash_key".to_owned(), text)].into() };
    host.metadata = Some(proto_core::Metadata {
        filter_metadata: [("envoy.lb".to_owned(), fields)].into(),
        ..proto_core::Metadata::default()
    });
    let found = made(&assignment(vec![locality("a", 0, vec![host, endpoint(2)])]));
    let [first, second] = &found.localities[0].endpoints[..] else { panic!("two") };
    assert_eq!((first.hostname(), first.hash_key().map(|key| &**key)), ("h.local", Some("key")));
    assert_eq!((second.hostname(), second.hash_key().map(|key| &**key)), ("", None));
}

use std::time::Duration;

use mesh_core::ResourceType::Cluster;
use mesh_core::resource::{self as core, Discovery, LbPolicy, Maglev, RingHash, UpstreamProtocol};
use mesh_pb::envoy::config::cluster::v3 as pb;
use mesh_pb::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, CustomClusterType, DiscoveryType, EdsClusterConfig, LbConfig,
    LeastRequestLbConfig,
};
use mesh_pb::envoy::config::core::v3 as proto_core;
use mesh_pb::envoy::config::core::v3::TypedExtensionConfig;
use mesh_pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use mesh_pb::envoy::extensions::clusters::aggregate::v3::ClusterConfig;
use mesh_pb::envoy::extensions::load_balancing_policies as policies;
use mesh_pb::envoy::extensions::upstreams::http::v3 as http;
use mesh_pb::envoy::extensions::upstreams::http::v3::http_protocol_options as options;
use mesh_pb::google::protobuf::Any;

use super::super::Value;
use super::{decode, findings, number, refused, seconds, unknown};
use crate::sample::{ads, any};

pub(super) fn good() -> pb::Cluster {
    crate::sample::cluster_message("x")
}

pub(super) fn made(proto: &pb::Cluster) -> core::Cluster {
    let Value::Cluster(made) = decode(Cluster, proto).unwrap() else { panic!("no cluster") };
    (*made).clone()
}

#[track_caller]
pub(super) fn refuses(change: impl FnOnce(&mut pb::Cluster), field: &str, text: &str) {
    let mut proto = good();
    change(&mut proto);
    refused(Cluster, &proto, field, text);
}

fn of_type(kind: DiscoveryType) -> Option<ClusterDiscoveryType> {
    Some(ClusterDiscoveryType::Type(kind as i32))
}

#[test]
fn eds_cluster_by_its_own_name_or_a_service_name() {
    let found = made(&good());
    assert!(matches!(&found.discovery, Discovery::Eds { service_name } if &**service_name == "x"));
    assert_eq!(found.connect_timeout, Duration::from_secs(5));
    assert_eq!(found.protocol, UpstreamProtocol::Http1);
    let mut proto = good();
    proto.eds_cluster_config.as_mut().unwrap().service_name = "s".to_owned();
    let found = made(&proto);
    assert!(matches!(found.discovery, Discovery::Eds { service_name } if &*service_name == "s"));
}

#[test]
fn static_cluster_has_its_endpoints() {
    let proto = pb::Cluster {
        load_assignment: Some(ClusterLoadAssignment::default()),
        ..pb::Cluster::default()
    };
    assert!(matches!(made(&proto).discovery, Discovery::Static(_)));
    refused(Cluster, &pb::Cluster::default(), "load_assignment", "is missing");
    let mut broken = ClusterLoadAssignment::default();
    broken.endpoints.push(Default::default());
    broken.endpoints[0].priority = 1;
    let proto = pb::Cluster { load_assignment: Some(broken), ..pb::Cluster::default() };
    refused(Cluster, &proto, "load_assignment.endpoints", "priority 0 is missing");
}

fn aggregate_of(clusters: Vec<String>) -> Option<ClusterDiscoveryType> {
    let config = ClusterConfig { clusters };
    Some(ClusterDiscoveryType::ClusterType(CustomClusterType {
        name: "envoy.clusters.aggregate".to_owned(),
        typed_config: Some(any(&config)),
    }))
}

#[test]
fn aggregate_cluster_names_its_clusters() {
    let mut proto = good();
    proto.cluster_discovery_type = aggregate_of(vec!["b".to_owned(), "a".to_owned()]);
    for policy in [pb::cluster::LbPolicy::ClusterProvided, pb::cluster::LbPolicy::RingHash] {
        proto.lb_policy = policy as i32;
        let Discovery::Aggregate { clusters } = made(&proto).discovery else { panic!("not it") };
        assert_eq!(clusters.iter().map(|name| &**name).collect::<Vec<_>>(), ["b", "a"]);
    }
}

#[test]
fn types_that_grpc_lacks_fail_it_alone() {
    let mut proto = good();
    for kind in [DiscoveryType::Static, DiscoveryType::StrictDns, DiscoveryType::OriginalDst] {
        proto.cluster_discovery_type = of_type(kind);
        proto.load_assignment = Some(ClusterLoadAssignment::default());
        assert!(made(&proto).balancing.refused_by_grpc.is_some(), "{kind:?}");
    }
    proto.lb_policy = pb::cluster::LbPolicy::ClusterProvided as i32;
    assert!(matches!(made(&proto).discovery, Discovery::OriginalDestination));
}

#[test]
fn discovery_that_is_refused() {
    let unknown_type = Some(ClusterDiscoveryType::Type(99));
    refuses(|c| c.cluster_discovery_type = unknown_type, "type", "unknown value");
    let aggregate = Some(ClusterDiscoveryType::ClusterType(CustomClusterType {
        name: "envoy.clusters.aggregate".to_owned(),
        typed_config: None,
    }));
    refuses(|c| c.cluster_discovery_type = aggregate, "cluster_type", "aggregate");
    for (clusters, field) in [
        (vec![], "cluster_type.typed_config.clusters"),
        (vec!["a".to_owned(), String::new()], "cluster_type.typed_config.clusters[1]"),
    ] {
        refuses(|c| c.cluster_discovery_type = aggregate_of(clusters), field, "is empty");
    }
    refuses(|c| c.eds_cluster_config = None, "eds_cluster_config", "is missing");
    let elsewhere = Some(EdsClusterConfig::default());
    refuses(|c| c.eds_cluster_config = elsewhere, "eds_cluster_config.eds_config", "ads or self");
    let mut proto = good();
    proto.name = "xdstp://a/b/c".to_owned();
    let id = mesh_core::ResourceId::new(Cluster, "xdstp://a/b/c");
    let refusal = super::super::decode(&id, &prost::Message::encode_to_vec(&proto)).unwrap_err();
    assert_eq!(refusal.field(), "eds_cluster_config.service_name");
}

#[test]
fn balancers_by_number() {
    let with = |policy: pb::cluster::LbPolicy, config| pb::Cluster {
        lb_policy: policy as i32,
        lb_config: config,
        ..good()
    };
    let least = |count| {
        Some(LbConfig::LeastRequestLbConfig(LeastRequestLbConfig {
            choice_count: count,
            ..LeastRequestLbConfig::default()
        }))
    };
    let policy = |proto: &pb::Cluster| made(proto).lb_policy;
    use pb::cluster::LbPolicy as Proto;
    assert_eq!(policy(&with(Proto::RoundRobin, None)), LbPolicy::RoundRobin);
    let two = LbPolicy::LeastRequest { choice_count: 2 };
    assert_eq!(policy(&with(Proto::LeastRequest, None)), two);
    let four = with(Proto::LeastRequest, least(number(4)));
    assert_eq!(policy(&four), LbPolicy::LeastRequest { choice_count: 4 });
    let field = "least_request_lb_config.choice_count";
    let many = with(Proto::LeastRequest, least(number(u32::MAX)));
    findings(Cluster, &many, &[field]);
    refused(Cluster, &with(Proto::LeastRequest, least(number(1))), field, "less than 2");
    assert_eq!(policy(&with(Proto::Random, None)), LbPolicy::Random);
    assert_eq!(policy(&with(Proto::RingHash, None)), LbPolicy::RingHash(RingHash::default()));
    assert_eq!(policy(&with(Proto::Maglev, None)), LbPolicy::Maglev(Maglev::default()));
    refused(Cluster, &with(Proto::ClusterProvided, None), "lb_policy", "CLUSTER_PROVIDED");
    let list = with(Proto::LoadBalancingPolicyConfig, None);
    refused(Cluster, &list, "load_balancing_policy", "is missing");
    refuses(|c| c.lb_policy = 77, "lb_policy", "unknown value 77");
}

fn list(configs: Vec<Any>) -> pb::LoadBalancingPolicy {
    let policy = |typed_config| pb::load_balancing_policy::Policy {
        typed_extension_config: Some(TypedExtensionConfig {
            name: String::new(),
            typed_config: Some(typed_config),
        }),
    };
    pb::LoadBalancingPolicy { policies: configs.into_iter().map(policy).collect() }
}

fn wrr(child: pb::LoadBalancingPolicy) -> Any {
    any(&policies::wrr_locality::v3::WrrLocality { endpoint_picking_policy: Some(child) })
}

#[test]
fn balancers_by_list_take_the_first_that_is_known() {
    let least = any(&policies::least_request::v3::LeastRequest::default());
    let round = any(&policies::round_robin::v3::RoundRobin::default());
    let with = |configs| pb::Cluster { load_balancing_policy: Some(list(configs)), ..good() };
    let two = LbPolicy::LeastRequest { choice_count: 2 };
    assert_eq!(made(&with(vec![unknown(), least.clone(), round.clone()])).lb_policy, two);
    assert_eq!(made(&with(vec![wrr(list(vec![least]))])).lb_policy, two);
    let field = "load_balancing_policy.policies[0].typed_extension_config";
    let source = policies::override_host::v3::override_host::OverrideHostSource {
        header: "X-Endpoint".to_owned(),
        metadata: None,
    };
    let named = policies::override_host::v3::OverrideHost {
        override_host_sources: vec![source],
        fallback_policy: Some(list(vec![round])),
        ..Default::default()
    };
    let found = made(&with(vec![any(&named)]));
    assert_eq!(found.lb_policy, LbPolicy::RoundRobin);
    assert_eq!(found.balancing.override_host_headers, ["x-endpoint"]);
    let alone =
        policies::override_host::v3::OverrideHost { fallback_policy: None, ..named.clone() };
    refused(Cluster, &with(vec![any(&alone)]), &format!("{field}.fallback_policy"), "is missing");
    let none =
        policies::override_host::v3::OverrideHost { override_host_sources: Vec::new(), ..named };
    refused(
        Cluster,
        &with(vec![any(&none)]),
        &format!("{field}.override_host_sources"),
        "is empty",
    );
    let none = with(vec![unknown()]);
    refused(Cluster, &none, "load_balancing_policy", "no policy that is supported");
    let broken =
        Any { value: vec![0xff], ..any(&policies::round_robin::v3::RoundRobin::default()) };
    refused(Cluster, &with(vec![broken]), field, "cannot be read");
}

#[test]
fn balancers_nest_to_a_limit() {
    let mut nested = list(vec![any(&policies::round_robin::v3::RoundRobin::default())]);
    for _ in 0..15 {
        nested = list(vec![wrr(nested)]);
    }
    let proto = |nested| pb::Cluster { load_balancing_policy: Some(nested), ..good() };
    assert_eq!(made(&proto(nested.clone())).lb_policy, LbPolicy::RoundRobin);
    let refusal = decode(Cluster, &proto(list(vec![wrr(nested)]))).unwrap_err();
    assert!(refusal.reason().contains("nests deeper than 16"), "{refusal}");
}

const KEY: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

fn with_options(options: Any) -> pb::Cluster {
    let mut proto = good();
    proto.typed_extension_protocol_options.insert(KEY.to_owned(), options);
    proto
}

fn explicit(config: options::explicit_http_config::ProtocolConfig) -> http::HttpProtocolOptions {
    http::HttpProtocolOptions {
        upstream_protocol_options: Some(options::UpstreamProtocolOptions::ExplicitHttpConfig(
            options::ExplicitHttpConfig { protocol_config: Some(config) },
        )),
        ..http::HttpProtocolOptions::default()
    }
}

#[test]
#[allow(deprecated, reason = "the older field is read")]
fn http_versions() {
    use options::explicit_http_config::ProtocolConfig as Config;
    let protocol = |proto: &pb::Cluster| made(proto).protocol;
    let one = explicit(Config::HttpProtocolOptions(Default::default()));
    assert_eq!(protocol(&with_options(any(&one))), UpstreamProtocol::Http1);
    let two = explicit(Config::Http2ProtocolOptions(Default::default()));
    assert_eq!(protocol(&with_options(any(&two))), UpstreamProtocol::Http2);
    let older = pb::Cluster { http2_protocol_options: Some(Default::default()), ..good() };
    assert_eq!(protocol(&older), UpstreamProtocol::Http2);
    let at = format!("typed_extension_protocol_options[{KEY:?}]");
    let three = explicit(Config::Http3ProtocolOptions(Default::default()));
    let field = format!("{at}.explicit_http_config.http3_protocol_options");
    refused(Cluster, &with_options(any(&three)), &field, "not supported");
    refused(Cluster, &with_options(unknown()), &at, "is of type");
    let mut filtered = two;
    filtered.http_filters.push(Default::default());
    let field = format!("{at}.http_filters[0]");
    refused(Cluster, &with_options(any(&filtered)), &field, "filter is required");
    let follow = http::HttpProtocolOptions {
        upstream_protocol_options: Some(
            options::UpstreamProtocolOptions::UseDownstreamProtocolConfig(Default::default()),
        ),
        common_http_protocol_options: Some(proto_core::HttpProtocolOptions {
            idle_timeout: seconds(1),
            ..Default::default()
        }),
        ..http::HttpProtocolOptions::default()
    };
    let auto = http::HttpProtocolOptions {
        upstream_protocol_options: Some(options::UpstreamProtocolOptions::AutoConfig(
            Default::default(),
        )),
        ..http::HttpProtocolOptions::default()
    };
    assert_eq!(protocol(&with_options(any(&auto))), UpstreamProtocol::Auto);
    findings(Cluster, &with_options(any(&auto)), &[]);
    assert_eq!(protocol(&with_options(any(&follow))), UpstreamProtocol::Downstream);
    findings(Cluster, &with_options(any(&follow)), &[]);
}

#[test]
fn other_values_that_are_refused() {
    refuses(|c| c.connect_timeout = seconds(0), "connect_timeout", "greater than zero");
    refuses(|c| c.connect_timeout = seconds(-1), "connect_timeout", "not a valid duration");
    refuses(|c| c.filters.push(Default::default()), "filters", "not supported");
    refuses(|c| c.lrs_server = Some(Default::default()), "lrs_server", "must be self");
}

#[test]
fn load_is_reported_to_the_server_that_asks() {
    assert!(made(&good()).load_reporting.is_none());
    let metrics = vec!["named_metrics.queue".to_owned()];
    let asked = pb::Cluster { lrs_server: ads(), lrs_report_endpoint_metrics: metrics, ..good() };
    let reporting = made(&asked).load_reporting.clone().unwrap();
    assert_eq!(reporting.metrics, ["named_metrics.queue".into()]);
    findings(Cluster, &asked, &[]);
}

//! Clusters whose endpoints are told by name.

use std::sync::Arc;
use std::time::Duration;

use mesh_core::ResourceType::Cluster;
use mesh_core::resource::{
    self as core, Discovery, DnsCluster, DnsKind, DnsLookupFamily, LbPolicy,
};
use mesh_pb::envoy::config::cluster::v3::cluster as cluster_pb;
use mesh_pb::envoy::config::cluster::v3::cluster::ClusterDiscoveryType;
use mesh_pb::envoy::extensions::clusters::dns::v3 as extension;
use prost::Message;
use serde_json::{Value as Json, json};

use super::super::Value;
use super::written::{decode, findings, refused};
use crate::sample::any;

fn endpoint(host: &str) -> Json {
    let address = json!({"socket_address": {"address": host, "port_value": 80}});
    json!({"endpoint": {"address": address}})
}

fn assignment(hosts: &[&str]) -> Json {
    let endpoints: Vec<Json> = hosts.iter().map(|host| endpoint(host)).collect();
    json!({
        "cluster_name": "x",
        "endpoints": [{"load_balancing_weight": 3, "lb_endpoints": endpoints}],
    })
}

fn cluster(kind: &str, hosts: &[&str]) -> Json {
    json!({"name": "x", "type": kind, "load_assignment": assignment(hosts)})
}

fn with(fields: &Json) -> Json {
    let mut made = cluster("STRICT_DNS", &["a.example"]);
    for (key, value) in fields.as_object().unwrap() {
        made[key] = value.clone();
    }
    made
}

fn made(cluster: &Json) -> Arc<core::Cluster> {
    let Value::Cluster(made) = decode(Cluster, cluster).unwrap() else { panic!("no cluster") };
    made
}

fn dns(cluster: &Json) -> Arc<DnsCluster> {
    let Discovery::Dns(dns) = &made(cluster).discovery else { panic!("no names") };
    dns.clone()
}

#[test]
fn many_names_each_of_many_endpoints() {
    let cluster = cluster("STRICT_DNS", &["b.example", "a.example", "10.0.0.1"]);
    let found = dns(&cluster);
    assert_eq!(found.kind, DnsKind::Strict);
    let hosts: Vec<String> = found.hosts().iter().map(ToString::to_string).collect();
    assert_eq!(hosts, ["10.0.0.1", "a.example", "b.example"]);
    let (locality, first) = &found.endpoints[0];
    assert_eq!((*locality, &*first.host, first.endpoint.hostname()), (0, "b.example", "b.example"));
    assert_eq!(first.endpoint.address().port(), 80);
    assert_eq!(found.assignment.localities[0].weight, Some(3));
    assert!(found.assignment.localities[0].endpoints.is_empty());
    assert_eq!((found.refresh_rate, found.failure_refresh_rate), (Duration::from_secs(5), None));
    assert!(made(&cluster).balancing.refused_by_grpc.is_some());
}

#[test]
fn one_name_of_one_endpoint() {
    let cluster = cluster("LOGICAL_DNS", &["a.example"]);
    let found = made(&cluster);
    assert_eq!(dns(&cluster).kind, DnsKind::Logical);
    assert_eq!(found.balancing.refused_by_grpc, None);
    assert_eq!(found.lb_policy, LbPolicy::PickFirst { shuffle_address_list: false });
}

#[test]
fn times_and_family() {
    let found = dns(&with(&json!({
        "dns_refresh_rate": "30s", "dns_jitter": "2s", "dns_lookup_family": "V4_ONLY",
        "dns_failure_refresh_rate": {"base_interval": "1s", "max_interval": "8s"},
    })));
    let seconds = Duration::from_secs;
    assert_eq!((found.refresh_rate, found.jitter), (seconds(30), seconds(2)));
    assert_eq!(found.failure_refresh_rate, Some((seconds(1), seconds(8))));
    assert_eq!(found.lookup_family, DnsLookupFamily::V4Only);
    let capped = dns(&with(&json!({"dns_failure_refresh_rate": {"base_interval": "1s"}})));
    assert_eq!(capped.failure_refresh_rate, Some((seconds(1), seconds(10))));
}

/// Endpoints found by other settings must not be taken for these.
#[test]
fn key_tells_of_all_settings() {
    let keys = [
        with(&json!({})),
        with(&json!({"dns_lookup_family": "ALL"})),
        with(&json!({"dns_refresh_rate": "6s"})),
        with(&json!({"dns_jitter": "6s"})),
        with(&json!({"load_assignment": assignment(&["b.example"])})),
        cluster("LOGICAL_DNS", &["a.example"]),
    ]
    .map(|cluster| dns(&cluster).key.clone());
    for (index, key) in keys.iter().enumerate() {
        assert!(!keys[..index].contains(key), "{key}");
        assert!(key.starts_with("dns:x#"));
    }
    assert_eq!(dns(&with(&json!({}))).key, keys[0]);
}

#[test]
fn names_that_are_refused() {
    let refuses = |kind: &str, assignment: Json, field: &str, text: &str| {
        let cluster = json!({"name": "x", "type": kind, "load_assignment": assignment});
        refused(Cluster, &cluster, &format!("load_assignment{field}"), text);
    };
    let none = json!({"name": "x", "type": "STRICT_DNS"});
    refused(Cluster, &none, "load_assignment", "is missing");
    const ONE: &str = "one locality with one endpoint";
    refuses("LOGICAL_DNS", assignment(&[]), "", ONE);
    refuses("LOGICAL_DNS", assignment(&["a", "b"]), "", ONE);
    let two = json!({"endpoints": [
        {"lb_endpoints": [endpoint("a")]},
        {"locality": {"zone": "z"}, "lb_endpoints": [endpoint("b")]},
    ]});
    refuses("LOGICAL_DNS", two, "", ONE);
    let at = ".endpoints[0].lb_endpoints[0].endpoint.address";
    refuses("STRICT_DNS", assignment(&[""]), &format!("{at}.socket_address.address"), "is empty");
    let mut custom = assignment(&["a"]);
    let socket = |assignment: &mut Json| {
        assignment["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]
            .take()
    };
    let mut address = socket(&mut custom);
    address["resolver_name"] = "r".into();
    let with_address = |address: Json| {
        let address = json!({"socket_address": address});
        json!({"endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]})
    };
    let field = format!("{at}.socket_address.resolver_name");
    refuses("LOGICAL_DNS", with_address(address), &field, "is not supported");
    let bare = json!({"address": "a"});
    refuses("STRICT_DNS", with_address(bare), &format!("{at}.socket_address"), "has no port");
    let pipe = json!({"endpoints": [{"lb_endpoints": [
        {"endpoint": {"address": {"pipe": {"path": "/p"}}}},
    ]}]});
    refuses("STRICT_DNS", pipe, at, "must be a socket_address");
    let priority = json!({"endpoints": [{"priority": 1, "lb_endpoints": [endpoint("a")]}]});
    refuses("STRICT_DNS", priority, ".endpoints", "priority 0 is missing");
}

#[test]
fn times_that_are_refused() {
    let refuses = |fields: Json, field: &str, text: &str| {
        refused(Cluster, &with(&fields), field, text);
    };
    refuses(json!({"dns_refresh_rate": "0s"}), "dns_refresh_rate", "greater than zero");
    let failure = |fields: Json| json!({"dns_failure_refresh_rate": fields});
    let at = "dns_failure_refresh_rate";
    refuses(failure(json!({})), &format!("{at}.base_interval"), "is missing");
    let crossed = json!({"base_interval": "2s", "max_interval": "1s"});
    refuses(failure(crossed), &format!("{at}.max_interval"), "is shorter than base_interval");
}

#[test]
fn what_the_systems_resolver_cannot_do_is_reported() {
    let cluster = with(&json!({"respect_dns_ttl": true, "dns_refresh_rate": "0.010s"}));
    findings(Cluster, &cluster, &["type", "respect_dns_ttl", "dns_refresh_rate"]);
    assert_eq!(dns(&cluster).refresh_rate, Duration::from_millis(100));
}

#[test]
fn dns_as_an_extension() {
    let of = |config: &extension::DnsCluster| {
        let mut proto = proto_cluster();
        proto.cluster_discovery_type =
            Some(ClusterDiscoveryType::ClusterType(cluster_pb::CustomClusterType {
                name: "envoy.cluster.dns".to_owned(),
                typed_config: Some(any(config)),
            }));
        proto
    };
    let found = |config: &extension::DnsCluster| {
        let Value::Cluster(made) = super::decode(Cluster, &of(config)).unwrap() else { panic!() };
        let Discovery::Dns(dns) = &made.discovery else { panic!("no names") };
        dns.clone()
    };
    let config = extension::DnsCluster {
        dns_refresh_rate: super::seconds(9),
        dns_lookup_family: 3,
        ..Default::default()
    };
    let strict = found(&config);
    assert_eq!((strict.kind, strict.refresh_rate), (DnsKind::Strict, Duration::from_secs(9)));
    assert_eq!(strict.lookup_family, DnsLookupFamily::V6Only);
    let config = extension::DnsCluster { all_addresses_in_single_endpoint: true, ..config };
    assert_eq!(found(&config).kind, DnsKind::Logical);
    let config = extension::DnsCluster { dns_refresh_rate: super::seconds(-1), ..config };
    let field = "cluster_type.typed_config.dns_refresh_rate";
    super::refused(Cluster, &of(&config), field, "not a valid duration");
}

/// One endpoint, whose address stands for a name.
fn proto_cluster() -> mesh_pb::envoy::config::cluster::v3::Cluster {
    let made = crate::sample::endpoints("x", &[80]);
    let assignment = Message::decode(made.value.as_slice()).unwrap();
    let mut proto = crate::sample::cluster_message("x");
    proto.load_assignment = Some(assignment);
    proto
}

use mesh_core::ResourceType::Cluster;
use mesh_core::resource::{Balancing, HashFunction, LbPolicy, LocalityBalancing};
use mesh_pb::envoy::config::cluster::v3 as pb;
use mesh_pb::envoy::config::cluster::v3::cluster::common_lb_config::{
    ConsistentHashingLbConfig, LocalityConfigSpecifier, LocalityWeightedLbConfig, ZoneAwareLbConfig,
};
use mesh_pb::envoy::config::cluster::v3::cluster::{
    CommonLbConfig, LbConfig, LbPolicy as Proto, LeastRequestLbConfig, MaglevLbConfig,
    RingHashLbConfig, RoundRobinLbConfig, SlowStartConfig,
};
use mesh_pb::envoy::config::core::v3::RuntimeDouble;
use mesh_pb::envoy::r#type::v3::Percent;
use mesh_pb::google::protobuf::UInt64Value;

use super::super::Value;
use super::{decode, findings, number, refused, seconds};

fn with(policy: Proto, config: Option<LbConfig>) -> pb::Cluster {
    let good = crate::sample::cluster_message("x");
    pb::Cluster { lb_policy: policy as i32, lb_config: config, ..good }
}

fn common(policy: Proto, common: CommonLbConfig) -> pb::Cluster {
    pb::Cluster { common_lb_config: Some(common), ..with(policy, None) }
}

fn made(proto: &pb::Cluster) -> (LbPolicy, Balancing) {
    let Value::Cluster(made) = decode(Cluster, proto).unwrap() else { panic!("no cluster") };
    (made.lb_policy, made.balancing.clone())
}

fn size(value: u64) -> Option<UInt64Value> {
    Some(UInt64Value { value })
}

#[test]
fn ring_sizes_fit_together() {
    let ring = |minimum, maximum| {
        let sizes = RingHashLbConfig {
            minimum_ring_size: minimum,
            maximum_ring_size: maximum,
            ..RingHashLbConfig::default()
        };
        with(Proto::RingHash, Some(LbConfig::RingHashLbConfig(sizes)))
    };
    let LbPolicy::RingHash(found) = made(&ring(size(7), size(9))).0 else { panic!("no ring") };
    assert_eq!((found.minimum_ring_size, found.maximum_ring_size), (7, 9));
    let (minimum, maximum) =
        ("ring_hash_lb_config.minimum_ring_size", "ring_hash_lb_config.maximum_ring_size");
    refused(Cluster, &ring(size(0), None), minimum, "0 is not in 1");
    refused(Cluster, &ring(size(8_388_609), None), minimum, "is not in 1");
    refused(Cluster, &ring(None, size(8_388_609)), maximum, "is not in 1");
    refused(Cluster, &ring(None, size(1023)), minimum, "more than the maximum");
}

#[test]
fn murmur_hash_is_for_envoy_alone() {
    let murmur = RingHashLbConfig { hash_function: 1, ..RingHashLbConfig::default() };
    let proto = with(Proto::RingHash, Some(LbConfig::RingHashLbConfig(murmur)));
    let (LbPolicy::RingHash(ring), balancing) = made(&proto) else { panic!("no ring") };
    assert_eq!(ring.hash_function, HashFunction::MurmurHash2);
    assert!(balancing.refused_by_grpc.is_some());
    findings(Cluster, &proto, &[""]);
}

#[test]
fn maglev_tables_have_prime_sizes() {
    let maglev = |value| {
        let config = MaglevLbConfig { table_size: size(value) };
        with(Proto::Maglev, Some(LbConfig::MaglevLbConfig(config)))
    };
    let LbPolicy::Maglev(found) = made(&maglev(1009)).0 else { panic!("no table") };
    assert_eq!(found.table_size, 1009);
    for bad in [0, 1, 2, 1001, 65_536] {
        refused(Cluster, &maglev(bad), "maglev_lb_config.table_size", "not a prime number");
    }
    refused(Cluster, &maglev(5_000_077), "maglev_lb_config.table_size", "is more than");
}

#[test]
fn hashing_of_both_policies() {
    let hashing = |factor| {
        let hashing = ConsistentHashingLbConfig {
            use_hostname_for_hashing: true,
            hash_balance_factor: number(factor),
        };
        CommonLbConfig { consistent_hashing_lb_config: Some(hashing), ..Default::default() }
    };
    for policy in [Proto::RingHash, Proto::Maglev] {
        let found = match made(&common(policy, hashing(120))).0 {
            LbPolicy::RingHash(ring) => ring.hashing,
            LbPolicy::Maglev(maglev) => maglev.hashing,
            other => panic!("{other:?}"),
        };
        assert!(found.use_hostname_for_hashing && found.hash_balance_factor == 120);
        let field = "common_lb_config.consistent_hashing_lb_config.hash_balance_factor";
        refused(Cluster, &common(policy, hashing(99)), field, "less than 100");
    }
}

#[test]
fn panic_threshold_and_localities() {
    let with = |value, specifier| CommonLbConfig {
        healthy_panic_threshold: Some(Percent { value }),
        locality_config_specifier: specifier,
        ..CommonLbConfig::default()
    };
    assert_eq!(made(&self::with(Proto::RoundRobin, None)).1.healthy_panic_threshold, 50);
    let weighted = LocalityWeightedLbConfig {};
    let weighted = LocalityConfigSpecifier::LocalityWeightedLbConfig(weighted);
    let found = made(&common(Proto::RoundRobin, with(0.4, Some(weighted)))).1;
    assert_eq!((found.healthy_panic_threshold, found.locality), (0, LocalityBalancing::Weighted));
    for bad in [-1.0, 100.5, f64::NAN] {
        let field = "common_lb_config.healthy_panic_threshold.value";
        refused(Cluster, &common(Proto::RoundRobin, with(bad, None)), field, "not in 0");
    }
    let zone = ZoneAwareLbConfig {
        routing_enabled: Some(Percent { value: 30.4 }),
        min_cluster_size: Some(UInt64Value { value: 3 }),
        fail_traffic_on_panic: true,
    };
    let zone = Some(LocalityConfigSpecifier::ZoneAwareLbConfig(zone));
    let proto = common(Proto::RoundRobin, with(50.0, zone));
    let found = made(&proto).1;
    assert!(found.fail_traffic_on_panic);
    let LocalityBalancing::ZoneAware(zone) = found.locality else { panic!("{found:?}") };
    assert_eq!((zone.routing_enabled, zone.min_cluster_size), (30, 3));
    assert!(zone.fail_traffic_on_panic && zone.force_local_zone.is_none());
    findings(Cluster, &proto, &["common_lb_config.zone_aware_lb_config"]);
}

#[test]
fn slow_start_of_round_robin_and_least_request() {
    let slow = |window, aggression, percent| SlowStartConfig {
        slow_start_window: seconds(window),
        aggression: Some(RuntimeDouble { default_value: aggression, ..Default::default() }),
        min_weight_percent: Some(Percent { value: percent }),
    };
    let round = |slow| {
        let config = RoundRobinLbConfig { slow_start_config: Some(slow) };
        with(Proto::RoundRobin, Some(LbConfig::RoundRobinLbConfig(config)))
    };
    let found = made(&round(slow(30, 2.0, 5.0))).1.slow_start.unwrap();
    assert_eq!((found.window.as_secs(), found.aggression), (30, 2.0));
    assert_eq!(found.min_weight_percent, 5.0);
    assert!(made(&round(slow(0, 1.0, 5.0))).1.slow_start.is_none(), "no window");
    let at = |field| format!("round_robin_lb_config.slow_start_config.{field}");
    refused(Cluster, &round(slow(-1, 1.0, 5.0)), &at("slow_start_window"), "not a valid duration");
    refused(Cluster, &round(slow(1, 0.0, 5.0)), &at("aggression"), "greater than zero");
    refused(Cluster, &round(slow(1, 1.0, 101.0)), &at("min_weight_percent.value"), "not in 0");
    let least = |bias| {
        let bias = RuntimeDouble { default_value: bias, ..Default::default() };
        let config = LeastRequestLbConfig {
            slow_start_config: Some(slow(9, 1.0, 10.0)),
            active_request_bias: Some(bias),
            ..LeastRequestLbConfig::default()
        };
        with(Proto::LeastRequest, Some(LbConfig::LeastRequestLbConfig(config)))
    };
    let found = made(&least(0.5)).1;
    assert_eq!((found.active_request_bias, found.slow_start.unwrap().window.as_secs()), (0.5, 9));
    let field = "least_request_lb_config.active_request_bias.default_value";
    refused(Cluster, &least(-1.0), field, "is not a number from 0 on");
}

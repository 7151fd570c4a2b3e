//! Consistent hashing, warm-up and outlier detection: what a cluster and the routes to it say.

use mesh_pb::envoy::config::cluster::v3::cluster::{
    CommonLbConfig, LbConfig, LbPolicy, LeastRequestLbConfig, MaglevLbConfig, RingHashLbConfig,
    RoundRobinLbConfig, SlowStartConfig,
};
use mesh_pb::envoy::config::cluster::v3::{Cluster, OutlierDetection};
use mesh_pb::envoy::config::core::v3::RuntimeDouble;
use mesh_pb::envoy::config::route::v3::route_action::HashPolicy;
use mesh_pb::envoy::config::route::v3::route_action::hash_policy::{
    ConnectionProperties, Cookie, CookieAttribute, Header, PolicySpecifier, QueryParameter,
};
use mesh_pb::envoy::r#type::v3::Percent;
use mesh_pb::google::protobuf::UInt64Value;

use super::policy::Effective;
use super::{duration, uint32};
use crate::kind::{ConsistentHash, LoadBalancer, OutlierDetection as Detection};

/// What requests to a cluster of that policy are hashed by.
pub(super) fn hash_policy(hash: &ConsistentHash) -> Option<HashPolicy> {
    let specifier = if let Some(header_name) = &hash.http_header_name {
        PolicySpecifier::Header(Header { header_name: header_name.clone(), ..Default::default() })
    } else if let Some(cookie) = &hash.http_cookie {
        let attribute = |one: &crate::kind::CookieAttribute| CookieAttribute {
            name: one.name.clone(),
            value: one.value.clone(),
        };
        PolicySpecifier::Cookie(Cookie {
            name: cookie.name.clone(),
            ttl: cookie.ttl.map(|ttl| duration(ttl.0)),
            path: cookie.path.clone(),
            attributes: cookie.attributes.iter().map(attribute).collect(),
        })
    } else if let Some(source_ip) = hash.use_source_ip {
        PolicySpecifier::ConnectionProperties(ConnectionProperties { source_ip })
    } else {
        let name = hash.http_query_parameter_name.clone()?;
        PolicySpecifier::QueryParameter(QueryParameter { name })
    };
    Some(HashPolicy { policy_specifier: Some(specifier), ..Default::default() })
}

/// The policy by hashes, which counts for more than a simple one.
pub(super) fn hashing(hash: &ConsistentHash, cluster: &mut Cluster) {
    let size = |size: u64| (size > 0).then_some(UInt64Value { value: size });
    if let Some(maglev) = hash.maglev {
        cluster.lb_policy = LbPolicy::Maglev.into();
        let config = MaglevLbConfig { table_size: size(maglev.table_size) };
        cluster.lb_config = Some(LbConfig::MaglevLbConfig(config));
        return;
    }
    let minimum = hash.ring_hash.map_or(hash.minimum_ring_size, |ring| ring.minimum_ring_size);
    cluster.lb_policy = LbPolicy::RingHash.into();
    let config = RingHashLbConfig { minimum_ring_size: size(minimum), ..Default::default() };
    cluster.lb_config = Some(LbConfig::RingHashLbConfig(config));
}

/// How new endpoints get into their share; only of round robin and least request.
pub(super) fn slow_start(balancer: &LoadBalancer, cluster: &mut Cluster) {
    let (window, minimum, aggression) = match (&balancer.warmup, balancer.warmup_duration_secs) {
        (Some(warmup), _) => (warmup.duration, warmup.minimum_percent, warmup.aggression),
        (None, older) => (older, None, None),
    };
    let Some(window) = window else { return };
    let slow = Some(SlowStartConfig {
        slow_start_window: Some(duration(window.0)),
        // The key only says where a runtime layer may put another one.
        aggression: aggression
            .map(|default_value| RuntimeDouble { default_value, runtime_key: String::new() }),
        min_weight_percent: minimum.map(|value| Percent { value }),
    });
    cluster.lb_config = match cluster.lb_policy() {
        LbPolicy::RoundRobin => {
            Some(LbConfig::RoundRobinLbConfig(RoundRobinLbConfig { slow_start_config: slow }))
        }
        LbPolicy::LeastRequest => Some(LbConfig::LeastRequestLbConfig(LeastRequestLbConfig {
            slow_start_config: slow,
            ..Default::default()
        })),
        _ => return,
    };
}

/// Envoy's defaults but for what depends on success rates, which Istio has off, and for panic,
/// which begins below `minHealthPercent`: never, when that is not given.
pub(super) fn outliers(policy: &Effective<'_>, cluster: &mut Cluster) {
    let Some(detection) = policy.outlier_detection else { return };
    cluster.outlier_detection = Some(outlier_detection(detection));
    let threshold = Percent { value: f64::from(detection.min_health_percent) };
    let common = cluster.common_lb_config.get_or_insert_with(CommonLbConfig::default);
    common.healthy_panic_threshold = Some(threshold);
}

fn outlier_detection(detection: &Detection) -> OutlierDetection {
    let enforced =
        |count: Option<u32>| count.and_then(|count| uint32(if count > 0 { 100 } else { 0 }));
    let time = |time: Option<crate::kind::Duration>| time.map(|time| duration(time.0));
    let five = detection.consecutive_5xx_errors;
    let gateway = detection.consecutive_gateway_errors;
    let mut made = OutlierDetection {
        enforcing_success_rate: uint32(0),
        consecutive_5xx: five.and_then(uint32),
        enforcing_consecutive_5xx: enforced(five),
        consecutive_gateway_failure: gateway.and_then(uint32),
        enforcing_consecutive_gateway_failure: enforced(gateway),
        interval: time(detection.interval),
        base_ejection_time: time(detection.base_ejection_time),
        ..Default::default()
    };
    if let Some(percent) = u32::try_from(detection.max_ejection_percent).ok().filter(|p| *p > 0) {
        made.max_ejection_percent = uint32(percent);
    }
    if detection.split_external_local_origin_errors {
        made.split_external_local_origin_errors = true;
        made.enforcing_local_origin_success_rate = uint32(0);
        let local = detection.consecutive_local_origin_failures.filter(|count| *count > 0);
        made.consecutive_local_origin_failure = local.and_then(uint32);
        made.enforcing_consecutive_local_origin_failure = local.and_then(|_| uint32(100));
    }
    made
}

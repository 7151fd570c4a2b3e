//! What load balancing policies share.

use std::time::Duration;

use mesh_core::resource::{
    Balancing, ConsistentHashing, LocalityBalancing, LocalityBasis as Basis, Maglev, SlowStart,
    ZoneAware,
};
use mesh_pb::envoy::config::cluster::v3::cluster::common_lb_config::{
    self, LocalityConfigSpecifier,
};
use mesh_pb::envoy::config::cluster::v3::cluster::{self as legacy, CommonLbConfig};
use mesh_pb::envoy::config::core::v3::{HealthStatus, RuntimeDouble};
use mesh_pb::envoy::extensions::load_balancing_policies::common::v3 as shared;
use mesh_pb::envoy::extensions::load_balancing_policies::common::v3::locality_lb_config;
use mesh_pb::envoy::extensions::load_balancing_policies::common::v3::locality_lb_config::zone_aware_lb_config::LocalityBasis;
use mesh_pb::envoy::r#type::v3::Percent;
use mesh_pb::google::protobuf::{Duration as ProtoDuration, UInt32Value, UInt64Value};

use super::at::{At, Invalid, not_honoured};
use super::{common, endpoints};

/// `common_lb_config`. What it says of localities and hashing is for the older policies alone.
pub(super) fn common(
    at: At<'_>,
    proto: &CommonLbConfig,
    balancing: &mut Balancing,
    is_legacy: bool,
) -> Result<(), Invalid> {
    if let Some(threshold) = &proto.healthy_panic_threshold {
        let percent = percent(at.field("healthy_panic_threshold"), threshold)?;
        // Envoy rounds it to whole per cents.
        balancing.healthy_panic_threshold = percent.round() as u32;
    }
    if let Some(window) = &proto.update_merge_window {
        // Changes take effect at once, which no window asks for.
        common::duration(at.field("update_merge_window"), window)?;
    }
    not_honoured!(
        at,
        proto,
        [ignore_new_hosts_until_first_hc, close_connections_on_host_set_change]
    );
    if let Some(set) = &proto.override_host_status {
        let at = at.field("override_host_status");
        let one = |(index, value): (usize, &i32)| {
            if HealthStatus::try_from(*value).is_err() {
                return Err(at.index("statuses", index).invalid(format!("unknown value {value}")));
            }
            Ok(endpoints::health(*value))
        };
        let made = set.statuses.iter().enumerate().map(one).collect::<Result<_, Invalid>>()?;
        balancing.override_host_status = Some(made);
    }
    match &proto.locality_config_specifier {
        Some(LocalityConfigSpecifier::LocalityWeightedLbConfig(_)) if is_legacy => {
            balancing.locality = LocalityBalancing::Weighted;
        }
        Some(LocalityConfigSpecifier::ZoneAwareLbConfig(zone)) if is_legacy => {
            let at = at.field("zone_aware_lb_config");
            let mut made = zone_aware(at, zone.routing_enabled.as_ref())?;
            if let Some(size) = &zone.min_cluster_size {
                made.min_cluster_size = size.value;
            }
            made.fail_traffic_on_panic = zone.fail_traffic_on_panic;
            balancing.fail_traffic_on_panic = zone.fail_traffic_on_panic;
            balancing.locality = LocalityBalancing::ZoneAware(made);
        }
        _ => {}
    }
    Ok(())
}

/// Zones need the endpoints of the caller's own cluster; without them Envoy does not look at zones
/// either.
fn zone_aware(at: At<'_>, routing_enabled: Option<&Percent>) -> Result<ZoneAware, Invalid> {
    let mut made = ZoneAware::default();
    if let Some(share) = routing_enabled {
        // Envoy rounds it to whole per cents.
        made.routing_enabled = percent(at.field("routing_enabled"), share)?.round() as u32;
    }
    if !at.context().knows_local_cluster() {
        at.finding("zones are not honoured: there is no local cluster");
    }
    Ok(made)
}

/// `locality_lb_config` of a policy in a list.
#[allow(deprecated, reason = "an older field is read as well")]
pub(super) fn locality(
    at: At<'_>,
    proto: Option<&shared::LocalityLbConfig>,
    balancing: &mut Balancing,
) -> Result<(), Invalid> {
    use locality_lb_config::LocalityConfigSpecifier;
    match proto.and_then(|proto| proto.locality_config_specifier.as_ref()) {
        Some(LocalityConfigSpecifier::LocalityWeightedLbConfig(_)) => {
            balancing.locality = LocalityBalancing::Weighted;
        }
        Some(LocalityConfigSpecifier::ZoneAwareLbConfig(zone)) => {
            let at = at.field("locality_lb_config");
            let at = at.field("zone_aware_lb_config");
            let mut made = zone_aware(at, zone.routing_enabled.as_ref())?;
            if let Some(size) = &zone.min_cluster_size {
                made.min_cluster_size = size.value;
            }
            let least = zone.force_local_zone.map(|force| force.min_size.map_or(1, |it| it.value));
            made.force_local_zone = least.or(zone.force_locality_direct_routing.then_some(1));
            made.basis = match LocalityBasis::try_from(zone.locality_basis) {
                Ok(LocalityBasis::HealthyHostsNum) => Basis::HealthyHostsNum,
                Ok(LocalityBasis::HealthyHostsWeight) => Basis::HealthyHostsWeight,
                Err(_) => {
                    let text = format!("unknown value {}", zone.locality_basis);
                    return Err(at.field("locality_basis").invalid(text));
                }
            };
            made.fail_traffic_on_panic = zone.fail_traffic_on_panic;
            balancing.fail_traffic_on_panic = zone.fail_traffic_on_panic;
            balancing.locality = LocalityBalancing::ZoneAware(made);
        }
        None => {}
    }
    Ok(())
}

/// The parts of a slow start, of either message.
pub(super) struct Slow<'p> {
    window: Option<&'p ProtoDuration>,
    aggression: Option<&'p RuntimeDouble>,
    min_weight_percent: Option<&'p Percent>,
}

impl<'p> From<&'p shared::SlowStartConfig> for Slow<'p> {
    fn from(proto: &'p shared::SlowStartConfig) -> Self {
        Self {
            window: proto.slow_start_window.as_ref(),
            aggression: proto.aggression.as_ref(),
            min_weight_percent: proto.min_weight_percent.as_ref(),
        }
    }
}

impl<'p> From<&'p legacy::SlowStartConfig> for Slow<'p> {
    fn from(proto: &'p legacy::SlowStartConfig) -> Self {
        Self {
            window: proto.slow_start_window.as_ref(),
            aggression: proto.aggression.as_ref(),
            min_weight_percent: proto.min_weight_percent.as_ref(),
        }
    }
}

/// A slow start; none with an empty window.
pub(super) fn slow_start<'p>(
    at: At<'_>,
    proto: Option<impl Into<Slow<'p>>>,
) -> Result<Option<SlowStart>, Invalid> {
    let Some(proto) = proto.map(Into::into) else { return Ok(None) };
    let at = at.field("slow_start_config");
    let window = common::optional_duration(at.field("slow_start_window"), proto.window)?;
    let mut made = SlowStart::new(window.unwrap_or(Duration::ZERO));
    if let Some(aggression) = proto.aggression {
        made.aggression = double(at.field("aggression"), aggression)?;
        if made.aggression == 0.0 {
            return Err(at.field("aggression").invalid("must be greater than zero"));
        }
    }
    if let Some(share) = proto.min_weight_percent {
        made.min_weight_percent = percent(at.field("min_weight_percent"), share)?;
    }
    Ok(Some(made).filter(|made| !made.window.is_zero()))
}

/// A number that is not negative; its runtime key is not looked up.
pub(super) fn double(at: At<'_>, proto: &RuntimeDouble) -> Result<f64, Invalid> {
    let value = proto.default_value;
    if value.is_finite() && value >= 0.0 {
        Ok(value)
    } else {
        Err(at.field("default_value").invalid(format!("{value} is not a number from 0 on")))
    }
}

fn percent(at: At<'_>, proto: &Percent) -> Result<f64, Invalid> {
    let value = proto.value;
    if (0.0..=100.0).contains(&value) {
        Ok(value)
    } else {
        Err(at.field("value").invalid(format!("{value} is not in 0 … 100")))
    }
}

/// The hashing of the older policies.
pub(super) fn legacy_hashing(
    at: At<'_>,
    proto: Option<&common_lb_config::ConsistentHashingLbConfig>,
) -> Result<ConsistentHashing, Invalid> {
    let Some(proto) = proto else { return Ok(ConsistentHashing::default()) };
    let at = at.field("common_lb_config");
    let at = at.field("consistent_hashing_lb_config");
    hashing(at, proto.use_hostname_for_hashing, proto.hash_balance_factor.as_ref())
}

/// Hashing, of either message.
pub(super) fn hashing(
    at: At<'_>,
    use_hostname_for_hashing: bool,
    factor: Option<&UInt32Value>,
) -> Result<ConsistentHashing, Invalid> {
    let mut made = ConsistentHashing::default();
    made.use_hostname_for_hashing = use_hostname_for_hashing;
    if let Some(factor) = factor {
        if factor.value < LEAST_BALANCE_FACTOR {
            let text = format!("{} is less than {LEAST_BALANCE_FACTOR}", factor.value);
            return Err(at.field("hash_balance_factor").invalid(text));
        }
        made.hash_balance_factor = factor.value;
    }
    Ok(made)
}

/// A bound below the fair share could not be kept.
const LEAST_BALANCE_FACTOR: u32 = 100;

/// A Maglev table's size.
pub(super) fn table_size(at: At<'_>, proto: Option<&UInt64Value>) -> Result<u64, Invalid> {
    let at = at.field("table_size");
    let Some(size) = proto.map(|size| size.value) else { return Ok(Maglev::default().table_size) };
    if size > TABLE_SIZE_LIMIT {
        return Err(at.invalid(format!("{size} is more than {TABLE_SIZE_LIMIT}")));
    }
    // Two is a prime, but leaves endpoints no step to take.
    if size < 3 || !is_prime(size) {
        return Err(at.invalid(format!("{size} is not a prime number of at least 3")));
    }
    Ok(size)
}

/// Envoy's limit.
const TABLE_SIZE_LIMIT: u64 = 5_000_011;

fn is_prime(number: u64) -> bool {
    let mut factors = (2..).take_while(|factor| factor * factor <= number);
    number > 1 && factors.all(|factor| !number.is_multiple_of(factor))
}

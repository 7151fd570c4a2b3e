//! Circuit breakers.

use mesh_core::resource::{CircuitBreakers, RetryBudget, Thresholds};
use mesh_pb::envoy::config::cluster::v3 as pb;
use mesh_pb::envoy::config::cluster::v3::circuit_breakers as proto;
use mesh_pb::envoy::config::core::v3::RoutingPriority;
use mesh_pb::google::protobuf::UInt32Value;

use super::at::{At, Invalid, not_honoured};

pub(super) fn circuit_breakers(
    at: At<'_>,
    proto: &pb::CircuitBreakers,
) -> Result<CircuitBreakers, Invalid> {
    let mut made = CircuitBreakers::default();
    // Of several for one priority the first counts.
    let (mut default, mut high) = (None, None);
    for (index, proto) in proto.thresholds.iter().enumerate() {
        let at = at.index("thresholds", index);
        let thresholds = thresholds(at, proto)?;
        match RoutingPriority::try_from(proto.priority) {
            Ok(RoutingPriority::Default) => default = default.or(Some(thresholds)),
            Ok(RoutingPriority::High) => high = high.or(Some(thresholds)),
            Err(_) => {
                let text = format!("unknown value {}", proto.priority);
                return Err(at.field("priority").invalid(text));
            }
        }
    }
    made.default = default.unwrap_or_default();
    made.high = high.unwrap_or_default();
    for (index, proto) in proto.per_host_thresholds.iter().enumerate() {
        let at = at.index("per_host_thresholds", index);
        let most = proto.max_connections.as_ref().map(|max| max.value);
        if most == Some(0) {
            return Err(at.field("max_connections").invalid("must be at least 1"));
        }
        made.per_host_max_connections = made.per_host_max_connections.or(most);
        not_honoured!(
            at,
            proto,
            [max_connections, max_pending_requests, max_requests, max_retries, retry_budget]
        );
    }
    Ok(made)
}

fn thresholds(at: At<'_>, proto: &proto::Thresholds) -> Result<Thresholds, Invalid> {
    let mut made = Thresholds::default();
    let set = |field: &mut u32, value: &Option<UInt32Value>| {
        if let Some(value) = value {
            *field = value.value;
        }
    };
    set(&mut made.max_connections, &proto.max_connections);
    set(&mut made.max_pending_requests, &proto.max_pending_requests);
    set(&mut made.max_requests, &proto.max_requests);
    set(&mut made.max_retries, &proto.max_retries);
    made.track_remaining = proto.track_remaining;
    if let Some(budget) = &proto.retry_budget {
        made.retry_budget = Some(retry_budget(at.field("retry_budget"), budget)?);
    }
    not_honoured!(at, proto, [max_connection_pools]);
    Ok(made)
}

fn retry_budget(
    at: At<'_>,
    proto: &proto::thresholds::RetryBudget,
) -> Result<RetryBudget, Invalid> {
    let mut made = RetryBudget::default();
    if let Some(percent) = &proto.budget_percent {
        if !(0.0..=100.0).contains(&percent.value) {
            let text = format!("{} is not in 0 … 100", percent.value);
            return Err(at.field("budget_percent").invalid(text));
        }
        made.budget_percent = percent.value;
    }
    if let Some(concurrency) = &proto.min_retry_concurrency {
        made.min_retry_concurrency = concurrency.value;
    }
    not_honoured!(at, proto, [budget_interval]);
    Ok(made)
}

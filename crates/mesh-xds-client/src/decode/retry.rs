//! Retry policies.

use http::StatusCode;
use mesh_core::resource::{RetryConditions, RetryPolicy};
use mesh_pb::envoy::config::route::v3 as pb;
use mesh_pb::envoy::config::route::v3::retry_policy::RetryBackOff;
use mesh_pb::envoy::config::route::v3::retry_policy::retry_host_predicate::ConfigType;
use mesh_pb::type_url;

use super::at::{At, Invalid, not_honoured};
use super::common;

/// The cap of the wait when unset, as a multiple of its base.
const MAX_INTERVAL_FACTOR: u32 = 10;

pub(super) fn policy(at: At<'_>, proto: &pb::RetryPolicy) -> Result<RetryPolicy, Invalid> {
    let mut made = RetryPolicy::new(conditions(at.field("retry_on"), &proto.retry_on));
    if let Some(retries) = &proto.num_retries {
        made.num_retries = retries.value;
    }
    let timeout = at.field("per_try_timeout");
    made.per_try_timeout = common::optional_duration(timeout, proto.per_try_timeout.as_ref())?
        .filter(|timeout| !timeout.is_zero());
    for (index, code) in proto.retriable_status_codes.iter().enumerate() {
        let status = u16::try_from(*code).ok().and_then(|code| StatusCode::from_u16(code).ok());
        match status {
            Some(status) => made.retriable_status_codes.push(status),
            None => at
                .index("retriable_status_codes", index)
                .finding(format!("{code} is no HTTP status and is passed over")),
        }
    }
    if let Some(proto) = &proto.retry_back_off {
        back_off(at.field("retry_back_off"), proto, &mut made)?;
    }
    for (index, predicate) in proto.retry_host_predicate.iter().enumerate() {
        let at = at.index("retry_host_predicate", index);
        match &predicate.config_type {
            Some(ConfigType::TypedConfig(any)) if any.type_url == type_url::PREVIOUS_HOSTS => {
                made.avoid_previous_hosts = true;
            }
            _ => at.finding(format!("predicate {:?} is not honoured", predicate.name)),
        }
    }
    if proto.host_selection_retry_max_attempts != 0 {
        let attempts = proto.host_selection_retry_max_attempts;
        made.host_selection_retry_max_attempts = u32::try_from(attempts).map_err(|_| {
            let at = at.field("host_selection_retry_max_attempts");
            at.invalid(format!("{attempts} is not a number of attempts"))
        })?;
    }
    not_honoured!(
        at,
        proto,
        [
            per_try_idle_timeout,
            retry_priority,
            retry_options_predicates,
            rate_limited_retry_back_off,
            retriable_headers,
            retriable_request_headers,
            refresh_cluster_on_retry,
        ]
    );
    Ok(made)
}

/// Words that are not known are passed over, as both anchors do; none left means no retry.
fn conditions(at: At<'_>, retry_on: &str) -> RetryConditions {
    let mut made = RetryConditions::default();
    for word in retry_on.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        match RetryConditions::of_name(&word.to_ascii_lowercase()) {
            Some(condition) => made |= condition,
            None => at.finding(format!("{word:?} is not honoured")),
        }
    }
    made
}

fn back_off(at: At<'_>, proto: &RetryBackOff, made: &mut RetryPolicy) -> Result<(), Invalid> {
    let at_base = at.field("base_interval");
    let base = proto.base_interval.as_ref().ok_or_else(|| at_base.invalid("is missing"))?;
    made.base_interval = common::positive_duration(at_base, base)?;
    made.max_interval = match &proto.max_interval {
        Some(max) => {
            let at_max = at.field("max_interval");
            let max = common::positive_duration(at_max, max)?;
            if max < made.base_interval {
                return Err(at_max.invalid("is shorter than base_interval"));
            }
            max
        }
        None => made.base_interval.saturating_mul(MAX_INTERVAL_FACTOR),
    };
    Ok(())
}

//! Retry policies.

use http::StatusCode;
use mesh_core::resource::{
    HeaderMatcher, RateLimitedBackOff, ResetHeader, ResetHeaderFormat, RetryConditions, RetryPolicy,
};
use mesh_pb::envoy::config::route::v3 as pb;
use mesh_pb::envoy::config::route::v3::retry_policy as proto;
use mesh_pb::envoy::config::route::v3::retry_policy::retry_host_predicate::ConfigType;
use mesh_pb::envoy::extensions::retry::host::omit_canary_hosts::v3::OmitCanaryHostsPredicate;
use mesh_pb::envoy::extensions::retry::host::omit_host_metadata::v3::OmitHostMetadataConfig;
use mesh_pb::envoy::extensions::retry::host::previous_hosts::v3::PreviousHostsPredicate;
use mesh_pb::envoy::extensions::retry::priority::previous_priorities::v3::PreviousPrioritiesConfig;
use mesh_pb::google::protobuf::Any;

use super::at::{At, Invalid, not_honoured};
use super::structure::structure;
use super::{common, matcher};

/// The cap of the wait when unset, as a multiple of its base.
const MAX_INTERVAL_FACTOR: u32 = 10;

/// The metadata a host predicate looks at.
const BALANCER: &str = "envoy.lb";

pub(super) fn policy(at: At<'_>, proto: &pb::RetryPolicy) -> Result<RetryPolicy, Invalid> {
    let mut made = RetryPolicy::new(conditions(at.field("retry_on"), &proto.retry_on));
    if let Some(retries) = &proto.num_retries {
        made.num_retries = retries.value;
    }
    let timeout = at.field("per_try_timeout");
    made.per_try_timeout = common::optional_duration(timeout, proto.per_try_timeout.as_ref())?
        .filter(|timeout| !timeout.is_zero());
    let idle = at.field("per_try_idle_timeout");
    made.per_try_idle_timeout =
        common::optional_duration(idle, proto.per_try_idle_timeout.as_ref())?
            .filter(|timeout| !timeout.is_zero());
    status_codes(at, proto, &mut made);
    if let Some(proto) = &proto.retry_back_off {
        back_off(at.field("retry_back_off"), proto, &mut made)?;
    }
    if let Some(proto) = &proto.rate_limited_retry_back_off {
        let at = at.field("rate_limited_retry_back_off");
        made.rate_limited_back_off = Some(rate_limited_back_off(at, proto)?);
    }
    made.retriable_headers = response_headers(at, &proto.retriable_headers)?;
    for (index, proto) in proto.retriable_request_headers.iter().enumerate() {
        let at = at.index("retriable_request_headers", index);
        made.retriable_request_headers.push(matcher::header(at, proto)?);
    }
    for (index, predicate) in proto.retry_host_predicate.iter().enumerate() {
        host_predicate(at.index("retry_host_predicate", index), predicate, &mut made)?;
    }
    if let Some(proto) = &proto.retry_priority {
        priority(at.field("retry_priority"), proto, &mut made)?;
    }
    if proto.host_selection_retry_max_attempts != 0 {
        let attempts = proto.host_selection_retry_max_attempts;
        // A negative number is a large one (Envoy).
        made.host_selection_retry_max_attempts = u32::try_from(attempts).unwrap_or(u32::MAX);
    }
    if let Some(predicate) = proto.retry_options_predicates.first() {
        // Envoy has none built in either.
        let at = at.index("retry_options_predicates", 0);
        return Err(at.invalid(format!("{:?} is not a known extension", predicate.name)));
    }
    not_honoured!(at, proto, [refresh_cluster_on_retry]);
    Ok(made)
}

fn status_codes(at: At<'_>, proto: &pb::RetryPolicy, made: &mut RetryPolicy) {
    for (index, code) in proto.retriable_status_codes.iter().enumerate() {
        let status = u16::try_from(*code).ok().and_then(|code| StatusCode::from_u16(code).ok());
        match status {
            Some(status) => made.retriable_status_codes.push(status),
            None => at
                .index("retriable_status_codes", index)
                .finding(format!("{code} is no HTTP status and is passed over")),
        }
    }
}

/// Conditions on an answer's headers. Its status is no header here: `retriable_status_codes` names
/// those.
fn response_headers(
    at: At<'_>,
    protos: &[pb::HeaderMatcher],
) -> Result<Vec<HeaderMatcher>, Invalid> {
    let mut made = Vec::with_capacity(protos.len());
    for (index, proto) in protos.iter().enumerate() {
        let at = at.index("retriable_headers", index);
        if proto.name == ":status" {
            at.field("name").finding("\":status\" is passed over; use retriable_status_codes");
        } else {
            made.push(matcher::header(at, proto)?);
        }
    }
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

fn host_predicate(
    at: At<'_>,
    proto: &proto::RetryHostPredicate,
    made: &mut RetryPolicy,
) -> Result<(), Invalid> {
    let config = proto.config_type.as_ref().map(|ConfigType::TypedConfig(any)| any);
    let known = |is: fn(&Any) -> bool| config.filter(|any| is(any));
    if known(common::is_of::<PreviousHostsPredicate>).is_some() {
        made.avoid_previous_hosts = true;
    } else if known(common::is_of::<OmitCanaryHostsPredicate>).is_some() {
        made.omit_canary_hosts = true;
    } else if let Some(any) = known(common::is_of::<OmitHostMetadataConfig>) {
        let config: OmitHostMetadataConfig = common::any_of(at.field("typed_config"), any)?;
        let wanted = config.metadata_match.and_then(|mut all| all.filter_metadata.remove(BALANCER));
        let wanted = wanted.map(|wanted| structure(&wanted));
        made.omit_host_metadata = wanted.filter(|wanted| !wanted.is_empty());
    } else {
        return Err(at.invalid(format!("{:?} is not a known extension", proto.name)));
    }
    Ok(())
}

fn priority(
    at: At<'_>,
    proto: &proto::RetryPriority,
    made: &mut RetryPolicy,
) -> Result<(), Invalid> {
    let config = proto.config_type.as_ref();
    let config = config.map(|proto::retry_priority::ConfigType::TypedConfig(any)| any);
    let Some(any) = config.filter(|any| common::is_of::<PreviousPrioritiesConfig>(any)) else {
        // Envoy has no other, and refuses it.
        return Err(at.invalid(format!("{:?} is not a known extension", proto.name)));
    };
    let at = at.field("typed_config");
    let config: PreviousPrioritiesConfig = common::any_of(at, any)?;
    let frequency = u32::try_from(config.update_frequency).ok().filter(|often| *often > 0);
    let frequency = frequency
        .ok_or_else(|| at.field("update_frequency").invalid("must be greater than zero"))?;
    made.previous_priorities = Some(frequency);
    Ok(())
}

fn back_off(
    at: At<'_>,
    proto: &proto::RetryBackOff,
    made: &mut RetryPolicy,
) -> Result<(), Invalid> {
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

fn rate_limited_back_off(
    at: At<'_>,
    proto: &proto::RateLimitedRetryBackOff,
) -> Result<RateLimitedBackOff, Invalid> {
    use pb::retry_policy::ResetHeaderFormat as Format;
    if proto.reset_headers.is_empty() {
        return Err(at.field("reset_headers").invalid("is empty"));
    }
    let mut headers = Vec::with_capacity(proto.reset_headers.len());
    for (index, proto) in proto.reset_headers.iter().enumerate() {
        let at = at.index("reset_headers", index);
        let name = common::header_name(at.field("name"), &proto.name)?;
        let format = match Format::try_from(proto.format) {
            Ok(Format::Seconds) => ResetHeaderFormat::Seconds,
            Ok(Format::UnixTimestamp) => ResetHeaderFormat::UnixTimestamp,
            Err(_) => {
                return Err(at.field("format").invalid(format!("unknown value {}", proto.format)));
            }
        };
        headers.push(ResetHeader { name, format });
    }
    let mut made = RateLimitedBackOff::new(headers);
    if let Some(max) = &proto.max_interval {
        made.max_interval = common::positive_duration(at.field("max_interval"), max)?;
    }
    Ok(made)
}

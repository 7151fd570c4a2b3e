//! Outlier detection.

use std::time::Duration;

use mesh_core::resource::OutlierDetection;
use mesh_pb::envoy::config::cluster::v3 as pb;

use super::at::{At, Invalid, not_honoured};
use super::common;

/// The shortest interval: Envoy counts milliseconds.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(1);

pub(super) fn outlier_detection(
    at: At<'_>,
    proto: &pb::OutlierDetection,
) -> Result<OutlierDetection, Invalid> {
    let mut made = OutlierDetection::new();
    counts(proto, &mut made);
    percentages(at, proto, &mut made)?;
    durations(at, proto, &mut made)?;
    made.split_external_local_origin_errors = proto.split_external_local_origin_errors;
    if let Some(always) = &proto.always_eject_one_host {
        made.always_eject_one_host = always.value;
    }
    if let Some(returns) = &proto.successful_active_health_check_uneject_host {
        made.successful_active_health_check_uneject_host = returns.value;
    }
    not_honoured!(at, proto, [monitors, detect_degraded_hosts]);
    Ok(made)
}

fn counts(proto: &pb::OutlierDetection, made: &mut OutlierDetection) {
    macro_rules! take {
        ($($field:ident),*) => {$(
            if let Some(value) = &proto.$field {
                made.$field = value.value;
            }
        )*};
    }
    take!(
        consecutive_5xx,
        consecutive_gateway_failure,
        consecutive_local_origin_failure,
        success_rate_minimum_hosts,
        success_rate_request_volume,
        success_rate_stdev_factor,
        failure_percentage_minimum_hosts,
        failure_percentage_request_volume
    );
}

fn percentages(
    at: At<'_>,
    proto: &pb::OutlierDetection,
    made: &mut OutlierDetection,
) -> Result<(), Invalid> {
    macro_rules! take {
        ($($field:ident),*) => {$(
            if let Some(value) = &proto.$field {
                if value.value > 100 {
                    let text = format!("{} is not in 0 … 100", value.value);
                    return Err(at.field(stringify!($field)).invalid(text));
                }
                made.$field = value.value;
            }
        )*};
    }
    take!(
        max_ejection_percent,
        enforcing_consecutive_5xx,
        enforcing_consecutive_gateway_failure,
        enforcing_consecutive_local_origin_failure,
        enforcing_success_rate,
        enforcing_local_origin_success_rate,
        failure_percentage_threshold,
        enforcing_failure_percentage,
        enforcing_failure_percentage_local_origin
    );
    Ok(())
}

fn durations(
    at: At<'_>,
    proto: &pb::OutlierDetection,
    made: &mut OutlierDetection,
) -> Result<(), Invalid> {
    if let Some(interval) = &proto.interval {
        let interval = common::positive_duration(at.field("interval"), interval)?;
        made.interval = interval.max(SHORTEST_INTERVAL);
    }
    if let Some(base) = &proto.base_ejection_time {
        made.base_ejection_time = common::positive_duration(at.field("base_ejection_time"), base)?;
    }
    // Envoy refuses one that is shorter than the base, gRPC takes the longer of both.
    let longest = match &proto.max_ejection_time {
        Some(longest) => common::positive_duration(at.field("max_ejection_time"), longest)?,
        None => made.max_ejection_time,
    };
    made.max_ejection_time = longest.max(made.base_ejection_time);
    if let Some(jitter) = &proto.max_ejection_time_jitter {
        made.max_ejection_time_jitter =
            common::duration(at.field("max_ejection_time_jitter"), jitter)?;
    }
    Ok(())
}

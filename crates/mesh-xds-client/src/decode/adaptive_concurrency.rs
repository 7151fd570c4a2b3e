//! The filter that refuses what is more at once than latencies allow.

use std::time::Duration;

use http::StatusCode;
use mesh_core::resource::{AdaptiveConcurrency, GradientConfig, MinRtt};
use mesh_pb::envoy::extensions::filters::http::adaptive_concurrency::v3 as pb;
use mesh_pb::envoy::r#type::v3::Percent;
use mesh_pb::google::protobuf::{Any, UInt32Value};
use pb::adaptive_concurrency::ConcurrencyControllerConfig::GradientControllerConfig;
use pb::gradient_controller_config::MinimumRttCalculationParams;

use super::at::{At, Invalid};
use super::common;

/// The filter's configuration; `None` when it is off.
pub(super) fn filter(at: At<'_>, any: &Any) -> Result<Option<AdaptiveConcurrency>, Invalid> {
    let proto: pb::AdaptiveConcurrency = common::any_of(at, any)?;
    let at_config = at.field("gradient_controller_config");
    let Some(GradientControllerConfig(config)) = &proto.concurrency_controller_config else {
        return Err(at_config.invalid("is missing"));
    };
    let mut made = AdaptiveConcurrency::new(gradient(at_config, config)?);
    if let Some(status) = &proto.concurrency_limit_exceeded_status {
        // What is no error is answered as unavailable (Envoy).
        let code = u16::try_from(status.code).ok().filter(|code| (400..600).contains(code));
        let code = code.and_then(|code| StatusCode::from_u16(code).ok());
        made.limit_exceeded_status = code.unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    }
    let enabled = proto.enabled.as_ref().and_then(|flag| flag.default_value.as_ref());
    Ok(enabled.is_none_or(|enabled| enabled.value).then_some(made))
}

fn gradient(at: At<'_>, proto: &pb::GradientControllerConfig) -> Result<GradientConfig, Invalid> {
    let at_limits = at.field("concurrency_limit_params");
    let limits = proto.concurrency_limit_params.as_ref();
    let limits = limits.ok_or_else(|| at_limits.invalid("is missing"))?;
    let at_interval = at_limits.field("concurrency_update_interval");
    let interval = limits.concurrency_update_interval.as_ref();
    let interval = interval.ok_or_else(|| at_interval.invalid("is missing"))?;
    let interval = common::positive_duration(at_interval, interval)?;
    let at_rtt = at.field("min_rtt_calc_params");
    let rtt = proto.min_rtt_calc_params.as_ref().ok_or_else(|| at_rtt.invalid("is missing"))?;
    let mut made = GradientConfig::new(interval, min_rtt(at_rtt, rtt)?);
    let max = positive(at_limits.field("max_concurrency_limit"), &limits.max_concurrency_limit)?;
    made.max_limit = max.unwrap_or(made.max_limit);
    let of_measuring = positive(at_rtt.field("min_concurrency"), &rtt.min_concurrency)?;
    let own = positive(at_limits.field("min_concurrency_limit"), &limits.min_concurrency_limit)?;
    made.min_limit = own.or(of_measuring).unwrap_or(made.min_limit);
    let percentile = &proto.sample_aggregate_percentile;
    let percentile = share(at.field("sample_aggregate_percentile"), percentile)?;
    made.percentile = percentile.unwrap_or(made.percentile);
    made.buffer = share(at_rtt.field("buffer"), &rtt.buffer)?.unwrap_or(made.buffer);
    Ok(made)
}

fn min_rtt(at: At<'_>, proto: &MinimumRttCalculationParams) -> Result<MinRtt, Invalid> {
    /// More often than that the limit would be at its least most of the time (PGV).
    const SHORTEST: Duration = Duration::from_millis(1);
    let (at_interval, at_fixed) = (at.field("interval"), at.field("fixed_value"));
    let at_least = |at: At<'_>, value: Duration| match value >= SHORTEST {
        true => Ok(value),
        false => Err(at.invalid("is less than 1 ms")),
    };
    match (&proto.interval, &proto.fixed_value) {
        (Some(_), Some(_)) => {
            Err(at_fixed.invalid("only one of interval and fixed_value may be given"))
        }
        (None, None) => Err(at_interval.invalid("is missing, and so is fixed_value")),
        (None, Some(fixed)) => {
            let fixed = common::positive_duration(at_fixed, fixed)?;
            at_least(at_fixed, fixed).map(MinRtt::Fixed)
        }
        (Some(interval), None) => {
            let interval = common::duration(at_interval, interval)?;
            let interval = at_least(at_interval, interval)?;
            let jitter = share(at.field("jitter"), &proto.jitter)?.unwrap_or(0.15);
            let requests = positive(at.field("request_count"), &proto.request_count)?;
            Ok(MinRtt::Measured { interval, jitter, requests: requests.unwrap_or(50) })
        }
    }
}

fn positive(at: At<'_>, value: &Option<UInt32Value>) -> Result<Option<u32>, Invalid> {
    match value {
        Some(UInt32Value { value: 0 }) => Err(at.invalid("must be greater than zero")),
        found => Ok(found.as_ref().map(|value| value.value)),
    }
}

fn share(at: At<'_>, percent: &Option<Percent>) -> Result<Option<f64>, Invalid> {
    match percent {
        Some(Percent { value }) if !(0.0..=100.0).contains(value) => {
            Err(at.field("value").invalid(format!("{value} is not from 0 to 100")))
        }
        found => Ok(found.as_ref().map(|percent| percent.value / 100.0)),
    }
}

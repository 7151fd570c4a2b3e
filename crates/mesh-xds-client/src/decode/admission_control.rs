//! The filter that refuses requests when too many failed of late.

use std::time::Duration;

use mesh_core::resource::{AdmissionControl, Samples};
use mesh_pb::envoy::config::core::v3::RuntimePercent;
use mesh_pb::envoy::extensions::filters::http::admission_control::v3 as pb;
use mesh_pb::google::protobuf::Any;
use pb::admission_control::EvaluationCriteria;

use super::at::{At, Invalid};
use super::{balancing, common};

/// The filter's configuration; `None` when it is off.
pub(super) fn filter(at: At<'_>, any: &Any) -> Result<Option<AdmissionControl>, Invalid> {
    let proto: pb::AdmissionControl = common::any_of(at, any)?;
    let window = match &proto.sampling_window {
        Some(window) => common::duration(at.field("sampling_window"), window)?,
        None => DEFAULT_WINDOW,
    };
    if window.as_secs() > Samples::LONGEST_SECONDS {
        let text = format!("{} s are sampled", Samples::LONGEST_SECONDS);
        at.field("sampling_window").finding(text);
    }
    let mut made = AdmissionControl::new(window);
    let Some(EvaluationCriteria::SuccessCriteria(criteria)) = &proto.evaluation_criteria else {
        return Err(at.field("evaluation_criteria").invalid("is missing"));
    };
    success(at.field("success_criteria"), criteria, &mut made)?;
    if let Some(aggression) = &proto.aggression {
        made.aggression = balancing::double(at.field("aggression"), aggression)?.max(1.0);
    }
    if let Some(share) = share(at.field("sr_threshold"), proto.sr_threshold.as_ref())? {
        if share < 0.01 {
            return Err(at.field("sr_threshold").invalid("cannot be less than 1.0%"));
        }
        made.sr_threshold = share;
    }
    if let Some(rps) = &proto.rps_threshold {
        made.rps_threshold = rps.default_value;
    }
    let most =
        share(at.field("max_rejection_probability"), proto.max_rejection_probability.as_ref())?;
    made.max_rejection_probability = most.unwrap_or(made.max_rejection_probability);
    let enabled = proto.enabled.as_ref().and_then(|flag| flag.default_value.as_ref());
    Ok(enabled.is_none_or(|enabled| enabled.value).then_some(made))
}

fn success(
    at: At<'_>,
    proto: &pb::admission_control::SuccessCriteria,
    made: &mut AdmissionControl,
) -> Result<(), Invalid> {
    if let Some(proto) = &proto.http_criteria {
        let at = at.field("http_criteria");
        if proto.http_success_status.is_empty() {
            return Err(at.field("http_success_status").invalid("is empty"));
        }
        made.http_success_status.clear();
        for (index, range) in proto.http_success_status.iter().enumerate() {
            let of = |value: i32| u16::try_from(value).ok().filter(|status| *status <= 600);
            let known = of(range.start).zip(of(range.end));
            let known = known.filter(|(start, end)| (100..600).contains(start) && start <= end);
            let (start, end) = known.ok_or_else(|| {
                let text = format!("invalid HTTP range: [{}, {})", range.start, range.end);
                at.index("http_success_status", index).invalid(text)
            })?;
            made.http_success_status.push((start, end));
        }
    }
    if let Some(proto) = &proto.grpc_criteria {
        let at = at.field("grpc_criteria");
        if proto.grpc_success_status.is_empty() {
            return Err(at.field("grpc_success_status").invalid("is empty"));
        }
        made.grpc_success_status.clear();
        for (index, status) in proto.grpc_success_status.iter().enumerate() {
            let known = u16::try_from(*status).ok().filter(|status| *status <= 16);
            made.grpc_success_status.push(known.ok_or_else(|| {
                let at = at.index("grpc_success_status", index);
                at.invalid(format!("invalid gRPC code {status}"))
            })?);
        }
    }
    Ok(())
}

/// A share of 1; more than all is all.
fn share(at: At<'_>, proto: Option<&RuntimePercent>) -> Result<Option<f64>, Invalid> {
    let Some(value) = proto.and_then(|proto| proto.default_value.as_ref()) else { return Ok(None) };
    if !(0.0..=100.0).contains(&value.value) {
        let text = format!("{} is not in 0 … 100", value.value);
        return Err(at.field("default_value").field("value").invalid(text));
    }
    Ok(Some(value.value / 100.0))
}

const DEFAULT_WINDOW: Duration = Duration::from_secs(30);

//! The fault filter.

use http::StatusCode;
use mesh_core::resource::{
    AbortKind, DelayKind, Denominator, FaultAbort, FaultDelay, FractionalPercent, HttpFault,
};
use mesh_pb::envoy::extensions::filters::common::fault::v3 as common_pb;
use mesh_pb::envoy::extensions::filters::http::fault::v3 as pb;
use mesh_pb::envoy::r#type::v3 as type_pb;
use mesh_pb::envoy::r#type::v3::fractional_percent::DenominatorType;
use mesh_pb::google::protobuf::Any;
use pb::fault_abort::ErrorType;

use super::at::{At, Invalid, not_honoured};
use super::{common, matcher};

/// The filter's configuration, in a connection manager as well as on a route.
pub(super) fn fault(at: At<'_>, any: &Any) -> Result<HttpFault, Invalid> {
    let proto: pb::HttpFault = common::any_of(at, any)?;
    let mut made = HttpFault::new();
    if let Some(proto) = &proto.delay {
        made.delay = Some(delay(at.field("delay"), proto)?);
    }
    if let Some(proto) = &proto.abort {
        made.abort = Some(abort(at.field("abort"), proto)?);
    }
    made.upstream_cluster =
        Some(proto.upstream_cluster.as_str()).filter(|name| !name.is_empty()).map(Into::into);
    for (index, proto) in proto.headers.iter().enumerate() {
        made.headers.push(matcher::header(at.index("headers", index), proto)?);
    }
    made.downstream_nodes =
        proto.downstream_nodes.iter().map(|node| node.as_str().into()).collect();
    made.max_active_faults = proto.max_active_faults.as_ref().map(|max| max.value);
    not_honoured!(
        at,
        proto,
        [
            response_rate_limit,
            delay_percent_runtime,
            abort_percent_runtime,
            delay_duration_runtime,
            abort_http_status_runtime,
            max_active_faults_runtime,
            response_rate_limit_percent_runtime,
            abort_grpc_status_runtime,
            filter_metadata,
        ]
    );
    Ok(made)
}

fn delay(at: At<'_>, proto: &common_pb::FaultDelay) -> Result<FaultDelay, Invalid> {
    use common_pb::fault_delay::FaultDelaySecifier as Specifier;
    let kind = match &proto.fault_delay_secifier {
        Some(Specifier::FixedDelay(delay)) => {
            DelayKind::Fixed(common::positive_duration(at.field("fixed_delay"), delay)?)
        }
        Some(Specifier::HeaderDelay(_)) => DelayKind::Header,
        None => return Err(at.invalid("has no known fault delay specifier")),
    };
    let percentage = optional_percentage(at.field("percentage"), proto.percentage.as_ref())?;
    Ok(FaultDelay { kind, percentage })
}

fn abort(at: At<'_>, proto: &pb::FaultAbort) -> Result<FaultAbort, Invalid> {
    let kind = match &proto.error_type {
        Some(ErrorType::HttpStatus(status)) => {
            let valid = u16::try_from(*status).ok().filter(|status| (200..600).contains(status));
            let valid = valid.and_then(|status| StatusCode::from_u16(status).ok());
            AbortKind::HttpStatus(valid.ok_or_else(|| {
                at.field("http_status").invalid(format!("{status} is not in 200 … 599"))
            })?)
        }
        Some(ErrorType::GrpcStatus(status)) => {
            let valid = u16::try_from(*status).ok();
            AbortKind::GrpcStatus(valid.ok_or_else(|| {
                at.field("grpc_status").invalid(format!("{status} is no gRPC status"))
            })?)
        }
        Some(ErrorType::HeaderAbort(_)) => AbortKind::Header,
        None => return Err(at.invalid("has no known error type")),
    };
    let percentage = optional_percentage(at.field("percentage"), proto.percentage.as_ref())?;
    not_honoured!(at, proto, [response_body]);
    Ok(FaultAbort { kind, percentage })
}

/// A share that is none when unset.
fn optional_percentage(
    at: At<'_>,
    proto: Option<&type_pb::FractionalPercent>,
) -> Result<FractionalPercent, Invalid> {
    proto.map_or(Ok(FractionalPercent::NONE), |proto| percentage(at, proto))
}

/// A share with its denominator.
pub(super) fn percentage(
    at: At<'_>,
    proto: &type_pb::FractionalPercent,
) -> Result<FractionalPercent, Invalid> {
    let denominator = match DenominatorType::try_from(proto.denominator) {
        Ok(DenominatorType::Hundred) => Denominator::Hundred,
        Ok(DenominatorType::TenThousand) => Denominator::TenThousand,
        Ok(DenominatorType::Million) => Denominator::Million,
        Err(_) => {
            let text = format!("unknown value {}", proto.denominator);
            return Err(at.field("denominator").invalid(text));
        }
    };
    Ok(FractionalPercent { numerator: proto.numerator, denominator })
}

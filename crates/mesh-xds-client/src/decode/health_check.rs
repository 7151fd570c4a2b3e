//! Active health checks.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use mesh_core::resource::{
    GrpcHealthCheck, HealthCheck, HealthChecker, HttpHealthCheck, TcpHealthCheck, UpstreamProtocol,
};
use mesh_pb::envoy::config::core::v3 as pb;
use mesh_pb::envoy::config::core::v3::RequestMethod;
use mesh_pb::envoy::config::core::v3::health_check as kinds;
use mesh_pb::envoy::r#type::v3::{CodecClientType, Int64Range};
use mesh_pb::google::protobuf::Duration as Proto;
use mesh_pb::google::protobuf::UInt32Value;

use super::at::{At, Invalid, not_honoured};
use super::{common, headers, matcher};

/// Envoy knows one, gRPC none.
pub(super) fn first(
    at: At<'_>,
    protos: &[pb::HealthCheck],
) -> Result<Option<Arc<HealthCheck>>, Invalid> {
    let mut first = None;
    for (index, proto) in protos.iter().enumerate() {
        let at = at.index("health_checks", index);
        let made = health_check(at, proto)?;
        if first.is_some() {
            at.finding("is not honoured: the first one counts");
        }
        first.get_or_insert_with(|| Arc::new(made));
    }
    Ok(first)
}

fn health_check(at: At<'_>, proto: &pb::HealthCheck) -> Result<HealthCheck, Invalid> {
    let timeout = required(at.field("timeout"), proto.timeout.as_ref())?;
    let interval = required(at.field("interval"), proto.interval.as_ref())?;
    let thresholds = (
        threshold(at.field("unhealthy_threshold"), proto.unhealthy_threshold.as_ref())?,
        threshold(at.field("healthy_threshold"), proto.healthy_threshold.as_ref())?,
    );
    let mut made =
        HealthCheck::new(checker(at, proto)?, timeout, interval, thresholds.0, thresholds.1);
    let unset_or = |field, proto: &Option<Proto>, default| {
        let at = at.field(field);
        proto.as_ref().map_or(Ok(default), |proto| common::positive_duration(at, proto))
    };
    let jitter = |field, proto: &Option<Proto>| {
        common::optional_duration(at.field(field), proto.as_ref()).map(Option::unwrap_or_default)
    };
    made.initial_jitter = jitter("initial_jitter", &proto.initial_jitter)?;
    made.interval_jitter = jitter("interval_jitter", &proto.interval_jitter)?;
    made.interval_jitter_percent = proto.interval_jitter_percent;
    made.alt_port = match &proto.alt_port {
        Some(port) => Some(self::port(at.field("alt_port"), port.value)?),
        None => None,
    };
    made.reuse_connection = proto.reuse_connection.as_ref().is_none_or(|reuse| reuse.value);
    let idle = unset_or("no_traffic_interval", &proto.no_traffic_interval, IDLE_INTERVAL)?;
    made.no_traffic_interval = idle;
    made.no_traffic_healthy_interval =
        unset_or("no_traffic_healthy_interval", &proto.no_traffic_healthy_interval, idle)?;
    let unhealthy = unset_or("unhealthy_interval", &proto.unhealthy_interval, interval)?;
    made.unhealthy_interval = unhealthy;
    made.unhealthy_edge_interval =
        unset_or("unhealthy_edge_interval", &proto.unhealthy_edge_interval, unhealthy)?;
    made.healthy_edge_interval =
        unset_or("healthy_edge_interval", &proto.healthy_edge_interval, interval)?;
    made.always_log_health_check_failures = proto.always_log_health_check_failures;
    made.always_log_health_check_success = proto.always_log_health_check_success;
    report(at, proto);
    Ok(made)
}

/// How often endpoints of a cluster without traffic are asked when nothing is said.
const IDLE_INTERVAL: Duration = Duration::from_secs(60);

#[allow(deprecated, reason = "an older field is reported as well")]
fn report(at: At<'_>, proto: &pb::HealthCheck) {
    not_honoured!(
        at,
        proto,
        [event_log_path, event_logger, event_service, tls_options, transport_socket_match_criteria,]
    );
}

fn required(at: At<'_>, proto: Option<&Proto>) -> Result<Duration, Invalid> {
    common::positive_duration(at, proto.ok_or_else(|| at.invalid("is missing"))?)
}

/// Zero counts as one, as in Envoy.
fn threshold(at: At<'_>, proto: Option<&UInt32Value>) -> Result<u32, Invalid> {
    proto.map(|proto| proto.value.max(1)).ok_or_else(|| at.invalid("is missing"))
}

fn port(at: At<'_>, value: u32) -> Result<u16, Invalid> {
    u16::try_from(value).map_err(|_| at.invalid(format!("{value} is not a port")))
}

fn checker(at: At<'_>, proto: &pb::HealthCheck) -> Result<HealthChecker, Invalid> {
    use kinds::HealthChecker as Proto;
    match &proto.health_checker {
        Some(Proto::HttpHealthCheck(proto)) => {
            Ok(HealthChecker::Http(http(at.field("http_health_check"), proto)?))
        }
        Some(Proto::GrpcHealthCheck(proto)) => {
            Ok(HealthChecker::Grpc(grpc(at.field("grpc_health_check"), proto)?))
        }
        Some(Proto::TcpHealthCheck(proto)) => {
            Ok(HealthChecker::Tcp(tcp(at.field("tcp_health_check"), proto)?))
        }
        Some(Proto::CustomHealthCheck(_)) => {
            Err(at.field("custom_health_check").invalid("is not supported"))
        }
        None => Err(at.invalid("has no health checker")),
    }
}

fn http(at: At<'_>, proto: &kinds::HttpHealthCheck) -> Result<HttpHealthCheck, Invalid> {
    common::non_empty_line(at.field("path"), &proto.path)?;
    common::one_line(at.field("host"), &proto.host)?;
    let mut made = HttpHealthCheck::new(proto.path.as_str());
    made.host = proto.host.as_str().into();
    made.method = method(at.field("method"), proto.method)?;
    made.receive = payloads(at, &proto.receive)?;
    made.request_headers = added(at, "request_headers_to_add", &proto.request_headers_to_add)?;
    if !proto.expected_statuses.is_empty() {
        made.expected_statuses = statuses(at, "expected_statuses", &proto.expected_statuses)?;
    }
    made.retriable_statuses = statuses(at, "retriable_statuses", &proto.retriable_statuses)?;
    made.protocol = match CodecClientType::try_from(proto.codec_client_type) {
        Ok(CodecClientType::Http1) => UpstreamProtocol::Http1,
        Ok(CodecClientType::Http2) => UpstreamProtocol::Http2,
        Ok(CodecClientType::Http3) => {
            return Err(at.field("codec_client_type").invalid("HTTP3 is not supported"));
        }
        Err(_) => return Err(at.field("codec_client_type").invalid("unknown value")),
    };
    if let Some(name) = &proto.service_name_matcher {
        let name = matcher::string(at.field("service_name_matcher"), name)?;
        made.service_name = Some(name);
    }
    if let Some(send) = &proto.send {
        made.send = payload(at.field("send"), send)?;
    }
    not_honoured!(at, proto, [response_buffer_size, request_headers_to_remove]);
    Ok(made)
}

fn method(at: At<'_>, value: i32) -> Result<Method, Invalid> {
    Ok(match RequestMethod::try_from(value) {
        Ok(RequestMethod::MethodUnspecified | RequestMethod::Get) => Method::GET,
        Ok(RequestMethod::Head) => Method::HEAD,
        Ok(RequestMethod::Post) => Method::POST,
        Ok(RequestMethod::Put) => Method::PUT,
        Ok(RequestMethod::Delete) => Method::DELETE,
        Ok(RequestMethod::Options) => Method::OPTIONS,
        Ok(RequestMethod::Trace) => Method::TRACE,
        Ok(RequestMethod::Patch) => Method::PATCH,
        Ok(RequestMethod::Connect) => return Err(at.invalid("CONNECT is not allowed")),
        Err(_) => return Err(at.invalid(format!("unknown value {value}"))),
    })
}

/// Ranges of statuses from 100 to 599.
fn statuses(
    at: At<'_>,
    field: &'static str,
    protos: &[Int64Range],
) -> Result<Vec<Range<u16>>, Invalid> {
    let mut made = Vec::with_capacity(protos.len());
    for (index, proto) in protos.iter().enumerate() {
        let bound = |value: i64| u16::try_from(value).ok().filter(|v| (100..=600).contains(v));
        match (bound(proto.start), bound(proto.end)) {
            (Some(start), Some(end)) if start < end => made.push(start..end),
            _ => {
                let text = "is no range within 100 to 599";
                return Err(at.index(field, index).invalid(text));
            }
        }
    }
    Ok(made)
}

fn grpc(at: At<'_>, proto: &kinds::GrpcHealthCheck) -> Result<GrpcHealthCheck, Invalid> {
    common::one_line(at.field("authority"), &proto.authority)?;
    let mut made = GrpcHealthCheck::default();
    made.service_name = proto.service_name.as_str().into();
    made.authority = proto.authority.as_str().into();
    made.initial_metadata = added(at, "initial_metadata", &proto.initial_metadata)?;
    Ok(made)
}

/// Headers of a check. What their values are made from is not looked at: there is no request.
fn added(
    at: At<'_>,
    field: &'static str,
    protos: &[pb::HeaderValueOption],
) -> Result<HeaderMap, Invalid> {
    headers::check_count(at.field(field), protos.len())?;
    let mut made = HeaderMap::new();
    for (index, proto) in protos.iter().enumerate() {
        let at = at.index(field, index);
        let at = at.field("header");
        let header = proto.header.as_ref().ok_or_else(|| at.invalid("is missing"))?;
        let name = common::header_name(at.field("key"), &header.key)?;
        if let Some(value) = common::header_value(at.field("value"), &header.value)? {
            made.append(name, value);
        }
    }
    Ok(made)
}

fn tcp(at: At<'_>, proto: &kinds::TcpHealthCheck) -> Result<TcpHealthCheck, Invalid> {
    if proto.proxy_protocol_config.is_some() {
        return Err(at.field("proxy_protocol_config").invalid("is not supported"));
    }
    let mut made = TcpHealthCheck::default();
    if let Some(send) = &proto.send {
        made.send = payload(at.field("send"), send)?;
    }
    made.receive = payloads(at, &proto.receive)?;
    Ok(made)
}

fn payloads(at: At<'_>, protos: &[kinds::Payload]) -> Result<Vec<Bytes>, Invalid> {
    let protos = protos.iter().enumerate();
    protos.map(|(index, proto)| payload(at.index("receive", index), proto)).collect()
}

/// Text is in hexadecimal.
fn payload(at: At<'_>, proto: &kinds::Payload) -> Result<Bytes, Invalid> {
    match &proto.payload {
        Some(kinds::payload::Payload::Binary(bytes)) => Ok(Bytes::copy_from_slice(bytes)),
        Some(kinds::payload::Payload::Text(text)) => {
            let at = at.field("text");
            common::non_empty(at, text)?;
            let digits: Option<Vec<u32>> = text.chars().map(|c| c.to_digit(16)).collect();
            let digits = digits.filter(|digits| digits.len() % 2 == 0);
            let digits = digits.ok_or_else(|| at.invalid("is not hexadecimal"))?;
            Ok(digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect())
        }
        None => Err(at.invalid("is empty")),
    }
}

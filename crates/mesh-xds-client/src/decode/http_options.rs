//! How connections to endpoints are used.

use mesh_core::resource::{ConnectionOptions, Http2Keepalive, Http2Options, PreconnectPolicy};
use mesh_pb::envoy::config::cluster::v3 as pb;
use mesh_pb::envoy::config::core::v3 as core;
use mesh_pb::google::protobuf::{DoubleValue, UInt32Value};

use super::at::{At, Invalid, not_honoured};
use super::common;

/// The most streams and the largest windows that HTTP/2 has.
const LARGEST: u32 = i32::MAX as u32;
/// The window that HTTP/2 begins with, below which it cannot be set here, as in Envoy.
const SMALLEST_WINDOW: u32 = 65_535;

pub(super) fn common(
    at: At<'_>,
    proto: &core::HttpProtocolOptions,
    made: &mut ConnectionOptions,
) -> Result<(), Invalid> {
    let duration =
        |field, value: &Option<_>| common::optional_duration(at.field(field), value.as_ref());
    not_honoured!(
        at,
        proto,
        [
            max_headers_count,
            max_response_headers_kb,
            max_stream_duration,
            headers_with_underscores_action,
        ]
    );
    made.idle_timeout = duration("idle_timeout", &proto.idle_timeout)?;
    made.max_lifetime = duration("max_connection_duration", &proto.max_connection_duration)?;
    duration("max_stream_duration", &proto.max_stream_duration)?;
    if let Some(jitter) = &proto.max_connection_duration_jitter {
        let at = at.field("max_connection_duration_jitter");
        made.max_lifetime_jitter_percent = percent(at, jitter.value)?;
    }
    if let Some(max) = proto.max_requests_per_connection.as_ref().and_then(limit) {
        made.max_requests = Some(max);
    }
    Ok(())
}

fn percent(at: At<'_>, value: f64) -> Result<f64, Invalid> {
    if !(0.0..=100.0).contains(&value) {
        return Err(at.invalid(format!("{value} is not from 0 to 100")));
    }
    Ok(value)
}

/// A limit of which zero is none.
pub(super) fn limit(value: &UInt32Value) -> Option<u32> {
    (value.value > 0).then_some(value.value)
}

#[allow(deprecated, reason = "an older field is reported as well")]
pub(super) fn http2(
    at: At<'_>,
    proto: &core::Http2ProtocolOptions,
) -> Result<Http2Options, Invalid> {
    let within = |field, value: &Option<UInt32Value>, smallest: u32| {
        let Some(UInt32Value { value }) = *value else { return Ok(None) };
        if (smallest..=LARGEST).contains(&value) {
            return Ok(Some(value));
        }
        Err(at.field(field).invalid(format!("{value} is not from {smallest} to {LARGEST}")))
    };
    not_honoured!(
        at,
        proto,
        [
            hpack_table_size,
            allow_connect,
            allow_metadata,
            max_outbound_frames,
            max_outbound_control_frames,
            max_consecutive_inbound_frames_with_empty_payload,
            max_inbound_priority_frames_per_stream,
            max_inbound_window_update_frames_per_data_frame_sent,
            stream_error_on_invalid_http_messaging,
            override_stream_error_on_invalid_http_message,
            custom_settings_parameters,
            max_metadata_size,
            enable_huffman_encoding,
            max_header_field_size_kb,
        ]
    );
    let mut made = Http2Options::default();
    made.max_concurrent_streams =
        within("max_concurrent_streams", &proto.max_concurrent_streams, 1)?;
    let stream = &proto.initial_stream_window_size;
    made.initial_stream_window_bytes =
        within("initial_stream_window_size", stream, SMALLEST_WINDOW)?;
    let connection = &proto.initial_connection_window_size;
    made.initial_connection_window_bytes =
        within("initial_connection_window_size", connection, SMALLEST_WINDOW)?;
    if let Some(settings) = &proto.connection_keepalive {
        made.keepalive = Some(keepalive(at.field("connection_keepalive"), settings)?);
    }
    Ok(made)
}

fn keepalive(at: At<'_>, proto: &core::KeepaliveSettings) -> Result<Http2Keepalive, Invalid> {
    not_honoured!(at, proto, [interval_jitter, connection_idle_interval]);
    let at_timeout = at.field("timeout");
    let timeout = proto.timeout.as_ref().ok_or_else(|| at_timeout.invalid("is missing"))?;
    let timeout = common::positive_duration(at_timeout, timeout)?;
    let positive = |field, value: &Option<_>| {
        let at = at.field(field);
        value.as_ref().map(|value| common::positive_duration(at, value)).transpose()
    };
    positive("connection_idle_interval", &proto.connection_idle_interval)?;
    Ok(Http2Keepalive::new(positive("interval", &proto.interval)?, timeout))
}

/// Connections made before they are needed.
pub(super) fn preconnect(
    at: At<'_>,
    proto: &pb::cluster::PreconnectPolicy,
) -> Result<PreconnectPolicy, Invalid> {
    let ratio = |field, value: Option<&DoubleValue>| match value {
        Some(value) if !(1.0..=3.0).contains(&value.value) => {
            Err(at.field(field).invalid(format!("{} is not from 1 to 3", value.value)))
        }
        found => Ok(found.map_or(1.0, |value| value.value)),
    };
    let mut made = PreconnectPolicy::default();
    made.per_upstream_ratio =
        ratio("per_upstream_preconnect_ratio", proto.per_upstream_preconnect_ratio.as_ref())?;
    made.predictive_ratio =
        ratio("predictive_preconnect_ratio", proto.predictive_preconnect_ratio.as_ref())?;
    Ok(made)
}

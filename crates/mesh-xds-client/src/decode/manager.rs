//! What a connection manager may not say, whether or not anything here goes by it.

use std::collections::HashSet;

use hcm::http_connection_manager::{CodecType, ServerHeaderTransformation};
use mesh_pb::envoy::config::core::v3::HttpProtocolOptions;
use mesh_pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use mesh_pb::google::protobuf::{Duration, UInt32Value};

use super::at::{At, Invalid};
use super::{common, http_options};

/// Checks what Envoy checks.
pub(super) fn check(at: At<'_>, proto: &hcm::HttpConnectionManager) -> Result<(), Invalid> {
    let unknown = |field, value: i32| at.field(field).invalid(format!("unknown value {value}"));
    if CodecType::try_from(proto.codec_type).is_err() {
        return Err(unknown("codec_type", proto.codec_type));
    }
    let transformation = proto.server_header_transformation;
    if ServerHeaderTransformation::try_from(transformation).is_err() {
        return Err(unknown("server_header_transformation", transformation));
    }
    common::one_line(at.field("server_name"), &proto.server_name)?;
    /// The largest head of a request, in KiB (PGV).
    const LARGEST_HEAD: u32 = 8_192;
    let largest = proto.max_request_headers_kb.as_ref();
    within(at, "max_request_headers_kb", largest, 1..=LARGEST_HEAD)?;
    for (field, value) in [
        ("drain_timeout", &proto.drain_timeout),
        ("delayed_close_timeout", &proto.delayed_close_timeout),
        ("request_timeout", &proto.request_timeout),
        ("request_headers_timeout", &proto.request_headers_timeout),
        ("stream_idle_timeout", &proto.stream_idle_timeout),
    ] {
        duration(at, field, value.as_ref())?;
    }
    if let Some(options) = &proto.common_http_protocol_options {
        common_options(at.field("common_http_protocol_options"), options)?;
    }
    if let Some(options) = &proto.http2_protocol_options {
        http_options::http2(at.field("http2_protocol_options"), options)?;
    }
    upgrades(at, proto)?;
    for (index, extension) in proto.early_header_mutation_extensions.iter().enumerate() {
        if extension.typed_config.is_none() {
            let at = at.index("early_header_mutation_extensions", index);
            return Err(at.field("typed_config").invalid("is missing"));
        }
    }
    Ok(())
}

fn common_options(at: At<'_>, proto: &HttpProtocolOptions) -> Result<(), Invalid> {
    within(at, "max_headers_count", proto.max_headers_count.as_ref(), 1..=u32::MAX)?;
    duration(at, "idle_timeout", proto.idle_timeout.as_ref())?;
    duration(at, "max_connection_duration", proto.max_connection_duration.as_ref())
}

fn upgrades(at: At<'_>, proto: &hcm::HttpConnectionManager) -> Result<(), Invalid> {
    let mut seen = HashSet::new();
    for (index, upgrade) in proto.upgrade_configs.iter().enumerate() {
        if !seen.insert(upgrade.upgrade_type.to_ascii_lowercase()) {
            let at = at.index("upgrade_configs", index);
            let text = format!("{:?} is there already", upgrade.upgrade_type);
            return Err(at.field("upgrade_type").invalid(text));
        }
    }
    Ok(())
}

fn duration(at: At<'_>, field: &'static str, value: Option<&Duration>) -> Result<(), Invalid> {
    common::optional_duration(at.field(field), value).map(|_| ())
}

fn within(
    at: At<'_>,
    field: &'static str,
    value: Option<&UInt32Value>,
    allowed: std::ops::RangeInclusive<u32>,
) -> Result<(), Invalid> {
    match value {
        Some(UInt32Value { value }) if !allowed.contains(value) => {
            let (smallest, largest) = allowed.into_inner();
            Err(at.field(field).invalid(format!("{value} is not from {smallest} to {largest}")))
        }
        _ => Ok(()),
    }
}

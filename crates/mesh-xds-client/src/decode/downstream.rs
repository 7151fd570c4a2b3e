//! Who the client of a request from outside is.

use http::{HeaderValue, StatusCode};
use mesh_core::resource::{DownstreamOptions, InternalAddresses, OriginalIpDetection};
use mesh_pb::envoy::config::core::v3 as core;
use mesh_pb::envoy::config::core::v3::scheme_header_transformation::Transformation;
use mesh_pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use mesh_pb::envoy::extensions::http::original_ip_detection::custom_header::v3::CustomHeaderConfig;
use mesh_pb::envoy::extensions::http::original_ip_detection::xff::v3::XffConfig;
use mesh_pb::google::protobuf::Any;

use super::at::{At, Invalid, is_set};
use super::common;

pub(super) fn options(
    at: At<'_>,
    proto: &hcm::HttpConnectionManager,
) -> Result<DownstreamOptions, Invalid> {
    let mut made = DownstreamOptions::default();
    made.use_remote_address = proto.use_remote_address.is_some_and(|on| on.value);
    made.xff_num_trusted_hops = proto.xff_num_trusted_hops;
    made.skip_xff_append = proto.skip_xff_append;
    made.append_x_forwarded_port = proto.append_x_forwarded_port;
    made.original_ip_detection = detection(at, proto)?;
    made.internal = proto
        .internal_address_config
        .as_ref()
        .map(|proto| internal(at.field("internal_address_config"), proto))
        .transpose()?;
    if let Some(transformation) = &proto.scheme_header_transformation {
        let at = at.field("scheme_header_transformation");
        made.scheme_to_overwrite = scheme(at, transformation)?;
    }
    Ok(made)
}

/// A header's value, which may have no line ends.
pub(super) fn via(at: At<'_>, text: &str) -> Result<Option<HeaderValue>, Invalid> {
    common::header_value(at, text)
}

fn detection(
    at: At<'_>,
    proto: &hcm::HttpConnectionManager,
) -> Result<Vec<OriginalIpDetection>, Invalid> {
    const FIELD: &str = "original_ip_detection_extensions";
    let extensions = &proto.original_ip_detection_extensions;
    if extensions.is_empty() {
        return Ok(Vec::new());
    }
    let text = "cannot be set together with original_ip_detection_extensions";
    if proto.use_remote_address.is_some_and(|on| on.value) {
        return Err(at.field("use_remote_address").invalid(text));
    }
    if proto.xff_num_trusted_hops != 0 {
        return Err(at.field("xff_num_trusted_hops").invalid(text));
    }
    let each = extensions.iter().enumerate();
    each.map(|(index, extension)| way(at.index(FIELD, index), extension)).collect()
}

fn way(at: At<'_>, extension: &core::TypedExtensionConfig) -> Result<OriginalIpDetection, Invalid> {
    let found = extension.typed_config.as_ref();
    if found.is_some_and(common::is_of::<CustomHeaderConfig>) {
        return custom_header(at, found);
    }
    let proto: XffConfig = common::extension(at, found)?;
    let at = at.field("typed_config");
    let mut trusted = Vec::new();
    if let Some(list) = &proto.xff_trusted_cidrs {
        if proto.xff_num_trusted_hops > 0 {
            let text = "cannot be set together with xff_trusted_cidrs";
            return Err(at.field("xff_num_trusted_hops").invalid(text));
        }
        let at = at.field("xff_trusted_cidrs");
        for (index, range) in list.cidrs.iter().enumerate() {
            trusted.push(common::cidr(at.index("cidrs", index), range)?);
        }
    }
    let skip_append = proto.skip_xff_append.as_ref().is_none_or(|skip| skip.value);
    let num_trusted_hops = proto.xff_num_trusted_hops;
    Ok(OriginalIpDetection::Xff { num_trusted_hops, trusted, skip_append })
}

fn custom_header(at: At<'_>, found: Option<&Any>) -> Result<OriginalIpDetection, Invalid> {
    let proto: CustomHeaderConfig = common::extension(at, found)?;
    let at = at.field("typed_config");
    let name = common::header_name(at.field("header_name"), &proto.header_name)?;
    let reject_with = proto.reject_with_status.as_ref().map(|status| {
        // Envoy: what is no error is one all the same.
        let code = u16::try_from(status.code).ok().filter(|code| (400..=511).contains(code));
        code.and_then(|code| StatusCode::from_u16(code).ok()).unwrap_or(StatusCode::FORBIDDEN)
    });
    let trusted = proto.allow_extension_to_set_address_as_trusted;
    Ok(OriginalIpDetection::CustomHeader { name, trusted, reject_with })
}

fn internal(
    at: At<'_>,
    proto: &hcm::http_connection_manager::InternalAddressConfig,
) -> Result<InternalAddresses, Invalid> {
    let mut made = InternalAddresses::default();
    for (index, range) in proto.cidr_ranges.iter().enumerate() {
        made.ranges.push(common::cidr(at.index("cidr_ranges", index), range)?);
    }
    Ok(made)
}

fn scheme(
    at: At<'_>,
    proto: &core::SchemeHeaderTransformation,
) -> Result<Option<&'static str>, Invalid> {
    if is_set(&proto.match_upstream) {
        at.field("match_upstream").finding("is not honoured");
    }
    match &proto.transformation {
        None => Ok(None),
        Some(Transformation::SchemeToOverwrite(scheme)) => match scheme.as_str() {
            "http" => Ok(Some("http")),
            "https" => Ok(Some("https")),
            other => {
                let at = at.field("scheme_to_overwrite");
                Err(at.invalid(format!("must be http or https, is {other:?}")))
            }
        },
    }
}

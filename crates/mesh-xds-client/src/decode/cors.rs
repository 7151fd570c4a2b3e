//! CORS policies: of the filter, and of the older field, which says the same.

use http::HeaderValue;
use mesh_core::resource::CorsPolicy;
use mesh_pb::envoy::config::core::v3::RuntimeFractionalPercent;
use mesh_pb::envoy::config::route::v3 as older;
use mesh_pb::envoy::config::route::v3::cors_policy::EnabledSpecifier;
use mesh_pb::envoy::extensions::filters::http::cors::v3 as pb;
use mesh_pb::google::protobuf::BoolValue;

use super::at::{At, Invalid};
use super::{common, matcher};

pub(super) fn policy(at: At<'_>, proto: &pb::CorsPolicy) -> Result<CorsPolicy, Invalid> {
    let mut made = CorsPolicy::default();
    for (index, proto) in proto.allow_origin_string_match.iter().enumerate() {
        let at = at.index("allow_origin_string_match", index);
        made.allow_origin_string_match.push(matcher::string(at, proto)?);
    }
    made.allow_methods = value(at.field("allow_methods"), &proto.allow_methods)?;
    made.allow_headers = value(at.field("allow_headers"), &proto.allow_headers)?;
    made.expose_headers = value(at.field("expose_headers"), &proto.expose_headers)?;
    made.max_age = value(at.field("max_age"), &proto.max_age)?;
    made.allow_credentials = flag(proto.allow_credentials.as_ref());
    made.allow_private_network_access = flag(proto.allow_private_network_access.as_ref());
    made.forward_not_matching_preflights = flag(proto.forward_not_matching_preflights.as_ref());
    if let Some(share) = &proto.filter_enabled {
        made.filter_enabled = Some(fraction(at.field("filter_enabled"), share)?);
    }
    if let Some(share) = &proto.shadow_enabled {
        // It only counts, and nothing is counted yet.
        fraction(at.field("shadow_enabled"), share)?;
        at.field("shadow_enabled").finding("is not honoured");
    }
    Ok(made)
}

/// The field of virtual hosts and routes that came before the filter had policies of its own.
pub(super) fn older_policy(at: At<'_>, proto: &older::CorsPolicy) -> Result<CorsPolicy, Invalid> {
    let enabled = proto.enabled_specifier.as_ref();
    let enabled = enabled.map(|EnabledSpecifier::FilterEnabled(share)| share.clone());
    policy(
        at,
        &pb::CorsPolicy {
            allow_origin_string_match: proto.allow_origin_string_match.clone(),
            allow_methods: proto.allow_methods.clone(),
            allow_headers: proto.allow_headers.clone(),
            expose_headers: proto.expose_headers.clone(),
            max_age: proto.max_age.clone(),
            allow_credentials: proto.allow_credentials,
            filter_enabled: enabled,
            shadow_enabled: proto.shadow_enabled.clone(),
            allow_private_network_access: proto.allow_private_network_access,
            forward_not_matching_preflights: proto.forward_not_matching_preflights,
        },
    )
}

fn value(at: At<'_>, text: &str) -> Result<Option<HeaderValue>, Invalid> {
    common::header_value(at, text)
}

fn flag(proto: Option<&BoolValue>) -> Option<bool> {
    proto.map(|value| value.value)
}

fn fraction(at: At<'_>, proto: &RuntimeFractionalPercent) -> Result<u32, Invalid> {
    let at_value = at.field("default_value");
    let value = proto.default_value.as_ref().ok_or_else(|| at_value.invalid("is missing"))?;
    common::per_million(at_value, value)
}

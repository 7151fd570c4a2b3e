//! Conditions that few routes have: cookies, TLS, metadata.

use mesh_core::resource::{CookieMatcher, OtherConditions};
use mesh_pb::envoy::config::route::v3 as pb;

use super::at::{At, Invalid};
use super::common;
use super::matcher::{limited_name, string};
use super::metadata::metadata_matcher;

/// `None` when there are none.
pub(super) fn others(
    at: At<'_>,
    proto: &pb::RouteMatch,
) -> Result<Option<OtherConditions>, Invalid> {
    let mut made = OtherConditions::default();
    for (index, proto) in proto.cookies.iter().enumerate() {
        made.cookies.push(cookie(at.index("cookies", index), proto)?);
    }
    for (index, proto) in proto.dynamic_metadata.iter().enumerate() {
        let at = at.index("dynamic_metadata", index);
        made.dynamic_metadata.push(metadata_matcher(at, proto)?);
    }
    if let Some(tls) = &proto.tls_context {
        made.tls_presented = tls.presented.as_ref().map(|value| value.value);
        made.tls_validated = tls.validated.as_ref().map(|value| value.value);
    }
    for (index, proto) in proto.filter_state.iter().enumerate() {
        let at = at.index("filter_state", index);
        common::non_empty(at.field("key"), &proto.key)?;
        at.finding("there is no filter state; the route takes no request");
        made.filter_state = true;
    }
    let is_set = !made.cookies.is_empty()
        || !made.dynamic_metadata.is_empty()
        || made.tls_presented.is_some()
        || made.tls_validated.is_some()
        || made.filter_state;
    Ok(is_set.then_some(made))
}

fn cookie(at: At<'_>, proto: &pb::CookieMatcher) -> Result<CookieMatcher, Invalid> {
    limited_name(at.field("name"), &proto.name)?;
    let at_value = at.field("string_match");
    let value = proto.string_match.as_ref().ok_or_else(|| at_value.invalid("is missing"))?;
    let value = string(at_value, value)?;
    Ok(CookieMatcher { name: proto.name.as_str().into(), value, invert: proto.invert_match })
}

//! The CSRF filter.

use mesh_core::resource::{CsrfPolicy, FractionalPercent};
use mesh_pb::envoy::config::core::v3::RuntimeFractionalPercent;
use mesh_pb::envoy::extensions::filters::http::csrf::v3 as pb;
use mesh_pb::google::protobuf::Any;

use super::at::{At, Invalid};
use super::{common, fault, matcher};

/// The filter's configuration, in a connection manager as well as on a route.
pub(super) fn policy(at: At<'_>, any: &Any) -> Result<CsrfPolicy, Invalid> {
    let proto: pb::CsrfPolicy = common::any_of(at, any)?;
    let at_enabled = at.field("filter_enabled");
    let enabled = proto.filter_enabled.as_ref();
    let enabled = enabled.ok_or_else(|| at_enabled.invalid("is missing"))?;
    let mut made = CsrfPolicy::new(share(at_enabled, enabled)?);
    for (index, proto) in proto.additional_origins.iter().enumerate() {
        let at = at.index("additional_origins", index);
        made.additional_origins.push(matcher::string(at, proto)?);
    }
    if let Some(proto) = &proto.shadow_enabled {
        // It only counts, and nothing is counted yet.
        let at = at.field("shadow_enabled");
        share(at, proto)?;
        at.finding("is not honoured");
    }
    Ok(made)
}

fn share(at: At<'_>, proto: &RuntimeFractionalPercent) -> Result<FractionalPercent, Invalid> {
    let at = at.field("default_value");
    let value = proto.default_value.as_ref().ok_or_else(|| at.invalid("is missing"))?;
    fault::percentage(at, value)
}

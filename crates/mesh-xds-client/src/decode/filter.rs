//! HTTP filters of a connection manager.

use std::collections::HashSet;

use mesh_core::resource::{HttpFilter, HttpFilterKind};
use mesh_pb::envoy::extensions::filters::network::http_connection_manager::v3 as pb;
use mesh_pb::google::protobuf::Any;
use mesh_pb::type_url;
use pb::http_filter::ConfigType;

use super::at::{At, Invalid};

/// Filters that do nothing unless they are configured. Control planes put them into every
/// listener for routes to configure; what routes then ask for is reported there.
const IDLE_WHEN_EMPTY: [&str; 2] = [
    "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault",
    "type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors",
];

/// The filters in order: names are unique, the router is the last and only the last (gRFC A39).
pub(super) fn filters(at: At<'_>, protos: &[pb::HttpFilter]) -> Result<Vec<HttpFilter>, Invalid> {
    const FIELD: &str = "http_filters";
    if protos.is_empty() {
        return Err(at.field(FIELD).invalid("is empty"));
    }
    let mut names = HashSet::new();
    let mut made = Vec::with_capacity(protos.len());
    for (index, proto) in protos.iter().enumerate() {
        let at = at.index(FIELD, index);
        if proto.name.is_empty() {
            return Err(at.field("name").invalid("is empty"));
        }
        if !names.insert(proto.name.as_str()) {
            return Err(at.field("name").invalid(format!("{:?} occurs twice", proto.name)));
        }
        let kind = kind(at, proto)?;
        let is_last = index + 1 == protos.len();
        match (&kind, is_last) {
            (HttpFilterKind::Router, false) => {
                return Err(at.invalid("the router must be the last filter"));
            }
            (HttpFilterKind::Router, true) | (_, false) => {}
            (_, true) => return Err(at.invalid("the last filter must be the router")),
        }
        made.push(HttpFilter::new(proto.name.as_str(), kind));
    }
    Ok(made)
}

fn kind(at: At<'_>, proto: &pb::HttpFilter) -> Result<HttpFilterKind, Invalid> {
    let config = match &proto.config_type {
        Some(ConfigType::TypedConfig(any)) => any,
        Some(ConfigType::ConfigDiscovery(_)) => {
            return optional(at.field("config_discovery"), proto, "config_discovery");
        }
        None => return optional(at.field("typed_config"), proto, "a filter without typed_config"),
    };
    match config {
        Any { type_url, .. } if type_url == type_url::ROUTER => Ok(HttpFilterKind::Router),
        Any { type_url, value }
            if value.is_empty() && IDLE_WHEN_EMPTY.contains(&type_url.as_str()) =>
        {
            Ok(HttpFilterKind::Ignored)
        }
        Any { type_url, .. } => optional(at, proto, &format!("filter type {type_url:?}")),
    }
}

/// A filter may guard something, so that one we lack is only passed over where the
/// configuration allows it.
fn optional(at: At<'_>, proto: &pb::HttpFilter, what: &str) -> Result<HttpFilterKind, Invalid> {
    if !proto.is_optional {
        return Err(at.invalid(format!("{what} is not supported, and the filter is required")));
    }
    at.finding(format!("{what} is not honoured; the optional filter is passed over"));
    Ok(HttpFilterKind::Ignored)
}

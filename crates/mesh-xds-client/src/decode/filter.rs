//! HTTP filters of a connection manager.

use std::collections::HashSet;
use std::sync::Arc;

use mesh_core::resource::{HttpFilter, HttpFilterKind};
use mesh_pb::envoy::extensions::filters::http::adaptive_concurrency::v3::AdaptiveConcurrency;
use mesh_pb::envoy::extensions::filters::http::admission_control::v3::AdmissionControl;
use mesh_pb::envoy::extensions::filters::http::cors::v3::Cors;
use mesh_pb::envoy::extensions::filters::http::csrf::v3::CsrfPolicy;
use mesh_pb::envoy::extensions::filters::http::fault::v3::HttpFault;
use mesh_pb::envoy::extensions::filters::http::header_mutation::v3::HeaderMutation;
use mesh_pb::envoy::extensions::filters::http::local_ratelimit::v3::LocalRateLimit;
use mesh_pb::envoy::extensions::filters::http::router::v3::Router;
use mesh_pb::envoy::extensions::filters::http::stateful_session::v3::StatefulSession;
use mesh_pb::envoy::extensions::filters::network::http_connection_manager::v3 as pb;
use mesh_pb::google::protobuf::Any;
use mesh_pb::type_url;
use pb::http_filter::ConfigType;

use super::at::{At, Invalid};
use super::{
    adaptive_concurrency, admission_control, common, csrf, fault, header_mutation, rate_limit,
    rbac, session,
};

/// The most filters of a connection manager. Each is run through for every request, and each chain
/// of overrides has them all. A guess: ten times what any is known to have.
const FILTERS_LIMIT: usize = 128;

/// The filters in order: names are unique, the router is the last and only the last (gRFC A39).
pub(super) fn filters(at: At<'_>, protos: &[pb::HttpFilter]) -> Result<Vec<HttpFilter>, Invalid> {
    const FIELD: &str = "http_filters";
    if protos.is_empty() {
        return Err(at.field(FIELD).invalid("is empty"));
    }
    if protos.len() > FILTERS_LIMIT {
        let text = format!("has {} filters, more than {FILTERS_LIMIT}", protos.len());
        return Err(at.field(FIELD).invalid(text));
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
        if proto.disabled && is_last {
            return Err(at.field("disabled").invalid("the router must not be disabled"));
        }
        let mut filter = HttpFilter::new(proto.name.as_str(), kind);
        filter.disabled = proto.disabled;
        made.push(filter);
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
        Any { type_url, .. } if type_url == type_url::ROUTER => {
            router(at.field("typed_config"), config)?;
            Ok(HttpFilterKind::Router)
        }
        Any { type_url, .. } if type_url == type_url::RBAC => {
            let rules = rbac::rbac(at.field("typed_config"), config)?;
            Ok(HttpFilterKind::Rbac(Arc::new(rules)))
        }
        any if common::is_of::<Cors>(any) => Ok(HttpFilterKind::Cors),
        any if common::is_of::<HeaderMutation>(any) => {
            let at = at.field("typed_config");
            let proto: HeaderMutation = common::any_of(at, any)?;
            Ok(HttpFilterKind::HeaderMutation(Arc::new(header_mutation::filter(at, &proto)?)))
        }
        any if common::is_of::<CsrfPolicy>(any) => {
            let made = csrf::policy(at.field("typed_config"), any)?;
            Ok(HttpFilterKind::Csrf(Arc::new(made)))
        }
        any if common::is_of::<HttpFault>(any) => {
            let made = fault::fault(at.field("typed_config"), any)?;
            Ok(HttpFilterKind::Fault(Arc::new(made)))
        }
        any if common::is_of::<LocalRateLimit>(any) => {
            let made = rate_limit::rate_limit(at.field("typed_config"), any, false)?;
            Ok(HttpFilterKind::LocalRateLimit(Arc::new(made)))
        }
        any if common::is_of::<AdaptiveConcurrency>(any) => {
            let made = adaptive_concurrency::filter(at.field("typed_config"), any)?;
            Ok(made.map_or(HttpFilterKind::Ignored, |made| {
                HttpFilterKind::AdaptiveConcurrency(Arc::new(made))
            }))
        }
        any if common::is_of::<AdmissionControl>(any) => {
            let made = admission_control::filter(at.field("typed_config"), any)?;
            Ok(made.map_or(HttpFilterKind::Ignored, |made| {
                HttpFilterKind::AdmissionControl(Arc::new(made))
            }))
        }
        any if common::is_of::<StatefulSession>(any) => {
            Ok(HttpFilterKind::StatefulSession(session::filter(at.field("typed_config"), any)?))
        }
        Any { type_url, .. } => optional(at, proto, &format!("filter type {type_url:?}")),
    }
}

/// Nothing of it changes what is done here, but Envoy refuses what it cannot check.
fn router(at: At<'_>, any: &Any) -> Result<(), Invalid> {
    const CHECKED: [&str; 5] = [
        "x-envoy-upstream-rq-timeout-ms",
        "x-envoy-upstream-rq-per-try-timeout-ms",
        "x-envoy-max-retries",
        "x-envoy-retry-grpc-on",
        "x-envoy-retry-on",
    ];
    let proto: Router = common::any_of(at, any)?;
    for (index, name) in proto.strict_check_headers.iter().enumerate() {
        if !CHECKED.contains(&name.as_str()) {
            let text = format!("{name:?} is none of {}", CHECKED.join(", "));
            return Err(at.index("strict_check_headers", index).invalid(text));
        }
    }
    Ok(())
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

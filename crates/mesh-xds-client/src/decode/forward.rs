//! What a route that forwards asks for beside its cluster: time, upgrades, and what is not
//! honoured.

use std::collections::HashSet;
use std::sync::Arc;

use http::StatusCode;
use mesh_core::resource::{
    CorsPolicy, ForwardOptions, InternalRedirect, MaxGrpcTimeout, MaxStreamDuration,
};
use mesh_pb::envoy::config::core::v3::TypedExtensionConfig;
use mesh_pb::envoy::config::route::v3 as pb;
use mesh_pb::envoy::config::route::v3::route_action as action;

use mesh_pb::envoy::extensions::internal_redirect as predicates;
use predicates::allow_listed_routes::v3::AllowListedRoutesConfig;
use predicates::previous_routes::v3::PreviousRoutesConfig;
use predicates::safe_cross_scheme::v3::SafeCrossSchemeConfig;

use super::at::{At, Invalid, not_honoured};
use super::{common, cors, rate_limit};

/// The most `redirect_response_codes` of an internal redirect (`max_items`).
const REDIRECT_CODES_LIMIT: usize = 5;

#[allow(deprecated, reason = "control planes still send the older fields")]
pub(super) fn timeouts(
    at: At<'_>,
    proto: &pb::RouteAction,
    made: &mut ForwardOptions,
) -> Result<(), Invalid> {
    if let Some(proto) = &proto.max_stream_duration {
        made.max_stream_duration = max_stream_duration(at.field("max_stream_duration"), proto)?;
    }
    if let Some(max) = &proto.max_grpc_timeout {
        let max = common::duration(at.field("max_grpc_timeout"), max)?;
        let at_offset = at.field("grpc_timeout_offset");
        let offset = common::optional_duration(at_offset, proto.grpc_timeout_offset.as_ref())?;
        made.max_grpc_timeout = Some(Box::new(MaxGrpcTimeout { max, offset }));
    }
    if let Some(proto) = &proto.hedge_policy {
        made.hedge_on_per_try_timeout = Some(hedge(at.field("hedge_policy"), proto)?);
    }
    let limits = rate_limit::limits(at, &proto.rate_limits)?;
    made.rate_limits = (!limits.is_empty()).then(|| limits.into());
    made.include_vh_rate_limits = proto.include_vh_rate_limits.is_some_and(|it| it.value);
    Ok(())
}

fn max_stream_duration(
    at: At<'_>,
    proto: &action::MaxStreamDuration,
) -> Result<MaxStreamDuration, Invalid> {
    let mut made = MaxStreamDuration::default();
    made.max_stream_duration = common::optional_duration(
        at.field("max_stream_duration"),
        proto.max_stream_duration.as_ref(),
    )?;
    made.grpc_timeout_header_max = common::optional_duration(
        at.field("grpc_timeout_header_max"),
        proto.grpc_timeout_header_max.as_ref(),
    )?;
    made.grpc_timeout_header_offset = common::optional_duration(
        at.field("grpc_timeout_header_offset"),
        proto.grpc_timeout_header_offset.as_ref(),
    )?;
    Ok(made)
}

/// What is not honoured must be valid all the same.
pub(super) fn check(at: At<'_>, proto: &pb::RouteAction) -> Result<(), Invalid> {
    let mut seen = HashSet::new();
    for (index, proto) in proto.upgrade_configs.iter().enumerate() {
        let at = at.index("upgrade_configs", index);
        let at_type = at.field("upgrade_type");
        common::non_empty_line(at_type, &proto.upgrade_type)?;
        if !seen.insert(proto.upgrade_type.to_ascii_lowercase()) {
            return Err(at_type.invalid(format!("duplicate upgrade {}", proto.upgrade_type)));
        }
        let is_connect = proto.upgrade_type.eq_ignore_ascii_case("CONNECT");
        if proto.connect_config.is_some() && !is_connect {
            let text = format!("upgrade type {} is not CONNECT", proto.upgrade_type);
            return Err(at.field("connect_config").invalid(text));
        }
    }
    let flush = at.field("flush_timeout");
    common::optional_duration(flush, proto.flush_timeout.as_ref()).map(drop)
}

pub(super) fn internal_redirect(
    at: At<'_>,
    proto: &pb::InternalRedirectPolicy,
) -> Result<InternalRedirect, Invalid> {
    let mut made = InternalRedirect::default();
    if proto.redirect_response_codes.len() > REDIRECT_CODES_LIMIT {
        let text = format!("has more than {REDIRECT_CODES_LIMIT} codes");
        return Err(at.field("redirect_response_codes").invalid(text));
    }
    if let Some(most) = &proto.max_internal_redirects {
        made.max_internal_redirects = most.value;
    }
    let codes = proto.redirect_response_codes.iter();
    // Others are passed over, as in Envoy.
    let codes = codes.filter(|code| matches!(code, 301 | 302 | 303 | 307 | 308));
    let codes: Vec<_> = codes.filter_map(|code| StatusCode::from_u16(*code as u16).ok()).collect();
    if !proto.redirect_response_codes.is_empty() {
        made.redirect_response_codes = codes;
    }
    made.allow_cross_scheme_redirect = proto.allow_cross_scheme_redirect;
    for (index, proto) in proto.predicates.iter().enumerate() {
        predicate(at.index("predicates", index).field("typed_config"), proto, &mut made)?;
    }
    let mut seen = HashSet::new();
    for (index, name) in proto.response_headers_to_copy.iter().enumerate() {
        let at = at.index("response_headers_to_copy", index);
        common::one_line(at, name)?;
        if name.starts_with(':') || name.eq_ignore_ascii_case("host") {
            return Err(at.invalid(":-prefixed headers and host may not be copied"));
        }
        if !seen.insert(name) {
            return Err(at.invalid(format!("{name:?} occurs twice")));
        }
        // No answer has a header whose name is empty (Envoy takes it).
        if !name.is_empty() {
            made.response_headers_to_copy.push(common::header_name(at, name)?);
        }
    }
    Ok(made)
}

/// One that is not known may guard against loops or theft: it is refused.
fn predicate(
    at: At<'_>,
    proto: &TypedExtensionConfig,
    made: &mut InternalRedirect,
) -> Result<(), Invalid> {
    let any = proto.typed_config.as_ref().ok_or_else(|| at.invalid("is missing"))?;
    if common::is_of::<PreviousRoutesConfig>(any) {
        made.previous_routes = true;
    } else if common::is_of::<SafeCrossSchemeConfig>(any) {
        made.safe_cross_scheme = true;
    } else {
        let config: AllowListedRoutesConfig = common::any_of(at, any)?;
        let names = config.allowed_route_names.iter().map(|name| name.as_str().into());
        made.allowed_route_names.push(names.collect());
    }
    Ok(())
}

/// Whether there are hedges. What else the policy has Envoy passes over as well.
pub(super) fn hedge(at: At<'_>, proto: &pb::HedgePolicy) -> Result<bool, Invalid> {
    if proto.initial_requests.is_some_and(|requests| requests.value == 0) {
        return Err(at.field("initial_requests").invalid("must be 1 at least"));
    }
    if let Some(chance) = &proto.additional_request_chance {
        common::per_million(at.field("additional_request_chance"), chance)?;
    }
    not_honoured!(at, proto, [initial_requests, additional_request_chance]);
    Ok(proto.hedge_on_per_try_timeout)
}

/// Every other field that changes what happens to a request.
#[allow(deprecated, reason = "older fields are reported as well")]
pub(super) fn report(at: At<'_>, proto: &pb::RouteAction) {
    not_honoured!(
        at,
        proto,
        [
            flush_timeout,
            early_data_policy,
            retry_policy_typed_config,
            upgrade_configs,
            internal_redirect_action,
            max_internal_redirects,
        ]
    );
}

#[allow(deprecated, reason = "control planes still send the older field")]
pub(super) fn older_cors(
    at: At<'_>,
    proto: &pb::RouteAction,
) -> Result<Option<Arc<CorsPolicy>>, Invalid> {
    let policy = proto.cors.as_ref().map(|cors| cors::older_policy(at.field("cors"), cors));
    Ok(policy.transpose()?.map(Arc::new))
}

//! `typed_per_filter_config`: what routes make of filters, by instance name.

use std::collections::HashMap;
use std::sync::Arc;

use mesh_core::resource::{FilterConfig, FilterOverride, FilterOverrides};
use mesh_pb::envoy::config::route::v3 as pb;
use mesh_pb::envoy::extensions::filters::http::cors::v3::CorsPolicy;
use mesh_pb::envoy::extensions::filters::http::csrf::v3::CsrfPolicy;
use mesh_pb::envoy::extensions::filters::http::fault::v3::HttpFault;
use mesh_pb::envoy::extensions::filters::http::header_mutation::v3::HeaderMutationPerRoute;
use mesh_pb::envoy::extensions::filters::http::local_ratelimit::v3::LocalRateLimit;
use mesh_pb::envoy::extensions::filters::http::stateful_session::v3::StatefulSessionPerRoute;
use mesh_pb::google::protobuf::Any;
use mesh_pb::type_url;

use super::at::{At, Invalid};
use super::{common, cors, csrf, fault, header_mutation, rate_limit, rbac, session};

pub(super) fn overrides(
    at: At<'_>,
    configs: &HashMap<String, Any>,
) -> Result<FilterOverrides, Invalid> {
    let mut names: Vec<&str> = configs.keys().map(String::as_str).collect();
    // A map has no order; findings and refusals must not change from one decoding to the next.
    names.sort_unstable();
    let made = names.into_iter().map(|name| {
        let at = at.key("typed_per_filter_config", name);
        Ok((at.shared().name(name), one(at, &configs[name])?))
    });
    made.collect()
}

fn one(at: At<'_>, any: &Any) -> Result<FilterOverride, Invalid> {
    if !common::is_of::<pb::FilterConfig>(any) {
        return config(at, any, false).map(FilterOverride::Config);
    }
    let wrapper: pb::FilterConfig = common::any_of(at, any)?;
    if wrapper.disabled {
        return Ok(FilterOverride::Disabled);
    }
    let at = at.field("config");
    match &wrapper.config {
        None => Err(at.invalid("is missing, and the filter is not disabled")),
        Some(any) if any.type_url.is_empty() => Ok(FilterOverride::Enabled),
        Some(any) => config(at, any, wrapper.is_optional).map(FilterOverride::Config),
    }
}

/// A type that is not known may guard something (gRFC A39, and Envoy).
fn config(at: At<'_>, any: &Any, is_optional: bool) -> Result<FilterConfig, Invalid> {
    if common::is_of::<CorsPolicy>(any) {
        let proto: CorsPolicy = common::any_of(at, any)?;
        return Ok(FilterConfig::Cors(Arc::new(cors::policy(at, &proto)?)));
    }
    if common::is_of::<HeaderMutationPerRoute>(any) {
        let proto: HeaderMutationPerRoute = common::any_of(at, any)?;
        return Ok(FilterConfig::HeaderMutation(Arc::new(header_mutation::per_route(at, &proto)?)));
    }
    if any.type_url == type_url::RBAC_PER_ROUTE {
        return Ok(FilterConfig::Rbac(Arc::new(rbac::per_route(at, any)?)));
    }
    if common::is_of::<CsrfPolicy>(any) {
        return Ok(FilterConfig::Csrf(Arc::new(csrf::policy(at, any)?)));
    }
    if common::is_of::<HttpFault>(any) {
        return Ok(FilterConfig::Fault(Arc::new(fault::fault(at, any)?)));
    }
    if common::is_of::<LocalRateLimit>(any) {
        return Ok(FilterConfig::LocalRateLimit(Arc::new(rate_limit::rate_limit(at, any, true)?)));
    }
    if common::is_of::<StatefulSessionPerRoute>(any) {
        return Ok(FilterConfig::StatefulSession(session::per_route(at, any)?));
    }
    let text = format!("filter configuration of type {:?}", any.type_url);
    if !is_optional {
        return Err(at.invalid(format!("{text} is not supported, and it is required")));
    }
    at.finding(format!("{text} is not honoured; the optional configuration is passed over"));
    Ok(FilterConfig::Ignored)
}

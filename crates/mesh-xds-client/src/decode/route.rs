//! RouteConfiguration, virtual hosts and routes.

use std::collections::HashMap;
use std::sync::Arc;

use mesh_core::resource::{Name, Route, RouteConfiguration, VirtualHost};
use mesh_pb::envoy::config::route::v3 as pb;
use mesh_pb::google::protobuf::Any;

use super::at::{At, Invalid, not_honoured};
use super::headers::mutations;
use super::{action, matcher, retry};

pub(super) fn configuration(
    at: At<'_>,
    name: &Name,
    proto: pb::RouteConfiguration,
) -> Result<RouteConfiguration, Invalid> {
    let mut domains = HashMap::new();
    let mut hosts = Vec::with_capacity(proto.virtual_hosts.len());
    for (index, proto) in proto.virtual_hosts.iter().enumerate() {
        let at = at.index("virtual_hosts", index);
        let host = virtual_host(at, proto)?;
        for (place, domain) in host.domains.iter().enumerate() {
            if let Some(first) = domains.insert(domain.clone(), index) {
                let text = format!("{domain:?} is also a domain of virtual_hosts[{first}]");
                return Err(at.index("domains", place).invalid(text));
            }
        }
        hosts.push(host);
    }
    let mut made = RouteConfiguration::new(name.clone(), hosts);
    (made.request_headers, made.response_headers) = mutations!(at, proto)?;
    report_filters(at, &proto.typed_per_filter_config);
    not_honoured!(
        at,
        proto,
        [
            vhds,
            internal_only_headers,
            most_specific_header_mutations_wins,
            cluster_specifier_plugins,
            request_mirror_policies,
            ignore_port_in_host_matching,
            vhost_header,
            ignore_path_parameters_in_path_matching,
            route_specifiers,
        ]
    );
    Ok(made)
}

fn virtual_host(at: At<'_>, proto: &pb::VirtualHost) -> Result<VirtualHost, Invalid> {
    if proto.domains.is_empty() {
        return Err(at.field("domains").invalid("is empty"));
    }
    for (index, domain) in proto.domains.iter().enumerate() {
        check_domain(at.index("domains", index), domain)?;
    }
    if proto.matcher.is_some() {
        return Err(at.field("matcher").invalid("is not supported"));
    }
    let mut routes = Vec::with_capacity(proto.routes.len());
    for (index, proto) in proto.routes.iter().enumerate() {
        routes.extend(route(at.index("routes", index), proto)?);
    }
    let mut made = VirtualHost::new(proto.name.as_str(), &proto.domains, routes);
    if let Some(proto) = &proto.retry_policy {
        made.retry_policy = Some(Arc::new(retry::policy(at.field("retry_policy"), proto)?));
    }
    (made.request_headers, made.response_headers) = mutations!(at, proto)?;
    report_filters(at, &proto.typed_per_filter_config);
    report_host(at, proto);
    Ok(made)
}

#[allow(deprecated, reason = "older fields are reported as well")]
fn report_host(at: At<'_>, proto: &pb::VirtualHost) {
    not_honoured!(
        at,
        proto,
        [
            require_tls,
            virtual_clusters,
            rate_limits,
            cors,
            include_attempt_count_in_response,
            include_request_attempt_count,
            retry_policy_typed_config,
            hedge_policy,
            include_is_timeout_retry_header,
            per_request_buffer_limit_bytes,
            request_body_buffer_limit,
            request_mirror_policies,
            route_specifiers,
        ]
    );
}

/// `*` alone, at the start or at the end, or not at all.
fn check_domain(at: At<'_>, domain: &str) -> Result<(), Invalid> {
    if domain.is_empty() {
        return Err(at.invalid("is empty"));
    }
    let inner = domain.strip_prefix('*').or_else(|| domain.strip_suffix('*')).unwrap_or(domain);
    if inner.contains('*') {
        return Err(at.invalid(format!("{domain:?} may have one * at its start or its end")));
    }
    Ok(())
}

/// `None` when no request can reach it.
fn route(at: At<'_>, proto: &pb::Route) -> Result<Option<Route>, Invalid> {
    let at_match = at.field("match");
    let condition = proto.r#match.as_ref().ok_or_else(|| at_match.invalid("is missing"))?;
    let condition = matcher::route_match(at_match, condition)?;
    let action = action::action(at, proto.action.as_ref())?;
    let (request_headers, response_headers) = mutations!(at, proto)?;
    report_filters(at, &proto.typed_per_filter_config);
    report_route(at, proto);
    Ok(condition.map(|condition| {
        let mut made = Route::new(condition, action).with_name(proto.name.as_str());
        made.request_headers = request_headers;
        made.response_headers = response_headers;
        made
    }))
}

#[allow(deprecated, reason = "older fields are reported as well")]
fn report_route(at: At<'_>, proto: &pb::Route) {
    not_honoured!(
        at,
        proto,
        [
            decorator,
            tracing,
            per_request_buffer_limit_bytes,
            request_body_buffer_limit,
            route_specifiers,
        ]
    );
}

/// Settings of HTTP filters by instance name: none of the filters has any that is honoured.
fn report_filters(at: At<'_>, configs: &HashMap<String, Any>) {
    let mut names: Vec<&str> = configs.keys().map(String::as_str).collect();
    // A map has no order; findings must not change from one decoding to the next.
    names.sort_unstable();
    for name in names {
        at.key("typed_per_filter_config", name).finding("is not honoured");
    }
}

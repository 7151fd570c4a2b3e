//! RouteConfiguration, virtual hosts and routes.

use std::collections::HashMap;
use std::sync::Arc;

use mesh_core::resource::{
    CorsPolicy, Metadata, Name, Route, RouteConfiguration, TlsRequirement, VirtualCluster,
    VirtualHost,
};
use mesh_pb::envoy::config::core::v3::Metadata as ProtoMetadata;
use mesh_pb::envoy::config::route::v3 as pb;
use mesh_pb::envoy::config::route::v3::virtual_host::TlsRequirementType;

use super::action::Surroundings;
use super::at::{At, Invalid, not_honoured};
use super::headers::mutations;
use super::structure::structure;
use super::{action, common, cors, forward, matcher, overrides, policies, rate_limit, retry, tree};

pub(super) fn configuration(
    at: At<'_>,
    name: &Name,
    proto: pb::RouteConfiguration,
) -> Result<RouteConfiguration, Invalid> {
    if let Some(limit) = &proto.max_direct_response_body_size_bytes {
        // Zero is no limit (Envoy).
        let limit = if limit.value == 0 { u32::MAX } else { limit.value };
        at.shared().set_body_limit(limit);
    }
    for (index, plugin) in proto.cluster_specifier_plugins.iter().enumerate() {
        let at = at.index("cluster_specifier_plugins", index);
        let name = action::plugin(at, plugin)?;
        if !at.shared().add_plugin(name) {
            return Err(at.invalid(format!("{name:?} occurs twice")));
        }
    }
    let mut domains = HashMap::new();
    let mut hosts = Vec::with_capacity(proto.virtual_hosts.len());
    for (index, proto) in proto.virtual_hosts.iter().enumerate() {
        let at = at.index("virtual_hosts", index);
        let host = virtual_host(at, proto)?;
        for (place, domain) in host.domains.iter().enumerate() {
            if let Some(first) = domains.insert(domain.clone(), index) {
                let text = match &**domain {
                    "*" => format!(
                        "only a single wildcard is permitted; virtual_hosts[{first}] has it"
                    ),
                    _ => format!(
                        "duplicate entry: {domain:?} is also a domain of virtual_hosts[{first}]"
                    ),
                };
                return Err(at.index("domains", place).invalid(text));
            }
        }
        hosts.push(host);
    }
    let mut made = RouteConfiguration::new(name.clone(), hosts);
    made.ignore_port_in_host_matching = proto.ignore_port_in_host_matching;
    made.ignore_path_parameters_in_path_matching = proto.ignore_path_parameters_in_path_matching;
    made.most_specific_header_mutations_wins = proto.most_specific_header_mutations_wins;
    if !proto.vhost_header.is_empty() {
        let at = at.field("vhost_header");
        made.vhost_header = Some(common::header_name(at, &proto.vhost_header)?);
    }
    made.request_mirror_policies = policies::mirrors(at, &proto.request_mirror_policies)?;
    for (index, name) in proto.internal_only_headers.iter().enumerate() {
        common::one_line(at.index("internal_only_headers", index), name)?;
        // No request has a header whose name is none.
        made.internal_only_headers.extend(at.shared().header(name));
    }
    // An empty name is nobody's here, and refused further in.
    let mut proto = proto;
    proto.request_headers_to_remove.retain(|name| !name.is_empty());
    proto.response_headers_to_remove.retain(|name| !name.is_empty());
    (made.request_headers, made.response_headers) = mutations!(at, proto)?;
    made.filters = overrides::overrides(at, &proto.typed_per_filter_config)?;
    not_honoured!(at, proto, [vhds, cluster_specifier_plugins, route_specifiers,]);
    Ok(made)
}

fn virtual_host(at: At<'_>, proto: &pb::VirtualHost) -> Result<VirtualHost, Invalid> {
    if proto.domains.is_empty() {
        return Err(at.field("domains").invalid("is empty"));
    }
    for (index, domain) in proto.domains.iter().enumerate() {
        common::one_line(at.index("domains", index), domain)?;
        check_domain(at.index("domains", index), domain)?;
    }
    let mut routes = Vec::with_capacity(proto.routes.len());
    for (index, proto) in proto.routes.iter().enumerate() {
        routes.push(route(at.index("routes", index), proto)?);
    }
    let mut matcher = None;
    if let Some(tree_proto) = &proto.matcher {
        let at = at.field("matcher");
        if !routes.is_empty() {
            return Err(at.invalid("cannot be set together with routes"));
        }
        let (tree, of_tree) = tree::tree(at, tree_proto)?;
        (matcher, routes) = (Some(Arc::new(tree)), of_tree);
    }
    let mut made = VirtualHost::new(proto.name.as_str(), &proto.domains, routes);
    made.matcher = matcher;
    made.metadata = metadata(proto.metadata.as_ref());
    made.require_tls = match TlsRequirementType::try_from(proto.require_tls) {
        Ok(TlsRequirementType::None) => TlsRequirement::None,
        Ok(TlsRequirementType::ExternalOnly) => TlsRequirement::ExternalOnly,
        Ok(TlsRequirementType::All) => TlsRequirement::All,
        Err(_) => {
            let text = format!("unknown value {}", proto.require_tls);
            return Err(at.field("require_tls").invalid(text));
        }
    };
    for (index, proto) in proto.virtual_clusters.iter().enumerate() {
        made.virtual_clusters.push(virtual_cluster(at.index("virtual_clusters", index), proto)?);
    }
    made.request_mirror_policies = policies::mirrors(at, &proto.request_mirror_policies)?;
    if let Some(proto) = &proto.hedge_policy {
        made.hedge_on_per_try_timeout = forward::hedge(at.field("hedge_policy"), proto)?;
    }
    if let Some(proto) = &proto.retry_policy {
        made.retry_policy = Some(Arc::new(retry::policy(at.field("retry_policy"), proto)?));
    }
    made.rate_limits = rate_limit::limits(at, &proto.rate_limits)?;
    (made.request_headers, made.response_headers) = mutations!(at, proto)?;
    made.filters = overrides::overrides(at, &proto.typed_per_filter_config)?;
    made.include_request_attempt_count = proto.include_request_attempt_count;
    made.include_attempt_count_in_response = proto.include_attempt_count_in_response;
    made.cors = older_cors(at, proto)?;
    report_host(at, proto);
    Ok(made)
}

#[allow(deprecated, reason = "control planes still send the older field")]
fn older_cors(at: At<'_>, proto: &pb::VirtualHost) -> Result<Option<Arc<CorsPolicy>>, Invalid> {
    let policy = proto.cors.as_ref().map(|cors| cors::older_policy(at.field("cors"), cors));
    Ok(policy.transpose()?.map(Arc::new))
}

#[allow(deprecated, reason = "older fields are reported as well")]
fn report_host(at: At<'_>, proto: &pb::VirtualHost) {
    not_honoured!(
        at,
        proto,
        [
            retry_policy_typed_config,
            include_is_timeout_retry_header,
            per_request_buffer_limit_bytes,
            request_body_buffer_limit,
            route_specifiers,
        ]
    );
}

/// `*` alone, at the start or at the end; elsewhere it is a character like others (Envoy).
fn check_domain(at: At<'_>, domain: &str) -> Result<(), Invalid> {
    if domain.is_empty() {
        at.finding("is empty: no request has that authority");
    }
    let inner = domain.strip_prefix('*').or_else(|| domain.strip_suffix('*')).unwrap_or(domain);
    if inner.contains('*') {
        // gRPC refuses it.
        at.finding(format!("{domain:?} has a * inside, which stands for itself alone"));
    }
    Ok(())
}

fn virtual_cluster(at: At<'_>, proto: &pb::VirtualCluster) -> Result<VirtualCluster, Invalid> {
    common::non_empty(at.field("name"), &proto.name)?;
    if proto.headers.is_empty() {
        return Err(at.field("headers").invalid("is empty"));
    }
    let header = |(index, proto)| matcher::header(at.index("headers", index), proto);
    let headers: Result<Vec<_>, _> = proto.headers.iter().enumerate().map(header).collect();
    Ok(VirtualCluster { name: proto.name.as_str().into(), headers: headers? })
}

pub(super) fn metadata(proto: Option<&ProtoMetadata>) -> Option<Arc<Metadata>> {
    let fields = &proto?.filter_metadata;
    let fields = fields.iter().map(|(key, proto)| (key.as_str().into(), structure(proto)));
    Some(Arc::new(Metadata { fields: fields.collect() }))
}

pub(super) fn route(at: At<'_>, proto: &pb::Route) -> Result<Route, Invalid> {
    let at_match = at.field("match");
    let condition = proto.r#match.as_ref().ok_or_else(|| at_match.invalid("is missing"))?;
    let condition = matcher::route_match(at_match, condition)?;
    let around = Surroundings { route: &proto.name, path: &condition.path };
    let action = action::action(at, proto.action.as_ref(), around)?;
    let (request_headers, response_headers) = mutations!(at, proto)?;
    let filters = overrides::overrides(at, &proto.typed_per_filter_config)?;
    report_route(at, proto);
    if let Some(tracing) = &proto.tracing {
        check_tracing(at.field("tracing"), tracing)?;
    }
    if let Some(decorator) = &proto.decorator {
        common::non_empty(at.field("decorator").field("operation"), &decorator.operation)?;
    }
    let mut made = Route::new(condition, action);
    if !proto.name.is_empty() {
        made.name = at.shared().name(&proto.name);
    }
    made.filters = filters;
    made.metadata = metadata(proto.metadata.as_ref());
    made.request_headers = (!request_headers.is_empty()).then(|| Box::new(request_headers));
    made.response_headers = (!response_headers.is_empty()).then(|| Box::new(response_headers));
    Ok(made)
}

fn check_tracing(at: At<'_>, proto: &pb::Tracing) -> Result<(), Invalid> {
    for (field, share) in [
        ("client_sampling", &proto.client_sampling),
        ("random_sampling", &proto.random_sampling),
        ("overall_sampling", &proto.overall_sampling),
    ] {
        if let Some(share) = share {
            common::per_million(at.field(field), share)?;
        }
    }
    for (index, tag) in proto.custom_tags.iter().enumerate() {
        let at = at.index("custom_tags", index);
        common::non_empty(at.field("tag"), &tag.tag)?;
        if tag.r#type.is_none() {
            return Err(at.field("type").invalid("is missing"));
        }
    }
    Ok(())
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

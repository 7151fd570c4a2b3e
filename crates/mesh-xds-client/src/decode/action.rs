//! What routes do.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use mesh_core::resource::{Action, ClusterSpecifier, Forward, MaxStreamDuration, WeightedCluster};
use mesh_pb::envoy::config::core::v3::data_source::Specifier;
use mesh_pb::envoy::config::route::v3 as pb;
use mesh_pb::envoy::config::route::v3::route_action as action;
use mesh_pb::envoy::config::route::v3::weighted_cluster::{ClusterWeight, cluster_weight};

use super::at::{At, Invalid, not_honoured};
use super::headers::mutations;
use super::{common, retry};

pub(super) fn action(at: At<'_>, proto: Option<&pb::route::Action>) -> Result<Action, Invalid> {
    use pb::route::Action as Proto;
    match proto {
        Some(Proto::Route(proto)) => forward(at.field("route"), proto),
        Some(Proto::DirectResponse(proto)) => direct_response(at.field("direct_response"), proto),
        Some(Proto::NonForwardingAction(_)) => Ok(Action::NonForwarding),
        Some(Proto::Redirect(_)) => Ok(unsupported(at.field("redirect"), "redirect")),
        Some(Proto::FilterAction(_)) => Ok(unsupported(at.field("filter_action"), "filter_action")),
        // Also what is newer than the messages we know.
        None => Ok(unsupported(at, "unknown action")),
    }
}

/// Requests that match get an error, so that they do not fall to a route not meant for them.
fn unsupported(at: At<'_>, what: &str) -> Action {
    at.finding(format!("{what} is not honoured; requests that match fail"));
    Action::Unsupported(format!("{what} is not supported").into())
}

fn forward(at: At<'_>, proto: &pb::RouteAction) -> Result<Action, Invalid> {
    use action::ClusterSpecifier as Proto;
    let cluster = match &proto.cluster_specifier {
        Some(Proto::Cluster(name)) if name.is_empty() => {
            return Err(at.field("cluster").invalid("is empty"));
        }
        Some(Proto::Cluster(name)) => ClusterSpecifier::Cluster(name.as_str().into()),
        Some(Proto::WeightedClusters(proto)) => {
            match weighted(at.field("weighted_clusters"), proto)? {
                Some(clusters) => ClusterSpecifier::Weighted(clusters),
                None => return Ok(unsupported(at, "a weighted cluster_header")),
            }
        }
        Some(Proto::ClusterHeader(_)) => {
            return Ok(unsupported(at.field("cluster_header"), "cluster_header"));
        }
        Some(Proto::ClusterSpecifierPlugin(_) | Proto::InlineClusterSpecifierPlugin(_)) => {
            return Ok(unsupported(at, "cluster_specifier_plugin"));
        }
        None => return Ok(unsupported(at, "unknown cluster specifier")),
    };
    let mut made = Forward::new(cluster);
    let timeout = at.field("timeout");
    made.timeout = common::optional_duration(timeout, proto.timeout.as_ref())?;
    if let Some(proto) = &proto.max_stream_duration {
        made.max_stream_duration = max_stream_duration(at.field("max_stream_duration"), proto)?;
    }
    if let Some(proto) = &proto.retry_policy {
        made.retry_policy = Some(Arc::new(retry::policy(at.field("retry_policy"), proto)?));
    }
    made.host_rewrite = host_rewrite(at, proto.host_rewrite_specifier.as_ref())?;
    report(at, proto);
    Ok(Action::Forward(Box::new(made)))
}

/// Every other field that changes what happens to a request.
#[allow(deprecated, reason = "older fields are reported as well")]
fn report(at: At<'_>, proto: &pb::RouteAction) {
    not_honoured!(
        at,
        proto,
        [
            cluster_not_found_response_code,
            metadata_match,
            prefix_rewrite,
            regex_rewrite,
            path_rewrite_policy,
            path_rewrite,
            append_x_forwarded_host,
            idle_timeout,
            flush_timeout,
            early_data_policy,
            retry_policy_typed_config,
            request_mirror_policies,
            priority,
            rate_limits,
            include_vh_rate_limits,
            hash_policy,
            cors,
            max_grpc_timeout,
            grpc_timeout_offset,
            upgrade_configs,
            internal_redirect_policy,
            internal_redirect_action,
            max_internal_redirects,
            hedge_policy,
        ]
    );
}

/// The clusters with their shares; `None` when one is chosen by a header.
fn weighted(
    at: At<'_>,
    proto: &pb::WeightedCluster,
) -> Result<Option<Vec<WeightedCluster>>, Invalid> {
    let mut made = Vec::with_capacity(proto.clusters.len());
    let mut sum = 0_u32;
    for (index, proto) in proto.clusters.iter().enumerate() {
        let at = at.index("clusters", index);
        if proto.name.is_empty() && !proto.cluster_header.is_empty() {
            return Ok(None);
        }
        if proto.name.is_empty() {
            return Err(at.field("name").invalid("is empty"));
        }
        let cluster = weighted_cluster(at, proto)?;
        sum = sum
            .checked_add(cluster.weight)
            .ok_or_else(|| at.field("weight").invalid("weights add up to over 2^32 - 1"))?;
        made.push(cluster);
    }
    if sum == 0 {
        return Err(at.invalid("weights add up to 0"));
    }
    not_honoured!(at, proto, [runtime_key_prefix, random_value_specifier]);
    Ok(Some(made))
}

fn weighted_cluster(at: At<'_>, proto: &ClusterWeight) -> Result<WeightedCluster, Invalid> {
    let weight = proto.weight.as_ref().map_or(0, |weight| weight.value);
    let mut made = WeightedCluster::new(proto.name.as_str(), weight);
    (made.request_headers, made.response_headers) = mutations!(at, proto)?;
    if let Some(cluster_weight::HostRewriteSpecifier::HostRewriteLiteral(host)) =
        &proto.host_rewrite_specifier
    {
        made.host_rewrite = host_literal(at.field("host_rewrite_literal"), host)?;
    }
    not_honoured!(at, proto, [metadata_match, typed_per_filter_config]);
    Ok(made)
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
    not_honoured!(at, proto, [grpc_timeout_header_offset]);
    Ok(made)
}

#[allow(deprecated, reason = "the older spelling is reported as well")]
fn host_rewrite(
    at: At<'_>,
    proto: Option<&action::HostRewriteSpecifier>,
) -> Result<Option<HeaderValue>, Invalid> {
    use action::HostRewriteSpecifier as Proto;
    let field = match proto {
        Some(Proto::HostRewriteLiteral(host)) => {
            return host_literal(at.field("host_rewrite_literal"), host);
        }
        Some(Proto::AutoHostRewrite(on)) if on.value => "auto_host_rewrite",
        Some(Proto::AutoHostRewrite(_)) | None => return Ok(None),
        Some(Proto::HostRewriteHeader(_)) => "host_rewrite_header",
        Some(Proto::HostRewritePathRegex(_)) => "host_rewrite_path_regex",
        Some(Proto::HostRewrite(_)) => "host_rewrite",
    };
    at.field(field).finding("is not honoured; the authority stays as it is");
    Ok(None)
}

/// An empty literal rewrites nothing.
fn host_literal(at: At<'_>, host: &str) -> Result<Option<HeaderValue>, Invalid> {
    if host.is_empty() {
        return Ok(None);
    }
    // An authority also goes into a URI, which takes less than a header value does.
    let authority: Result<http::uri::Authority, _> = host.parse();
    match (authority, HeaderValue::from_str(host)) {
        (Ok(_), Ok(value)) => Ok(Some(value)),
        _ => Err(at.invalid(format!("{host:?} is not an authority"))),
    }
}

fn direct_response(at: At<'_>, proto: &pb::DirectResponseAction) -> Result<Action, Invalid> {
    let status = u16::try_from(proto.status).ok().filter(|status| (200..600).contains(status));
    let status = status.and_then(|status| StatusCode::from_u16(status).ok()).ok_or_else(|| {
        at.field("status").invalid(format!("{} is not in 200 … 599", proto.status))
    })?;
    let body = proto.body.as_ref().and_then(|body| body.specifier.as_ref());
    let body = match body {
        Some(Specifier::InlineBytes(bytes)) => Bytes::copy_from_slice(bytes),
        Some(Specifier::InlineString(text)) => Bytes::copy_from_slice(text.as_bytes()),
        Some(Specifier::Filename(_) | Specifier::EnvironmentVariable(_)) => {
            at.field("body").finding("only inline bodies are honoured; the body is empty");
            Bytes::new()
        }
        None => Bytes::new(),
    };
    not_honoured!(at, proto, [body_format]);
    Ok(Action::DirectResponse { status, body })
}

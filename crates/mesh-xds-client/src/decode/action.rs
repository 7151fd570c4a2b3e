//! What routes do.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use mesh_core::resource::{
    Action, ClusterSpecifier, DirectResponse, Forward, ForwardOptions, MetadataMatch, PathMatcher,
    RoutingPriority,
};
use mesh_pb::envoy::config::core::v3 as core;
use mesh_pb::envoy::config::core::v3::data_source::Specifier;
use mesh_pb::envoy::config::route::v3 as pb;
use mesh_pb::envoy::config::route::v3::route_action as action;

use super::at::{At, Invalid};
use super::{common, forward, local_reply, policies, redirect, retry, rewrite, subsets, weighted};

/// The longest body of a direct response when nothing is said, in bytes.
pub(super) const BODY_LIMIT: u32 = 4096;

/// What the action of a route depends on beside itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Surroundings<'s> {
    /// The route's name.
    pub(super) route: &'s str,
    /// What it matches.
    pub(super) path: &'s PathMatcher,
}

pub(super) fn action(
    at: At<'_>,
    proto: Option<&pb::route::Action>,
    around: Surroundings<'_>,
) -> Result<Action, Invalid> {
    use pb::route::Action as Proto;
    match proto {
        Some(Proto::Route(proto)) => forward(at.field("route"), proto, around),
        Some(Proto::DirectResponse(proto)) => direct_response(at.field("direct_response"), proto),
        Some(Proto::NonForwardingAction(_)) => Ok(Action::NonForwarding),
        Some(Proto::Redirect(proto)) => {
            let made = redirect::redirect(at.field("redirect"), proto)?;
            Ok(Action::Redirect(Box::new(made)))
        }
        Some(Proto::FilterAction(_)) => Ok(unsupported(at.field("filter_action"), "filter_action")),
        // What is newer than the messages we know was there and is not read.
        None if at.shared().has_unknown_fields() => Ok(unsupported(at, "unknown action")),
        None => Err(at.field("action").invalid("is missing")),
    }
}

/// The name of a plugin, none of which is known.
pub(super) fn plugin<'p>(
    at: At<'_>,
    proto: &'p pb::ClusterSpecifierPlugin,
) -> Result<&'p str, Invalid> {
    let at_extension = at.field("extension");
    let extension = proto.extension.as_ref();
    let extension = extension.ok_or_else(|| at_extension.invalid("is missing"))?;
    if !proto.is_optional {
        let text = format!("{:?} is not supported, and the plugin is required", extension.name);
        return Err(at_extension.invalid(text));
    }
    Ok(&extension.name)
}

/// Requests that match get an error, so that they do not fall to a route not meant for them.
fn unsupported(at: At<'_>, what: &str) -> Action {
    at.finding(format!("{what} is not honoured; requests that match fail"));
    Action::Unsupported(format!("{what} is not supported").into())
}

fn forward(
    at: At<'_>,
    proto: &pb::RouteAction,
    around: Surroundings<'_>,
) -> Result<Action, Invalid> {
    use action::ClusterSpecifier as Proto;
    rewrite::check_path(at, proto, around.path)?;
    let asked = subsets::metadata_match(proto.metadata_match.as_ref());
    let cluster = match &proto.cluster_specifier {
        Some(Proto::Cluster(name)) => {
            common::non_empty(at.field("cluster"), name)?;
            ClusterSpecifier::Cluster(at.shared().name(name))
        }
        Some(Proto::WeightedClusters(proto)) => {
            let at = at.field("weighted_clusters");
            ClusterSpecifier::Weighted(weighted::clusters(
                at,
                proto,
                around.route,
                asked.as_deref(),
            )?)
        }
        Some(Proto::ClusterHeader(name)) => {
            ClusterSpecifier::Header(common::header_match(at.field("cluster_header"), name)?)
        }
        Some(Proto::ClusterSpecifierPlugin(name)) => {
            let at = at.field("cluster_specifier_plugin");
            if !at.shared().has_plugin(name) {
                let text = format!("{name:?} is not among the cluster_specifier_plugins");
                return Err(at.invalid(text));
            }
            return Ok(unsupported(at, "cluster_specifier_plugin"));
        }
        Some(Proto::InlineClusterSpecifierPlugin(proto)) => {
            let at = at.field("inline_cluster_specifier_plugin");
            plugin(at, proto)?;
            return Ok(unsupported(at, "inline_cluster_specifier_plugin"));
        }
        None if at.shared().has_unknown_fields() => {
            return Ok(unsupported(at, "unknown cluster specifier"));
        }
        None => return Err(at.field("cluster_specifier").invalid("is missing")),
    };
    // The rewrite of a template depends on what the route matches.
    if proto.path_rewrite_policy.is_some() {
        let options = Arc::new(options(at, proto, asked, around)?);
        return Ok(Action::Forward(Arc::new(Forward::with_options(cluster, options))));
    }
    let made = at.shared().action(proto, || {
        let options = at.options(proto, || options(at, proto, asked, around))?;
        Ok(Forward::with_options(cluster, options))
    })?;
    Ok(Action::Forward(made))
}

fn options(
    at: At<'_>,
    proto: &pb::RouteAction,
    metadata_match: Option<Arc<MetadataMatch>>,
    around: Surroundings<'_>,
) -> Result<ForwardOptions, Invalid> {
    let mut made = ForwardOptions::default();
    made.metadata_match = metadata_match;
    made.cluster_not_found_response_code = not_found(at, proto.cluster_not_found_response_code)?;
    let timeout = at.field("timeout");
    made.timeout = common::optional_duration(timeout, proto.timeout.as_ref())?;
    let idle_timeout = at.field("idle_timeout");
    made.idle_timeout = common::optional_duration(idle_timeout, proto.idle_timeout.as_ref())?;
    forward::timeouts(at, proto, &mut made)?;
    if let Some(proto) = &proto.retry_policy {
        made.retry_policy = Some(Arc::new(retry::policy(at.field("retry_policy"), proto)?));
    }
    made.path_rewrite = rewrite::path(at, proto, around.path)?;
    made.host_rewrite = rewrite::host(at, proto.host_rewrite_specifier.as_ref())?;
    made.append_x_forwarded_host = proto.append_x_forwarded_host;
    made.request_mirror_policies = policies::mirrors(at, &proto.request_mirror_policies)?;
    if let Some(proto) = &proto.internal_redirect_policy {
        let at = at.field("internal_redirect_policy");
        made.internal_redirect = Some(Arc::new(forward::internal_redirect(at, proto)?));
    }
    made.hash_policy = policies::hashes(at, &proto.hash_policy)?;
    made.priority = match core::RoutingPriority::try_from(proto.priority) {
        Ok(core::RoutingPriority::Default) => RoutingPriority::Default,
        Ok(core::RoutingPriority::High) => RoutingPriority::High,
        Err(_) => {
            let text = format!("unknown value {}", proto.priority);
            return Err(at.field("priority").invalid(text));
        }
    };
    made.cors = forward::older_cors(at, proto)?;
    forward::check(at, proto)?;
    forward::report(at, proto);
    Ok(made)
}

fn not_found(at: At<'_>, code: i32) -> Result<StatusCode, Invalid> {
    use action::ClusterNotFoundResponseCode as Code;
    Ok(match Code::try_from(code) {
        Ok(Code::ServiceUnavailable) => StatusCode::SERVICE_UNAVAILABLE,
        Ok(Code::NotFound) => StatusCode::NOT_FOUND,
        Ok(Code::InternalServerError) => StatusCode::INTERNAL_SERVER_ERROR,
        Err(_) => {
            let at = at.field("cluster_not_found_response_code");
            return Err(at.invalid(format!("unknown value {code}")));
        }
    })
}

fn direct_response(at: At<'_>, proto: &pb::DirectResponseAction) -> Result<Action, Invalid> {
    let status = u16::try_from(proto.status).ok().filter(|status| (200..600).contains(status));
    let status = status.and_then(|status| StatusCode::from_u16(status).ok()).ok_or_else(|| {
        at.field("status").invalid(format!("{} is not in 200 … 599", proto.status))
    })?;
    let at_body = at.field("body");
    let body = proto.body.as_ref().and_then(|body| body.specifier.as_ref());
    let body = match body {
        Some(Specifier::InlineBytes(bytes)) => Bytes::copy_from_slice(bytes),
        Some(Specifier::InlineString(text)) => Bytes::copy_from_slice(text.as_bytes()),
        Some(Specifier::Filename(_) | Specifier::EnvironmentVariable(_)) => {
            at_body.finding("only inline bodies are honoured; the body is empty");
            Bytes::new()
        }
        None if proto.body.is_some() => return Err(at_body.invalid("has no specifier")),
        None => Bytes::new(),
    };
    let limit = at.shared().body_limit();
    if body.len() > limit as usize {
        let text = format!("is {} bytes long, over the limit of {limit}", body.len());
        return Err(at_body.invalid(text));
    }
    let mut made = DirectResponse::new(status, body);
    if let Some(proto) = &proto.body_format {
        let format = local_reply::body_format(at.field("body_format"), proto)?;
        made.body_format = Some(Arc::new(format));
    }
    Ok(Action::DirectResponse(Box::new(made)))
}

//! Rewrites of paths and authorities.

use std::sync::Arc;

use mesh_core::headers::Format;
use mesh_core::resource::{HostRewrite, PathMatcher, PathRewrite, TemplateRewrite};
use mesh_pb::envoy::config::route::v3 as pb;
use mesh_pb::envoy::config::route::v3::route_action::HostRewriteSpecifier;
use mesh_pb::envoy::extensions::path::rewrite::uri_template::v3::UriTemplateRewriteConfig;

use super::at::{At, Invalid};
use super::common;

/// At most one rewrite, and one that goes with what the route matches.
pub(super) fn check_path(
    at: At<'_>,
    proto: &pb::RouteAction,
    path: &PathMatcher,
) -> Result<(), Invalid> {
    common::one_line(at.field("prefix_rewrite"), &proto.prefix_rewrite)?;
    let given = [
        !proto.prefix_rewrite.is_empty(),
        proto.regex_rewrite.is_some(),
        proto.path_rewrite_policy.is_some(),
        !proto.path_rewrite.is_empty(),
    ];
    if given.iter().filter(|given| **given).count() > 1 {
        let text = "only one of prefix_rewrite, regex_rewrite, path_rewrite_policy and path_rewrite \
                    may be given";
        return Err(at.invalid(text));
    }
    if matches!(path, PathMatcher::Template(_)) && !proto.prefix_rewrite.is_empty() {
        let at = at.field("prefix_rewrite");
        return Err(at.invalid("cannot be used with path_match_policy"));
    }
    Ok(())
}

pub(super) fn path(
    at: At<'_>,
    proto: &pb::RouteAction,
    path: &PathMatcher,
) -> Result<Option<PathRewrite>, Invalid> {
    if !proto.prefix_rewrite.is_empty() {
        return Ok(Some(PathRewrite::Prefix(at.shared().name(&proto.prefix_rewrite))));
    }
    if let Some(proto) = &proto.regex_rewrite {
        let made = common::regex_rewrite(at.field("regex_rewrite"), proto)?;
        return Ok(Some(PathRewrite::Regex(made)));
    }
    if !proto.path_rewrite.is_empty() {
        let made = format(at.field("path_rewrite"), &proto.path_rewrite)?;
        return Ok(Some(PathRewrite::Format(Arc::new(made))));
    }
    let Some(proto) = &proto.path_rewrite_policy else { return Ok(None) };
    let at = at.field("path_rewrite_policy");
    let config: UriTemplateRewriteConfig = common::extension(at, proto.typed_config.as_ref())?;
    let PathMatcher::Template(template) = path else {
        return Err(at.invalid("can only be used with path_match_policy"));
    };
    let made = TemplateRewrite::new(&config.path_template_rewrite, template).map_err(|error| {
        let text = format!("{} is invalid: {error}", config.path_template_rewrite);
        at.field("path_template_rewrite").invalid(text)
    })?;
    Ok(Some(PathRewrite::Template(Arc::new(made))))
}

pub(super) fn host(
    at: At<'_>,
    proto: Option<&HostRewriteSpecifier>,
) -> Result<Option<HostRewrite>, Invalid> {
    use HostRewriteSpecifier as Proto;
    match proto {
        Some(Proto::HostRewriteLiteral(host)) => {
            let value = common::header_value(at.field("host_rewrite_literal"), host)?;
            Ok(value.map(HostRewrite::Literal))
        }
        Some(Proto::HostRewriteHeader(name)) => {
            let at = at.field("host_rewrite_header");
            common::one_line(at, name)?;
            if let ":path" | ":method" | ":authority" | ":scheme" = name.as_str() {
                let made = format(at, &format!("%REQ({name})%"))?;
                return Ok(Some(HostRewrite::Format(Arc::new(made))));
            }
            // No request has another one.
            if name.is_empty() || name.starts_with(':') {
                return Ok(None);
            }
            Ok(Some(HostRewrite::Header(common::header_name(at, name)?)))
        }
        Some(Proto::HostRewritePathRegex(proto)) => {
            let at = at.field("host_rewrite_path_regex");
            Ok(Some(HostRewrite::PathRegex(common::regex_rewrite(at, proto)?)))
        }
        Some(Proto::AutoHostRewrite(on)) if on.value => Ok(Some(HostRewrite::Endpoint)),
        Some(Proto::AutoHostRewrite(_)) | None => Ok(None),
        Some(Proto::HostRewrite(host)) if !host.contains(['%', '\n', '\r', '\0']) => {
            let value = common::header_value(at.field("host_rewrite"), host)?;
            Ok(value.map(HostRewrite::Literal))
        }
        Some(Proto::HostRewrite(text)) => {
            Ok(Some(HostRewrite::Format(Arc::new(format(at.field("host_rewrite"), text)?))))
        }
    }
}

/// A text with commands that becomes a path or an authority.
pub(super) fn format(at: At<'_>, text: &str) -> Result<Format, Invalid> {
    let note = |name: &str, text: &str| at.finding(format!("%{name}% {text}"));
    Format::parse(text.as_bytes(), note).map_err(|error| at.invalid(error.to_string()))
}

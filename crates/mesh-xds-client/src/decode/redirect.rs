//! Redirects.

use std::sync::Arc;

use http::StatusCode;
use mesh_core::resource::{Redirect, RedirectPath};
use mesh_pb::envoy::config::route::v3 as pb;
use pb::redirect_action::{PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier};

use super::at::{At, Invalid};
use super::{common, rewrite};

pub(super) fn redirect(at: At<'_>, proto: &pb::RedirectAction) -> Result<Redirect, Invalid> {
    let mut made = Redirect::new();
    made.scheme = match &proto.scheme_rewrite_specifier {
        Some(SchemeRewriteSpecifier::HttpsRedirect(true)) => Some("https".into()),
        Some(SchemeRewriteSpecifier::SchemeRedirect(scheme)) if !scheme.is_empty() => {
            Some(scheme.as_str().into())
        }
        _ => None,
    };
    common::one_line(at.field("host_redirect"), &proto.host_redirect)?;
    made.host_redirect = proto.host_redirect.as_str().into();
    made.port_redirect = proto.port_redirect;
    made.path = path(at, proto.path_rewrite_specifier.as_ref())?;
    made.response_code = response_code(at.field("response_code"), proto.response_code)?;
    made.strip_query = proto.strip_query;
    Ok(made)
}

fn path(at: At<'_>, proto: Option<&PathRewriteSpecifier>) -> Result<RedirectPath, Invalid> {
    Ok(match proto {
        Some(PathRewriteSpecifier::PathRedirect(path)) => {
            common::one_line(at.field("path_redirect"), path)?;
            match path.as_str() {
                "" => RedirectPath::Keep,
                path if path.starts_with('/') => RedirectPath::Path(path.into()),
                path => RedirectPath::Path(format!("/{path}").into()),
            }
        }
        Some(PathRewriteSpecifier::PrefixRewrite(prefix)) => {
            common::one_line(at.field("prefix_rewrite"), prefix)?;
            match prefix.as_str() {
                "" => RedirectPath::Keep,
                prefix => RedirectPath::Prefix(prefix.into()),
            }
        }
        Some(PathRewriteSpecifier::RegexRewrite(proto)) => {
            RedirectPath::Regex(common::regex_rewrite(at.field("regex_rewrite"), proto)?)
        }
        Some(PathRewriteSpecifier::PathRewrite(format)) if format.is_empty() => RedirectPath::Keep,
        Some(PathRewriteSpecifier::PathRewrite(format)) => {
            RedirectPath::Format(Arc::new(rewrite::format(at.field("path_rewrite"), format)?))
        }
        None => RedirectPath::Keep,
    })
}

fn response_code(at: At<'_>, proto: i32) -> Result<StatusCode, Invalid> {
    Ok(match RedirectResponseCode::try_from(proto) {
        Ok(RedirectResponseCode::MovedPermanently) => StatusCode::MOVED_PERMANENTLY,
        Ok(RedirectResponseCode::Found) => StatusCode::FOUND,
        Ok(RedirectResponseCode::SeeOther) => StatusCode::SEE_OTHER,
        Ok(RedirectResponseCode::TemporaryRedirect) => StatusCode::TEMPORARY_REDIRECT,
        Ok(RedirectResponseCode::PermanentRedirect) => StatusCode::PERMANENT_REDIRECT,
        Err(_) => return Err(at.invalid(format!("unknown value {proto}"))),
    })
}

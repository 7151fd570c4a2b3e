//! Routes that answer by themselves, without a cluster.

use mesh_pb::envoy::config::core::v3::{DataSource, data_source::Specifier};
use mesh_pb::envoy::config::route::v3 as xds;
use mesh_pb::envoy::config::route::v3::redirect_action::{
    PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier,
};
use mesh_pb::envoy::config::route::v3::route::Action;

use crate::kind::{DerivePort, DirectResponse, HttpRoute, Redirect};

/// The answer of a route that has one. `port` is where the target was dialled.
pub(super) fn answer(http: &HttpRoute, port: u16) -> Option<Action> {
    let redirected = http.redirect.as_ref().map(|r| Action::Redirect(redirect(r, port)));
    let answered =
        || http.direct_response.as_ref().map(direct_response).map(Action::DirectResponse);
    redirected.or_else(answered)
}

fn redirect(redirect: &Redirect, dialled: u16) -> xds::RedirectAction {
    let path = match (redirect.uri.as_str(), redirect.prefix_rewrite.as_str()) {
        ("", "") => None,
        ("", prefix) => Some(PathRewriteSpecifier::PrefixRewrite(prefix.to_owned())),
        (path, _) => Some(PathRewriteSpecifier::PathRedirect(path.to_owned())),
    };
    let scheme = redirect.scheme.as_str();
    let port = match redirect.derive_port {
        // Envoy cannot derive it; but routes are made for one port each.
        Some(DerivePort::FromRequestPort) => u32::from(dialled),
        Some(DerivePort::FromProtocolDefault) => 0,
        None => redirect.port,
    };
    let default = matches!((port, scheme), (80, "" | "http") | (443, "https"));
    let code = match redirect.redirect_code {
        302 => RedirectResponseCode::Found,
        303 => RedirectResponseCode::SeeOther,
        307 => RedirectResponseCode::TemporaryRedirect,
        308 => RedirectResponseCode::PermanentRedirect,
        _ => RedirectResponseCode::MovedPermanently,
    };
    xds::RedirectAction {
        host_redirect: redirect.authority.clone(),
        port_redirect: if default { 0 } else { port },
        response_code: code.into(),
        scheme_rewrite_specifier: (!scheme.is_empty())
            .then(|| SchemeRewriteSpecifier::SchemeRedirect(scheme.to_owned())),
        path_rewrite_specifier: path,
        ..Default::default()
    }
}

fn direct_response(response: &DirectResponse) -> xds::DirectResponseAction {
    let body = response.body.as_ref().and_then(|body| match (&body.string, &body.bytes) {
        (Some(text), _) => Some(Specifier::InlineString(text.clone())),
        (None, Some(bytes)) => Some(Specifier::InlineBytes(bytes.0.clone())),
        (None, None) => None,
    });
    xds::DirectResponseAction {
        status: response.status,
        body: body.map(|body| DataSource { specifier: Some(body), ..Default::default() }),
        ..Default::default()
    }
}

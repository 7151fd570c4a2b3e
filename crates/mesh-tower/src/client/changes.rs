//! What else is worked out or changed of a request before it is sent.

use http::uri::Authority;
use http::{HeaderValue, Request, Uri, header};
use mesh_core::Head;
use mesh_core::route::HashContext;
use mesh_core::snapshot::RouteView;

use super::history::History;
use super::routing::Place;
use crate::body::Body;

/// The hash of a request as it is sent upstream (Envoy computes it after the route's changes).
#[inline(never)]
pub(super) fn hash(
    view: &RouteView<'_>,
    request: &Request<Body>,
    place: &Place<'_>,
    random: u64,
    history: &mut History,
) {
    let channel = place.target.number();
    let context = HashContext { dialect: place.dialect, channel, random };
    let History { hash, cookies, .. } = history;
    *hash = view.hash(&Head::of(request), &context, |cookie| cookies.push(cookie));
}

/// Puts another authority into a request.
pub(super) fn rewrite_host<B>(request: &mut Request<B>, host: &HeaderValue) {
    if request.uri().authority().is_some()
        && let Ok(authority) = Authority::try_from(host.as_bytes())
    {
        change_uri(request, |parts| parts.authority = Some(authority));
    }
    // Where there is a Host header, it is what the connection goes by.
    if request.uri().authority().is_none() || request.headers().contains_key(header::HOST) {
        request.headers_mut().insert(header::HOST, host.clone());
    }
}

/// Puts other parts into a request's URI, when they make one.
pub(super) fn change_uri<B>(request: &mut Request<B>, change: impl FnOnce(&mut http::uri::Parts)) {
    let mut parts = request.uri().clone().into_parts();
    change(&mut parts);
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
}

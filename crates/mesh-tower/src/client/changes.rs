//! What else is worked out or changed of a request before it is sent.

use http::uri::{Authority, PathAndQuery};
use http::{HeaderValue, Request, Uri, header};
use mesh_core::Head;
use mesh_core::route::HashContext;
use mesh_core::snapshot::RouteView;

use super::history::History;
use super::messages::Unwritable;
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
pub(super) fn rewrite_host<B>(request: &mut Request<B>, host: &[u8]) -> Result<(), Unwritable> {
    const WRONG: Unwritable = Unwritable(":authority");
    // Never both URI and header: a request has one authority.
    if request.uri().authority().is_some() {
        let authority = Authority::try_from(host).map_err(|_| WRONG)?;
        return change_uri(request, |parts| parts.authority = Some(authority)).ok_or(WRONG);
    }
    let host = HeaderValue::from_bytes(host).ok().filter(|host| !host.is_empty()).ok_or(WRONG)?;
    request.headers_mut().insert(header::HOST, host);
    Ok(())
}

/// Puts another path with its query into a request.
pub(super) fn rewrite_path<B>(request: &mut Request<B>, path: &str) -> Result<(), Unwritable> {
    const WRONG: Unwritable = Unwritable(":path");
    let parsed = PathAndQuery::try_from(path).ok();
    // A URI drops a fragment without a word, and takes what does not begin with a slash for a part
    // of its authority.
    let parsed = parsed.filter(|parsed| parsed.as_str() == path && path.starts_with('/'));
    let parsed = parsed.ok_or(WRONG)?;
    change_uri(request, |parts| parts.path_and_query = Some(parsed)).ok_or(WRONG)
}

/// Puts other parts into a request's URI, when they make one.
fn change_uri<B>(
    request: &mut Request<B>,
    change: impl FnOnce(&mut http::uri::Parts),
) -> Option<()> {
    let mut parts = request.uri().clone().into_parts();
    change(&mut parts);
    *request.uri_mut() = Uri::from_parts(parts).ok()?;
    Some(())
}

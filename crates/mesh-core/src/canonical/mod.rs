//! One form of path and authority, decided before anything looks at them.
//!
//! Routing, authorization and the upstream must all see the same path: where one of them reads
//! `/a/../b` and another `/b`, a rule can be walked around. So the connection manager's options
//! are applied first, and what comes out is the request from then on. The rules are Envoy's, which
//! takes the canonical form of paths from the URL library of Chromium.
//!
//! Nothing is allocated for a request that is canonical already.

mod arrival;
mod authority;
mod headers;
mod path;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use http::header::{CONNECTION, LOCATION};
use http::{HeaderName, HeaderValue, StatusCode};

use crate::exchange::{Reply, ResponseFlags};
use crate::filter::Request;
use crate::resource::{CanonicalOptions, HeadersWithUnderscoresAction, PathOptions, StripPort};

use path::Canonical;

pub use arrival::{Unnamed, arrive};

/// Brings a request into its canonical form; the answer to it when it has none, or when its
/// client shall ask again for the canonical path.
///
/// A client from outside loses the `x-envoy-*` headers that steer this proxy, and with them
/// `internal_only` ones; the application itself and internal clients ([`arrive`]) are trusted with
/// them.
#[inline]
pub fn canonicalize(
    options: &CanonicalOptions,
    internal_only: &[HeaderName],
    request: &mut Request<'_>,
) -> Option<Box<Reply>> {
    let external = request.origin.peer.is_some();
    if options.is_idle() && !external && !request.path.contains('#') {
        return None;
    }
    apply(options, internal_only, request, external)
}

#[cold]
fn apply(
    options: &CanonicalOptions,
    internal_only: &[HeaderName],
    request: &mut Request<'_>,
    external: bool,
) -> Option<Box<Reply>> {
    if external && options.max_headers_count.is_some_and(|most| headers::exceed(request, most)) {
        let reply =
            Reply::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "http1.too_many_headers");
        let reply = reply.with_flags(ResponseFlags::DOWNSTREAM_PROTOCOL_ERROR);
        return Some(Box::new(reply.with_text("Request Header Fields Too Large")));
    }
    match options.headers_with_underscores_action {
        HeadersWithUnderscoresAction::Allow => {}
        HeadersWithUnderscoresAction::Drop => headers::drop_underscores(request.headers),
        HeadersWithUnderscoresAction::Reject if headers::has_underscores(request.headers) => {
            let reply = Reply::new(StatusCode::BAD_REQUEST, "http1.unexpected_underscore");
            let reply = reply.with_flags(ResponseFlags::DOWNSTREAM_PROTOCOL_ERROR);
            return Some(Box::new(reply.with_text("Bad Request")));
        }
        HeadersWithUnderscoresAction::Reject => {}
    }
    if external {
        // Only a proxy that verified a certificate may tell of it (Envoy's default).
        request.headers.remove(headers::FORWARDED_CLIENT_CERT);
        if !request.origin.internal {
            headers::sanitize(request.headers, internal_only);
        }
    }
    let reply = canonical_path(&options.path, request);
    if reply.is_some() {
        return reply;
    }
    if options.strip_trailing_host_dot {
        strip(&mut request.authority, authority::without_trailing_dot);
    }
    match options.strip_port {
        StripPort::Keep => {}
        StripPort::Any => strip(&mut request.authority, |host| authority::without_port(host, None)),
        StripPort::Matching => {
            if let Some(local) = request.origin.local {
                strip(&mut request.authority, |host| {
                    authority::without_port(host, Some(local.port()))
                });
            }
        }
    }
    None
}

/// Told of a path that was refused, or is redirected.
const PATH_DETAILS: &str = "path_normalization_failed";

fn canonical_path(options: &PathOptions, request: &mut Request<'_>) -> Option<Box<Reply>> {
    match path::canonical(options, &request.path) {
        Canonical::Same => None,
        Canonical::Changed(path) => {
            request.path = Cow::Owned(path);
            None
        }
        Canonical::Redirect(path) => {
            let Ok(location) = HeaderValue::try_from(path) else { return refused() };
            let mut reply = Reply::new(StatusCode::TEMPORARY_REDIRECT, PATH_DETAILS);
            reply.headers.insert(LOCATION, location);
            Some(Box::new(reply))
        }
        Canonical::Invalid => refused(),
    }
}

/// Nothing more is read from who sends such a path (Envoy).
fn refused() -> Option<Box<Reply>> {
    let mut reply = Reply::new(StatusCode::BAD_REQUEST, PATH_DETAILS);
    reply.headers.insert(CONNECTION, HeaderValue::from_static("close"));
    Some(Box::new(reply))
}

fn strip(text: &mut Cow<'_, str>, change: impl Fn(&str) -> Option<String>) {
    if let Some(changed) = change(text) {
        *text = Cow::Owned(changed);
    }
}

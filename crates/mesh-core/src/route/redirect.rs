//! Where a redirect leads, as Envoy puts the location together.

use super::rewrite::{matched_len, replace_path};
use crate::head::Head;
use crate::resource::{Redirect, RedirectPath, RouteMatch, TlsRequirement};

/// The value of `location`.
///
/// `made` is what a path with commands became.
pub(crate) fn location(
    redirect: &Redirect,
    matcher: &RouteMatch,
    head: &Head<'_>,
    made: &str,
) -> String {
    let scheme = match &redirect.scheme {
        Some(scheme) => scheme,
        None => scheme(head),
    };
    let port = match redirect.port_redirect {
        0 => String::new(),
        port => format!(":{port}"),
    };
    let host = match &*redirect.host_redirect {
        "" => host(head, scheme, !port.is_empty()),
        host => host,
    };
    let path = path(redirect, matcher, head, made);
    format!("{scheme}://{host}{port}{path}")
}

/// The request's authority, less a port that is replaced or that its new scheme does not have.
fn host<'a>(head: &Head<'a>, scheme: &str, replaces_port: bool) -> &'a str {
    let authority = head.host();
    let end = match authority.strip_prefix('[') {
        Some(inner) => inner.rfind("]:").map(|at| at + 2),
        None => authority.rfind(':'),
    };
    let Some(end) = end else { return authority };
    let forwarded = forwarded_proto(head);
    let is_default = match &authority[end..] {
        ":443" => forwarded == "https",
        ":80" => forwarded == "http",
        _ => false,
    };
    if replaces_port || (scheme != forwarded && is_default) { &authority[..end] } else { authority }
}

fn path(redirect: &Redirect, matcher: &RouteMatch, head: &Head<'_>, made: &str) -> String {
    let (mut path, keeps_query) = match &redirect.path {
        RedirectPath::Format(_) if !made.is_empty() => {
            let slash = if made.starts_with('/') { "" } else { "/" };
            replaced(&format!("{slash}{made}"), head)
        }
        RedirectPath::Keep | RedirectPath::Format(_) => (head.path_and_query.to_owned(), false),
        RedirectPath::Path(path) => replaced(path, head),
        RedirectPath::Prefix(new) => {
            let matched = matched_len(matcher, head.path());
            let rest = head.path_and_query.get(matched..).unwrap_or("");
            (format!("{new}{rest}"), false)
        }
        RedirectPath::Regex(rewrite) => {
            (replace_path(head.path_and_query, |path| rewrite.replace_all(path)), false)
        }
    };
    if redirect.strip_query && !keeps_query {
        path.truncate(path.find('?').unwrap_or(path.len()));
    }
    path
}

/// Another path, with the request's query unless it has its own; and whether it has.
fn replaced(path: &str, head: &Head<'_>) -> (String, bool) {
    if path.contains('?') {
        return (path.to_owned(), true);
    }
    let query = head.path_and_query.find('?').map(|at| &head.path_and_query[at..]);
    (format!("{path}{}", query.unwrap_or("")), false)
}

/// The scheme a request came with, as `x-forwarded-proto` says, else its own.
pub(crate) fn forwarded_proto<'a>(head: &Head<'a>) -> &'a str {
    let header = head.headers.get("x-forwarded-proto").and_then(|value| value.to_str().ok());
    header.filter(|proto| !proto.is_empty()).unwrap_or_else(|| own_scheme(head))
}

fn own_scheme<'a>(head: &Head<'a>) -> &'a str {
    if head.scheme.is_empty() { "http" } else { head.scheme }
}

/// `:scheme` as Envoy sets it: what was forwarded, if that is a scheme of HTTP.
fn scheme<'a>(head: &Head<'a>) -> &'a str {
    match forwarded_proto(head) {
        known @ ("http" | "https") => known,
        _ => own_scheme(head),
    }
}

/// Whether a virtual host wants this request to come again over TLS.
#[inline]
pub(crate) fn needs_tls(requirement: TlsRequirement, head: &Head<'_>) -> bool {
    requirement != TlsRequirement::None && lacks_tls(requirement, head)
}

#[cold]
fn lacks_tls(requirement: TlsRequirement, head: &Head<'_>) -> bool {
    // An application's own request is internal, as one that an edge proxy marked.
    let is_internal = head.origin.peer.is_none() && head.origin.remote.is_none()
        || head.headers.get("x-envoy-internal").is_some_and(|value| value == "true");
    forwarded_proto(head) != "https" && (requirement == TlsRequirement::All || !is_internal)
}

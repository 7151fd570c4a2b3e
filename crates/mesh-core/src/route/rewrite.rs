//! What rewrites make of paths and authorities.

use std::borrow::Cow;

use http::{HeaderMap, HeaderValue};

use crate::resource::{HostRewrite, PathMatcher, PathRewrite, RouteMatch};

/// The path with the query after the rewrite of a route that matched; `None` when it stays.
pub(crate) fn rewrite_path(
    rewrite: &PathRewrite,
    matcher: &RouteMatch,
    path_and_query: &str,
) -> Option<String> {
    match rewrite {
        PathRewrite::Prefix(new) => {
            let matched = matched_len(matcher, without_query(path_and_query));
            Some(format!("{new}{}", path_and_query.get(matched..)?))
        }
        PathRewrite::Regex(rewrite) => {
            // Envoy's rule: one that changes nothing counts as a rewrite, one that leaves nothing not.
            let path = without_query(path_and_query);
            let made = rewrite.replace_all(path);
            (!made.is_empty()).then(|| format!("{made}{}", &path_and_query[path.len()..]))
        }
        PathRewrite::Template(rewrite) => {
            let path = without_query(path_and_query);
            let made = rewrite.rewrite(path)?;
            Some(format!("{made}{}", &path_and_query[path.len()..]))
        }
        // It needs more than the request.
        PathRewrite::Format(_) => None,
    }
}

/// The path with the query after a rewrite to a path that was made of the request; `None` when it
/// stays, because nothing was.
pub(crate) fn rewrite_to(made: &[u8], path_and_query: &str) -> Option<String> {
    let made = str::from_utf8(made).ok().filter(|made| !made.is_empty())?;
    Some(replace_path(path_and_query, |_| Cow::Borrowed(made)))
}

/// The authority after a rewrite; `None` when it stays.
pub(crate) fn rewrite_host(
    rewrite: &HostRewrite,
    headers: &HeaderMap,
    path_and_query: &str,
) -> Option<HeaderValue> {
    match rewrite {
        HostRewrite::Literal(host) => Some(host.clone()),
        HostRewrite::Header(name) => headers.get(name).filter(|value| !value.is_empty()).cloned(),
        HostRewrite::PathRegex(rewrite) => {
            let host = rewrite.replace_all(without_query(path_and_query));
            HeaderValue::from_str(&host).ok()
        }
        // The one waits for an endpoint, the other needs more than the request.
        HostRewrite::Endpoint | HostRewrite::Format(_) => None,
    }
}

/// How much of a path a route matched: what a prefix rewrite replaces.
pub(super) fn matched_len(matcher: &RouteMatch, path: &str) -> usize {
    match &matcher.path {
        PathMatcher::Prefix(prefix) | PathMatcher::PathSeparatedPrefix(prefix) => prefix.len(),
        PathMatcher::Exact(exact) => exact.len(),
        PathMatcher::Regex(_) | PathMatcher::Template(_) | PathMatcher::Connect => path.len(),
    }
}

/// `path_and_query` with its path replaced.
pub(super) fn replace_path<'p>(
    path_and_query: &'p str,
    with: impl FnOnce(&'p str) -> Cow<'p, str>,
) -> String {
    let path = without_query(path_and_query);
    format!("{}{}", with(path), &path_and_query[path.len()..])
}

fn without_query(path: &str) -> &str {
    let end = memchr::memchr2(b'?', b'#', path.as_bytes());
    end.map_or(path, |end| &path[..end])
}

use std::fmt;
use std::ops::Range;

use http::header::{COOKIE, HOST, HeaderName};
use http::{HeaderMap, HeaderValue, Method};
use smallvec::SmallVec;

use super::direct::header_holds;
use super::others::{others_mismatch, parameter_mismatch};
use crate::dialect::Dialect;
use crate::head::Head;
use crate::resource::{
    CookieMatcher, HeaderMatch, HeaderMatcher, MetadataMatcher, PathMatcher, QueryParameterMatcher,
    RouteMatch, ValueMatch, begins, starts_with,
};

/// The first condition of a route that does not hold.
#[derive(Clone, Copy, Debug)]
pub enum Mismatch<'a> {
    /// The path.
    Path(&'a RouteMatch),
    /// A header.
    Header(&'a HeaderMatcher),
    /// A query parameter.
    QueryParameter(&'a QueryParameterMatcher),
    /// A cookie.
    Cookie(&'a CookieMatcher),
    /// What filters noted of the request.
    DynamicMetadata(&'a MetadataMatcher),
    /// What TLS said of the peer.
    TlsContext,
    /// Filter state, which requests here do not have.
    FilterState,
    /// The request is not in the share the route takes.
    RuntimeFraction(u32),
}

impl fmt::Display for Mismatch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(matcher) => {
                let case = if matcher.case_sensitive { "" } else { ", case ignored" };
                match &matcher.path {
                    PathMatcher::Prefix(path) => write!(f, "path prefix is not {path:?}{case}"),
                    PathMatcher::Exact(path) => write!(f, "path is not {path:?}{case}"),
                    PathMatcher::Regex(regex) => {
                        write!(f, "path does not match regex {:?}", regex.source())
                    }
                    PathMatcher::PathSeparatedPrefix(path) => {
                        write!(f, "path is not {path:?} or below{case}")
                    }
                    PathMatcher::Template(template) => {
                        write!(f, "path does not match template {:?}", template.source())
                    }
                    PathMatcher::Connect => f.write_str("method is not CONNECT"),
                }
            }
            Self::Header(matcher) => {
                let not = if matcher.invert { "inverted " } else { "" };
                write!(f, "{not}header condition on {} does not hold", Header(&matcher.name))?;
                write!(f, ": {}", matcher.value)
            }
            Self::QueryParameter(matcher) => {
                write!(f, "query parameter condition on {:?} does not hold", matcher.name)
            }
            Self::Cookie(matcher) => {
                write!(f, "cookie condition on {:?} does not hold: ", matcher.name)?;
                matcher.value.fmt(f)
            }
            Self::DynamicMetadata(matcher) => {
                write!(f, "condition on metadata of {:?} does not hold", matcher.filter)
            }
            Self::TlsContext => f.write_str("the peer's certificate is not as it must be"),
            Self::FilterState => f.write_str("there is no filter state"),
            Self::RuntimeFraction(share) => {
                write!(f, "not among the {share} in a million this route takes")
            }
        }
    }
}

struct Header<'a>(&'a HeaderMatch);

impl fmt::Display for Header<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            HeaderMatch::Header(name) => name.as_str(),
            HeaderMatch::Method => ":method",
            HeaderMatch::Authority => ":authority",
            HeaderMatch::Path => ":path",
            HeaderMatch::Scheme => ":scheme",
        })
    }
}

/// Why `matcher` does not take this request; `None` when it does. `path` is the head's.
pub(crate) fn first_mismatch<'a>(
    matcher: &'a RouteMatch,
    head: &Head<'_>,
    path: &str,
    dialect: Dialect,
    random: u64,
) -> Option<Mismatch<'a>> {
    if !path_matches(matcher, path) {
        return Some(Mismatch::Path(matcher));
    }
    conditions_mismatch(matcher, head, dialect, random)
}

/// As [`first_mismatch`] for a path that is known to match.
#[inline(always)]
pub(super) fn conditions_mismatch<'a>(
    matcher: &'a RouteMatch,
    head: &Head<'_>,
    dialect: Dialect,
    random: u64,
) -> Option<Mismatch<'a>> {
    for header in &matcher.headers {
        if !header_matches(header, head, dialect) {
            return Some(Mismatch::Header(header));
        }
    }
    if !matcher.query_parameters.is_empty() {
        let parameter = parameter_mismatch(&matcher.query_parameters, head.query());
        if let Some(parameter) = parameter {
            return Some(Mismatch::QueryParameter(parameter));
        }
    }
    if let Some(others) = &matcher.others {
        let mismatch = others_mismatch(others, head);
        if mismatch.is_some() {
            return mismatch;
        }
    }
    match matcher.runtime_fraction {
        Some(share) if fraction_draw(random) >= share => Some(Mismatch::RuntimeFraction(share)),
        _ if is_other_method(matcher, head) => Some(Mismatch::Path(matcher)),
        _ => None,
    }
}

/// Whether the route is for CONNECT and the request is another. All that is looked at to find that
/// out is in the cache line of the path.
#[inline(always)]
fn is_other_method(matcher: &RouteMatch, head: &Head<'_>) -> bool {
    matches!(matcher.path, PathMatcher::Connect) && *head.method != Method::CONNECT
}

#[inline(always)]
pub(super) fn path_matches(matcher: &RouteMatch, path: &str) -> bool {
    match &matcher.path {
        PathMatcher::Prefix(prefix) if matcher.case_sensitive => begins(path, prefix),
        _ => any_path_matches(matcher, path),
    }
}

/// As [`path_matches`]; apart, because prefixes are nearly all there are.
#[inline(never)]
fn any_path_matches(matcher: &RouteMatch, path: &str) -> bool {
    let ignore_case = !matcher.case_sensitive;
    match &matcher.path {
        PathMatcher::Prefix(prefix) => starts_with(path.as_bytes(), prefix, ignore_case),
        PathMatcher::Exact(exact) if ignore_case => path.eq_ignore_ascii_case(exact),
        PathMatcher::Exact(exact) => path == &**exact,
        PathMatcher::Regex(regex) => regex.is_full_match(path),
        PathMatcher::Template(template) => template.is_match(path),
        PathMatcher::Connect => true,
        PathMatcher::PathSeparatedPrefix(prefix) => {
            starts_with(path.as_bytes(), prefix, ignore_case)
                && matches!(path.as_bytes().get(prefix.len()), None | Some(b'/'))
        }
    }
}

/// A number below a million, drawn once per request: routes after one another that ask for the
/// same share see the same draw, as in Envoy. Mixed (SplitMix64's finaliser), so that it does not
/// go with the weighted choice, which takes `random` as it is.
pub(super) fn fraction_draw(random: u64) -> u32 {
    const MILLION: u64 = 1_000_000;
    let mixed = (random ^ (random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 31)) % MILLION) as u32
}

/// Whether a condition on a header holds.
pub(crate) fn header_matches(matcher: &HeaderMatcher, head: &Head<'_>, dialect: Dialect) -> bool {
    match &matcher.name {
        HeaderMatch::Header(name) if !is_elsewhere(name, dialect) => {
            let held = header_holds(matcher, head.headers);
            held.unwrap_or_else(|| any_header_matches(matcher, &matcher.name, head, dialect))
        }
        name => any_header_matches(matcher, name, head, dialect),
    }
}

/// Whether a header of that name is not looked for among the headers.
#[inline(always)]
fn is_elsewhere(name: &HeaderName, dialect: Dialect) -> bool {
    match dialect {
        // Envoy knows `host` as another name of `:authority`, whatever the HTTP version.
        Dialect::Http => *name == HOST,
        // gRFC A28: binary metadata is treated as absent.
        Dialect::Grpc => name.as_str().ends_with("-bin"),
    }
}

#[inline(never)]
fn any_header_matches(
    matcher: &HeaderMatcher,
    name: &HeaderMatch,
    head: &Head<'_>,
    dialect: Dialect,
) -> bool {
    if let (HeaderMatch::Header(name), Dialect::Http) = (name, dialect)
        && !is_elsewhere(name, dialect)
        && *name != COOKIE
    {
        return any_value_matches(matcher, head.headers, name);
    }
    with_value(name, head, dialect, |value| value_matches(matcher, value))
}

/// Envoy 1.40 looks at each value of a repeated header alone; gRPC joins them.
fn any_value_matches(matcher: &HeaderMatcher, headers: &HeaderMap, name: &HeaderName) -> bool {
    let values = headers.get_all(name);
    if values.iter().next().is_none() {
        return value_matches(matcher, None);
    }
    let mut values = values.iter();
    values.any(|value| holds(&matcher.value, Some(value.as_bytes()))) != matcher.invert
}

/// Calls `with` with the value of a header or pseudo-header, joined when there are several.
pub(super) fn with_value<R>(
    name: &HeaderMatch,
    head: &Head<'_>,
    dialect: Dialect,
    with: impl FnOnce(Option<&[u8]>) -> R,
) -> R {
    let pseudo = match name {
        HeaderMatch::Header(name) if is_elsewhere(name, dialect) => head.host(),
        HeaderMatch::Header(name) => {
            let mut values = head.headers.get_all(name).iter().map(HeaderValue::as_bytes);
            return match (values.next(), values.next()) {
                (Some(first), Some(second)) => with(Some(&joined(name, first, second, values))),
                (one, _) => with(one),
            };
        }
        HeaderMatch::Method => head.method.as_str(),
        HeaderMatch::Authority => head.host(),
        HeaderMatch::Path => head.path_and_query,
        HeaderMatch::Scheme => head.scheme,
    };
    let known = dialect == Dialect::Http && !pseudo.is_empty();
    with(known.then_some(pseudo.as_bytes()))
}

/// The first value of a header, or a pseudo-header.
pub(crate) fn first_value<'h>(name: &HeaderMatch, head: &Head<'h>) -> Option<&'h [u8]> {
    let pseudo = match name {
        HeaderMatch::Header(name) => return head.headers.get(name).map(HeaderValue::as_bytes),
        HeaderMatch::Method => head.method.as_str(),
        HeaderMatch::Authority => head.host(),
        HeaderMatch::Path => head.path_and_query,
        HeaderMatch::Scheme => head.scheme,
    };
    (!pseudo.is_empty()).then_some(pseudo.as_bytes())
}

/// Up to this length repeated headers are joined without allocating. A guess: a few addresses or
/// short lists; more is rare enough to pay for it.
const JOINED_LEN: usize = 256;

/// The values of a repeated header as Envoy joins them: with a comma, and cookies with a semicolon.
#[cold]
fn joined<'a>(
    name: &HeaderName,
    first: &[u8],
    second: &'a [u8],
    others: impl Iterator<Item = &'a [u8]>,
) -> SmallVec<[u8; JOINED_LEN]> {
    let separator: &[u8] = if *name == COOKIE { b"; " } else { b"," };
    let mut joined = SmallVec::from_slice(first);
    for value in std::iter::once(second).chain(others) {
        joined.extend_from_slice(separator);
        joined.extend_from_slice(value);
    }
    joined
}

#[inline(never)]
fn value_matches(matcher: &HeaderMatcher, value: Option<&[u8]>) -> bool {
    let empty: Option<&[u8]> = matcher.treat_missing_as_empty.then_some(&[]);
    let value = value.or(empty);
    if value.is_none() && !matches!(matcher.value, ValueMatch::Present(_)) {
        return false;
    }
    holds(&matcher.value, value) != matcher.invert
}

/// Whether a value is as it must be.
pub(super) fn holds(matcher: &ValueMatch, value: Option<&[u8]>) -> bool {
    match (matcher, value) {
        (ValueMatch::Present(present), value) => value.is_some() == *present,
        (ValueMatch::String(string), Some(value)) => string.matches_bytes(value),
        (ValueMatch::Range(range), Some(value)) => in_range(range, value),
        (_, None) => false,
    }
}

fn in_range(range: &Range<i64>, value: &[u8]) -> bool {
    let number = str::from_utf8(value).ok().and_then(|value| value.parse().ok());
    number.is_some_and(|number| range.contains(&number))
}

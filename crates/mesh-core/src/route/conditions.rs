use std::borrow::Cow;
use std::fmt;

use http::HeaderMap;
use http::header::HeaderName;

use crate::dialect::Dialect;
use crate::head::Head;
use crate::resource::{
    HeaderMatch, HeaderMatcher, PathMatcher, QueryParameterMatcher, RouteMatch, ValueMatch,
    starts_with,
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
                }
            }
            Self::Header(matcher) => {
                let not = if matcher.invert { "inverted " } else { "" };
                write!(f, "{not}header condition on {} does not hold", Header(&matcher.name))?;
                write!(f, ": {:?}", matcher.value)
            }
            Self::QueryParameter(matcher) => {
                write!(f, "query parameter condition on {:?} does not hold", matcher.name)
            }
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

/// Why `matcher` does not take this request; `None` when it does.
pub(crate) fn first_mismatch<'a>(
    matcher: &'a RouteMatch,
    head: &Head<'_>,
    dialect: Dialect,
    random: u64,
) -> Option<Mismatch<'a>> {
    if !path_matches(matcher, head.path()) {
        return Some(Mismatch::Path(matcher));
    }
    conditions_mismatch(matcher, head, dialect, random)
}

/// As [`first_mismatch`] for a path that is known to match.
fn conditions_mismatch<'a>(
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
    for parameter in &matcher.query_parameters {
        if !parameter_matches(parameter, head.query()) {
            return Some(Mismatch::QueryParameter(parameter));
        }
    }
    match matcher.runtime_fraction {
        Some(share) if fraction_draw(random) >= share => Some(Mismatch::RuntimeFraction(share)),
        _ => None,
    }
}

fn path_matches(matcher: &RouteMatch, path: &str) -> bool {
    let ignore_case = !matcher.case_sensitive;
    match &matcher.path {
        PathMatcher::Prefix(prefix) => starts_with(path, prefix, ignore_case),
        PathMatcher::Exact(exact) if ignore_case => path.eq_ignore_ascii_case(exact),
        PathMatcher::Exact(exact) => path == &**exact,
        PathMatcher::Regex(regex) => regex.is_full_match(path),
        PathMatcher::PathSeparatedPrefix(prefix) => {
            starts_with(path, prefix, ignore_case)
                && matches!(path.as_bytes().get(prefix.len()), None | Some(b'/'))
        }
    }
}

/// A number below a million, drawn once per request: routes after one another that ask for the
/// same share see the same draw, as in Envoy. Mixed (SplitMix64's finaliser), so that it does not
/// go with the weighted choice, which takes `random` as it is.
fn fraction_draw(random: u64) -> u32 {
    const MILLION: u64 = 1_000_000;
    let mixed = (random ^ (random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 31)) % MILLION) as u32
}

fn header_matches(matcher: &HeaderMatcher, head: &Head<'_>, dialect: Dialect) -> bool {
    let value = value_of(&matcher.name, head, dialect);
    if let ValueMatch::Present(present) = matcher.value {
        let there = value.is_some() || matcher.treat_missing_as_empty;
        return (there == present) != matcher.invert;
    }
    let value = match value {
        Some(value) => value,
        None if matcher.treat_missing_as_empty => Cow::Borrowed(""),
        None => return false,
    };
    let holds = match &matcher.value {
        ValueMatch::Present(_) => true,
        ValueMatch::String(string) => string.matches(&value),
        ValueMatch::Range(range) => value.parse().is_ok_and(|number: i64| range.contains(&number)),
    };
    holds != matcher.invert
}

fn value_of<'a>(name: &HeaderMatch, head: &Head<'a>, dialect: Dialect) -> Option<Cow<'a, str>> {
    let pseudo = |value: &'a str| (dialect == Dialect::Http).then_some(Cow::Borrowed(value));
    match name {
        HeaderMatch::Header(name) => {
            // gRFC A28: binary metadata is treated as absent.
            let hidden = dialect == Dialect::Grpc && name.as_str().ends_with("-bin");
            if hidden { None } else { joined(head.headers, name) }
        }
        HeaderMatch::Method => pseudo(head.method.as_str()),
        HeaderMatch::Authority => pseudo(head.authority),
        HeaderMatch::Path => pseudo(head.path_and_query),
        HeaderMatch::Scheme => pseudo(head.scheme),
    }
}

/// The values of a header, joined with a comma. Allocates only when there are several, or when
/// one is not UTF-8 (matched with replacement characters, so that no literal equals it).
fn joined<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Cow<'a, str>> {
    let mut values = headers.get_all(name).iter().map(|v| String::from_utf8_lossy(v.as_bytes()));
    let first = values.next()?;
    let Some(second) = values.next() else { return Some(first) };
    let mut all = first.into_owned();
    for value in std::iter::once(second).chain(values) {
        all.push(',');
        all.push_str(&value);
    }
    Some(Cow::Owned(all))
}

fn parameter_matches(matcher: &QueryParameterMatcher, query: &str) -> bool {
    let mut pairs = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let found = pairs.find(|(name, _)| *name == &*matcher.name);
    match (found, &matcher.value) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some((_, value)), Some(string)) => string.matches(value),
    }
}

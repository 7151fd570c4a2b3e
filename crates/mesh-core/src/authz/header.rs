//! Conditions on headers.
//!
//! They differ from those of routes in what a repeated header means. Joined values let a request
//! past a rule that looks for one of them (CVE-2026-26308), so that Envoy asks here whether any
//! value matches, and inverts that. gRPC joins them all the same (gRFC A41).

use http::header::{CONNECTION, HOST, HeaderName, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderValue};
use smallvec::SmallVec;

use crate::dialect::Dialect;
use crate::head::Head;
use crate::resource::{HeaderMatch, HeaderMatcher, ValueMatch};

/// Whether a condition holds, of the values one by one or joined.
pub(super) fn matches(
    matcher: &HeaderMatcher,
    head: &Head<'_>,
    dialect: Dialect,
    joined: bool,
) -> bool {
    match (&matcher.name, dialect) {
        (HeaderMatch::Method, _) => pseudo(matcher, head.method.as_str()),
        (HeaderMatch::Authority, _) => pseudo(matcher, head.host()),
        (HeaderMatch::Path, _) => pseudo(matcher, head.path_and_query),
        (HeaderMatch::Scheme, _) => pseudo(matcher, head.scheme),
        (HeaderMatch::Header(name), _) if *name == HOST => pseudo(matcher, head.host()),
        (HeaderMatch::Header(name), Dialect::Grpc) if is_of_a_hop(name) => {
            any_matches(matcher, std::iter::empty())
        }
        (HeaderMatch::Header(name), _) if joined => joined_matches(matcher, head.headers, name),
        (HeaderMatch::Header(name), _) => {
            any_matches(matcher, head.headers.get_all(name).iter().map(HeaderValue::as_bytes))
        }
    }
}

/// A pseudo-header; an empty one is not there.
fn pseudo(matcher: &HeaderMatcher, value: &str) -> bool {
    any_matches(matcher, (!value.is_empty()).then_some(value.as_bytes()).into_iter())
}

fn any_matches<'v>(matcher: &HeaderMatcher, values: impl Iterator<Item = &'v [u8]>) -> bool {
    let mut values = values.peekable();
    let missing = values.peek().is_none();
    let holds = match &matcher.value {
        ValueMatch::Present(present) => {
            let is_there = !missing || matcher.treat_missing_as_empty;
            is_there == *present
        }
        _ if missing && !matcher.treat_missing_as_empty => return false,
        value if missing => value_matches(value, b""),
        value => values.any(|one| value_matches(value, one)),
    };
    holds != matcher.invert
}

fn value_matches(matcher: &ValueMatch, value: &[u8]) -> bool {
    match matcher {
        ValueMatch::Present(present) => *present,
        ValueMatch::String(string) => string.matches_bytes(value),
        ValueMatch::Range(range) => {
            let number = str::from_utf8(value).ok().and_then(|value| value.parse().ok());
            number.is_some_and(|number| range.contains(&number))
        }
    }
}

/// Up to this length repeated headers are joined without allocating. A guess: a few addresses or
/// short lists; more is rare enough to pay for it.
const JOINED_LEN: usize = 256;

fn joined_matches(matcher: &HeaderMatcher, headers: &HeaderMap, name: &HeaderName) -> bool {
    let mut values = headers.get_all(name).iter().map(HeaderValue::as_bytes);
    let (Some(first), Some(second)) = (values.next(), values.next()) else {
        return any_matches(matcher, headers.get(name).map(HeaderValue::as_bytes).into_iter());
    };
    let mut joined = SmallVec::<[u8; JOINED_LEN]>::from_slice(first);
    for value in std::iter::once(second).chain(values) {
        joined.push(b',');
        joined.extend_from_slice(value);
    }
    any_matches(matcher, std::iter::once(&*joined))
}

/// gRFC A41: headers of one hop count as absent, `te` among them.
fn is_of_a_hop(name: &HeaderName) -> bool {
    const OTHERS: [&str; 2] = ["keep-alive", "proxy-connection"];
    [CONNECTION, TE, TRANSFER_ENCODING, UPGRADE].contains(name) || OTHERS.contains(&name.as_str())
}

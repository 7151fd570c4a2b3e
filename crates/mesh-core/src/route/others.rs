//! Conditions that few routes have: query parameters, cookies, TLS, metadata.

use http::HeaderMap;
use http::header::COOKIE;

use super::conditions::{Mismatch, holds};
use crate::head::Head;
use crate::resource::{CookieMatcher, OtherConditions, QueryParameterMatcher};

/// The first of `matchers` that does not hold.
#[inline(never)]
pub(crate) fn parameter_mismatch<'a>(
    matchers: &'a [QueryParameterMatcher],
    query: &str,
) -> Option<&'a QueryParameterMatcher> {
    matchers.iter().find(|matcher| {
        let value = parameter(query, &matcher.name);
        !holds(&matcher.value, value.map(str::as_bytes))
    })
}

/// The first value of a query parameter, not decoded.
pub(super) fn parameter<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    let mut pairs = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// The first of the conditions that does not hold.
#[inline(never)]
pub(super) fn others_mismatch<'a>(
    others: &'a OtherConditions,
    head: &Head<'_>,
) -> Option<Mismatch<'a>> {
    let cookie = others.cookies.iter().find(|matcher| !cookie_matches(matcher, head.headers));
    if let Some(matcher) = cookie {
        return Some(Mismatch::Cookie(matcher));
    }
    let metadata = &head.origin.metadata;
    let noted = others.dynamic_metadata.iter().find(|matcher| !matcher.matches(metadata));
    if let Some(matcher) = noted {
        return Some(Mismatch::DynamicMetadata(matcher));
    }
    let tls = head.origin.tls.as_ref();
    let presented = tls.is_some_and(|tls| tls.presented);
    let validated = tls.is_some_and(|tls| tls.validated);
    let differs = |want: Option<bool>, is: bool| want.is_some_and(|want| want != is);
    if differs(others.tls_presented, presented) || differs(others.tls_validated, validated) {
        return Some(Mismatch::TlsContext);
    }
    others.filter_state.then_some(Mismatch::FilterState)
}

fn cookie_matches(matcher: &CookieMatcher, headers: &HeaderMap) -> bool {
    let value = cookie(headers, &matcher.name);
    value.is_some_and(|value| matcher.value.matches_bytes(value)) != matcher.invert
}

/// The value of the first cookie of that name, without quotes around it. As in Envoy, white space
/// before `=` is part of the name.
pub(crate) fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h [u8]> {
    let lines = headers.get_all(COOKIE).iter().map(|line| line.as_bytes());
    let mut pairs = lines.flat_map(|line| line.split(|byte| *byte == b';'));
    pairs.find_map(|pair| {
        let at = memchr::memchr(b'=', pair)?;
        let (key, value) = (pair[..at].trim_ascii_start(), pair[at + 1..].trim_ascii());
        (key == name.as_bytes()).then(|| unquoted(value))
    })
}

fn unquoted(value: &[u8]) -> &[u8] {
    let inner = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
    inner.unwrap_or(value)
}

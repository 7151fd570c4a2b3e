//! The first route of a request that takes the short way: the same decision as everywhere, from the
//! request itself and no [`Head`] made of it.

use http::header::{HOST, HeaderName};
use http::{HeaderMap, HeaderValue, Request};

use super::conditions::{conditions_mismatch, path_matches};
use super::paths::PathIndex;
use super::table::{Chosen, RouteTable};
use crate::dialect::Dialect;
use crate::head::Head;
use crate::resource::{
    HeaderMatch, HeaderMatcher, PathMatcher, RouteMatch, StringMatcher::Exact, ValueMatch, same,
};

impl RouteTable {
    /// As [`route`](Self::route), with what the route leads to; `None` also where something comes
    /// before the routes. Of configurations whose paths are matched as they are.
    #[inline(always)]
    pub(crate) fn direct<B>(
        &self,
        host: u32,
        path: &str,
        request: &Request<B>,
        dialect: Dialect,
        random: u64,
    ) -> Option<(Chosen, u32)> {
        let program = &self.programs[host as usize];
        if !program.direct {
            return None;
        }
        let routes = &self.configuration.virtual_hosts[host as usize].routes;
        let route = match &program.paths {
            PathIndex::Scan => {
                let mut rule = 0;
                loop {
                    let matcher = &routes.get(rule)?.matcher;
                    if path_matches(matcher, path) && takes(matcher, request, dialect, random) {
                        break rule as u32;
                    }
                    rule += 1;
                }
            }
            PathIndex::Indexed(index) => {
                index.first(routes, path, |matcher| takes(matcher, request, dialect, random))?
            }
        };
        Some((Chosen { host, route }, program.rules[route as usize]))
    }
}

/// Whether the conditions of a route hold for a request.
#[inline(always)]
fn takes<B>(matcher: &RouteMatch, request: &Request<B>, dialect: Dialect, random: u64) -> bool {
    if !matcher.has_only_headers() {
        return takes_slowly(matcher, request, dialect, random);
    }
    for header in &matcher.headers {
        if dialect == Dialect::Grpc && is_binary(header) {
            return takes_slowly(matcher, request, dialect, random);
        }
        match header_holds(header, request.headers()) {
            Some(true) => {}
            Some(false) => return false,
            None => return takes_slowly(matcher, request, dialect, random),
        }
    }
    true
}

#[inline(never)]
fn takes_slowly<B>(
    matcher: &RouteMatch,
    request: &Request<B>,
    dialect: Dialect,
    random: u64,
) -> bool {
    conditions_mismatch(matcher, &Head::of(request), dialect, random).is_none()
}

/// Whether a condition is on binary metadata, which gRPC treats as absent (gRFC A28).
#[inline]
fn is_binary(matcher: &HeaderMatcher) -> bool {
    matches!(&matcher.name, HeaderMatch::Header(name) if name.as_str().ends_with("-bin"))
}

impl RouteMatch {
    /// Whether the route asks for nothing but its path and headers.
    #[inline(always)]
    pub(super) fn has_only_headers(&self) -> bool {
        self.query_parameters.is_empty()
            && self.others.is_none()
            && self.runtime_fraction.is_none()
            && !matches!(self.path, PathMatcher::Connect)
    }
}

/// Whether a condition on a header holds, in the usual case: a header that is compared as a whole or
/// looked for, among headers of which none is sent twice. `None` in others.
//
// In one piece, and all that is rarer kept out of it: calls and spilled registers would cost as
// much as the comparison.
#[inline(always)]
pub(super) fn header_holds(matcher: &HeaderMatcher, headers: &HeaderMap) -> Option<bool> {
    let HeaderMatch::Header(name) = &matcher.name else { return None };
    // As many names as values: none is repeated, and one look-up is enough.
    if headers.keys_len() != headers.len() {
        return None;
    }
    let holds = match &matcher.value {
        ValueMatch::Present(true) => is_among(headers, name).then_some(true),
        ValueMatch::String(Exact { value: want, ignore_case: false }) => {
            only_value(headers, name).map(|value| same(value, want.as_bytes()))
        }
        _ => return None,
    };
    match holds {
        Some(holds) => Some(holds != matcher.invert),
        None if matcher.treat_missing_as_empty || *name == HOST => None,
        // Of these two only what is to be there is there by being absent, when turned round.
        None => Some(matcher.invert && matches!(matcher.value, ValueMatch::Present(_))),
    }
}

/// Whether there is a header of that name. Going through names alone is simpler than through names
/// with their values.
//
// Loops, here and below, and no closures, so that they become part of their caller.
#[inline(always)]
fn is_among(headers: &HeaderMap, name: &HeaderName) -> bool {
    if headers.len() > SCANNED_HEADERS {
        return headers.contains_key(name);
    }
    for at in headers.keys() {
        if at == name {
            return true;
        }
    }
    false
}

/// A header's value, among headers without repeated names.
#[inline(always)]
fn only_value<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h [u8]> {
    if headers.len() > SCANNED_HEADERS {
        return headers.get(name).map(HeaderValue::as_bytes);
    }
    for (at, value) in headers {
        if at == name {
            return Some(value.as_bytes());
        }
    }
    None
}

/// Up to this many headers are compared one after the other. The map's hash goes byte by byte, so
/// that it takes as long as six comparisons. Measured: 6 ns against 9 ns among four headers, as much
/// among six to eight.
const SCANNED_HEADERS: usize = 6;

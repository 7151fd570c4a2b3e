//! The routes of a host that has few and simple ones, made ready for the short way.
//!
//! Most hosts have a route or two, each for a prefix and perhaps some headers. Their conditions are kept
//! side by side, in the order in which they are looked at, and the names of a request's headers are
//! gone through once: for the conditions of all routes, and for what asks for something itself.

use http::header::HOST;
use http::{HeaderMap, HeaderValue};

use super::paths::PathIndex;
use super::table::{Chosen, RouteTable};
use crate::resource::{
    HeaderMatch, HeaderMatcher, Name, PathMatcher, RouteMatch, StringMatcher::Exact, ValueMatch,
    begins, same,
};

/// The routes of one host. It decides as [`RouteTable::direct`] does, or does not know.
#[derive(Debug)]
pub(crate) struct Shortcut {
    host: u32,
    rules: Box<[Rule]>,
    /// The names that conditions are on, the shorter ones first.
    names: Box<[(Ends, Name)]>,
    /// By the length of a name, one more than the place of the first of that length; 0 where nobody
    /// is interested in any.
    by_length: [u8; LENGTHS],
}

#[derive(Debug)]
struct Rule {
    prefix: Name,
    /// The position of what the route leads to.
    target: u32,
    conditions: Box<[Condition]>,
}

/// A condition on the header at one place among the names, in bits: see [`Found`].
#[derive(Debug)]
enum Condition {
    Presence { shift: u8, expected: bool },
    Value { shift: u8, value: Name, invert: bool },
}

/// For each name a byte: one more than its place among the request's headers, 0 where it is missing.
type Found = u64;

/// The length of a text, and its first and its last eight bytes, which are all of a short one.
type Ends = (usize, u64, u64);

/// Up to this length the ends of a text are all of it.
const SHORT: usize = 16;

/// As many as a [`Found`] holds.
const MAX_NAMES: usize = 8;

/// Names are told apart by their length first; longer ones, which are rare, make no shortcut.
const LENGTHS: usize = 32;

/// The most headers a request may have, so that places fit into a byte. With more of them what is
/// spared here does not count.
const MAX_HEADERS: usize = 64;

impl Shortcut {
    /// That of a host; `None` where a route asks for anything unusual, or there are many.
    pub(crate) fn of(table: &RouteTable, host: u32) -> Option<Self> {
        let program = &table.programs[host as usize];
        if !program.direct || !matches!(program.paths, PathIndex::Scan) {
            return None;
        }
        let routes = &table.configuration.virtual_hosts[host as usize].routes;
        let conditions = || routes.iter().flat_map(|route| &route.matcher.headers);
        let mut names = conditions().map(simple_name).collect::<Option<Vec<_>>>()?;
        names.sort_unstable_by_key(|name| (name.len(), *name));
        names.dedup();
        if names.len() > MAX_NAMES {
            return None;
        }
        let mut by_length = [0; LENGTHS];
        for (at, name) in names.iter().enumerate().rev() {
            *by_length.get_mut(name.len())? = at as u8 + 1;
        }
        let rules = routes.iter().zip(&program.rules);
        let rules = rules.map(|(route, target)| Rule::of(&route.matcher, *target, &names));
        let rules = rules.collect::<Option<_>>()?;
        let names = names.into_iter().map(|name| (ends(name.as_bytes()), Name::from(name)));
        let names = names.collect();
        Some(Self { host, rules, names, by_length })
    }

    /// The first route that takes the request, of whose path and query `path` is, and the position of
    /// what it leads to; `None` also where the request asks for something
    /// itself, or sends a header twice.
    #[inline(always)]
    pub(crate) fn first(&self, path: &str, headers: &HeaderMap) -> Option<(Chosen, u32)> {
        let found = self.find(headers)?;
        // A loop, here and below, and no closures, so that it becomes part of its caller.
        for (number, rule) in (0..).zip(&self.rules) {
            if begins(path, &rule.prefix) && rule.holds(found, headers) {
                return Some((Chosen { host: self.host, route: number }, rule.target));
            }
        }
        None
    }

    #[inline(always)]
    fn find(&self, headers: &HeaderMap) -> Option<Found> {
        // As many names as values: none is repeated.
        if headers.keys_len() != headers.len() || headers.len() > MAX_HEADERS {
            return None;
        }
        let (mut found, mut place) = (0, 0);
        for name in headers.keys() {
            place += 1;
            let name = name.as_str().as_bytes();
            if asks(name) {
                return None;
            }
            let first = self.by_length[name.len() % LENGTHS];
            if first != 0 {
                found |= self.place(first, name, place);
            }
        }
        Some(found)
    }

    #[inline(always)]
    fn place(&self, first: u8, name: &[u8], place: Found) -> Found {
        let (mut at, its) = (usize::from(first) - 1, ends(name));
        while let Some((wanted, text)) = self.names.get(at) {
            if *wanted == its && (name.len() <= SHORT || text.as_bytes() == name) {
                return place << (8 * at);
            }
            at += 1;
        }
        0
    }
}

impl Rule {
    fn of(matcher: &RouteMatch, target: u32, names: &[&str]) -> Option<Self> {
        let PathMatcher::Prefix(prefix) = &matcher.path else { return None };
        if !matcher.case_sensitive || !matcher.has_only_headers() {
            return None;
        }
        // Then what a path begins with is what it begins with together with its query, which is at
        // hand.
        if !prefix.starts_with('/') || prefix.contains(['?', '#']) {
            return None;
        }
        let conditions = matcher.headers.iter().map(|matcher| Condition::of(matcher, names));
        let conditions = conditions.collect::<Option<_>>()?;
        Some(Self { prefix: prefix.clone(), target, conditions })
    }

    #[inline(always)]
    fn holds(&self, found: Found, headers: &HeaderMap) -> bool {
        for condition in &self.conditions {
            let holds = match condition {
                Condition::Presence { shift, expected } => {
                    ((found >> shift) as u8 != 0) == *expected
                }
                Condition::Value { shift, value, invert } => match (found >> shift) as u8 {
                    0 => false,
                    place => {
                        let held = headers.values().nth(usize::from(place) - 1);
                        let held = held.map_or(&[][..], HeaderValue::as_bytes);
                        same(held, value.as_bytes()) != *invert
                    }
                },
            };
            if !holds {
                return false;
            }
        }
        true
    }
}

impl Condition {
    fn of(matcher: &HeaderMatcher, names: &[&str]) -> Option<Self> {
        let name = simple_name(matcher)?;
        let shift = 8 * names.iter().position(|one| *one == name)? as u8;
        let invert = matcher.invert;
        match &matcher.value {
            ValueMatch::Present(true) => Some(Self::Presence { shift, expected: !invert }),
            ValueMatch::String(Exact { value, ignore_case: false }) => {
                Some(Self::Value { shift, value: value.clone(), invert })
            }
            _ => None,
        }
    }
}

#[inline(always)]
fn ends(text: &[u8]) -> Ends {
    if let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) {
        return (text.len(), u64::from_ne_bytes(*first), u64::from_ne_bytes(*last));
    }
    if let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) {
        let (first, last) = (u32::from_ne_bytes(*first), u32::from_ne_bytes(*last));
        return (text.len(), first.into(), last.into());
    }
    let all = text.iter().fold(0, |all, byte| all << 8 | u64::from(*byte));
    (text.len(), all, 0)
}

/// The name of a condition that looks for it among the headers.
fn simple_name(matcher: &HeaderMatcher) -> Option<&str> {
    match &matcher.name {
        HeaderMatch::Header(name) if *name != HOST && !matcher.treat_missing_as_empty => {
            Some(name.as_str())
        }
        _ => None,
    }
}

/// Whether a header of that name asks for something, or names an authority.
#[inline(always)]
pub(crate) fn asks(name: &[u8]) -> bool {
    name.starts_with(b"x-envoy-") || name == b"host"
}

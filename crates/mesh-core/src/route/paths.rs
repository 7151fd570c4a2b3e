use std::collections::{BTreeMap, HashMap};

use foldhash::fast::FixedState;

use super::conditions::path_matches;
use super::prefixes::PrefixIndex;
use crate::resource::{Name, PathMatcher, Route, RouteMatch};

/// Below this many rules a plain scan is as fast as the index and needs no memory. A guess from
/// the cost of one hash lookup against a few short comparisons.
const SCAN_RULES: usize = 4;

/// Which rules a path can satisfy. Numbers are positions in the list of routes.
#[derive(Debug)]
pub(crate) enum PathIndex {
    /// Few rules: all of them are candidates.
    Scan,
    /// Many rules.
    Indexed(Indexed),
}

#[derive(Debug)]
pub(crate) struct Indexed {
    exact: HashMap<Name, Box<[u32]>, FixedState>,
    prefixes: PrefixIndex,
    /// Rules whose path is neither a plain prefix nor a plain string.
    rest: Box<[u32]>,
}

impl PathIndex {
    pub(crate) fn new(routes: &[Route]) -> Self {
        if routes.len() <= SCAN_RULES {
            return Self::Scan;
        }
        let mut exact: HashMap<Name, Vec<u32>, FixedState> = HashMap::default();
        let mut prefixes: BTreeMap<Name, Vec<u32>> = BTreeMap::new();
        let mut rest = Vec::new();
        for (number, route) in (0..).zip(routes) {
            match &route.matcher.path {
                _ if !route.matcher.case_sensitive => rest.push(number),
                PathMatcher::Exact(path) => exact.entry(path.clone()).or_default().push(number),
                PathMatcher::Prefix(path) => {
                    prefixes.entry(path.clone()).or_default().push(number);
                }
                PathMatcher::PathSeparatedPrefix(path) => {
                    exact.entry(path.clone()).or_default().push(number);
                    prefixes.entry(format!("{path}/").into()).or_default().push(number);
                }
                PathMatcher::Regex(_) => rest.push(number),
            }
        }
        let exact = exact.into_iter().map(|(path, rules)| (path, rules.into())).collect();
        Self::Indexed(Indexed { exact, prefixes: PrefixIndex::new(prefixes), rest: rest.into() })
    }

    /// The first of `routes`, those this was made of, whose path matches and for which `holds`.
    #[inline(always)]
    pub(crate) fn first(
        &self,
        routes: &[Route],
        path: &str,
        holds: impl Fn(&RouteMatch) -> bool,
    ) -> Option<u32> {
        match self {
            Self::Scan => {
                // A loop, and no iterator with closures, so that it becomes part of its caller.
                for (rule, route) in (0..).zip(routes) {
                    if path_matches(&route.matcher, path) && holds(&route.matcher) {
                        return Some(rule);
                    }
                }
                None
            }
            Self::Indexed(index) => index.first(routes, path, holds),
        }
    }
}

impl Indexed {
    /// Every list is in order and each is left at its first success, or where it passes the best
    /// one so far.
    #[inline(never)]
    fn first(
        &self,
        routes: &[Route],
        path: &str,
        holds: impl Fn(&RouteMatch) -> bool,
    ) -> Option<u32> {
        let mut best = u32::MAX;
        let exact = self.exact.get(path).map(|rules| &**rules);
        for rules in exact.into_iter().chain(self.prefixes.of(path)) {
            best = first_below(best, rules, |rule| holds(&routes[rule].matcher));
        }
        best = first_below(best, &self.rest, |rule| {
            let matcher = &routes[rule].matcher;
            path_matches(matcher, path) && holds(matcher)
        });
        (best != u32::MAX).then_some(best)
    }
}

/// The first of `rules` below `best` for which `holds`, else `best`.
fn first_below(best: u32, rules: &[u32], holds: impl Fn(usize) -> bool) -> u32 {
    let below = rules.iter().take_while(|rule| **rule < best);
    below.copied().find(|rule| holds(*rule as usize)).unwrap_or(best)
}

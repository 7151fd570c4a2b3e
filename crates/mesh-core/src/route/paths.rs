use std::collections::{BTreeMap, HashMap};

use foldhash::fast::FixedState;

use crate::resource::{Name, PathMatcher, Route};

/// Below this many rules a plain scan is as fast as the index and needs no memory. A guess from
/// the cost of one hash lookup against a few short comparisons.
const SCAN_RULES: usize = 4;

/// The end of a chain of prefixes.
const NONE: u32 = u32::MAX;

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
    /// Sorted by text.
    prefixes: Box<[Prefix]>,
    /// Rules whose path is neither a plain prefix nor a plain string.
    rest: Box<[u32]>,
}

/// A prefix, the rules that ask for it, and the longest other one that begins it.
#[derive(Debug)]
struct Prefix {
    text: Name,
    parent: u32,
    rules: Box<[u32]>,
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
        Self::Indexed(Indexed { exact, prefixes: chain(prefixes), rest: rest.into() })
    }

    /// The lowest rule for which `holds`, which also checks the path of rules that are not indexed.
    ///
    /// Every list is in order and each is left at its first success, or where it passes the best
    /// one so far.
    pub(crate) fn first(
        &self,
        rules: usize,
        path: &str,
        mut holds: impl FnMut(u32) -> bool,
    ) -> Option<u32> {
        let index = match self {
            Self::Scan => return (0..rules as u32).find(|rule| holds(*rule)),
            Self::Indexed(index) => index,
        };
        let mut best = NONE;
        let mut search = |rules: &[u32]| {
            let below = rules.iter().take_while(|rule| **rule < best);
            if let Some(rule) = below.copied().find(|rule| holds(*rule)) {
                best = rule;
            }
        };
        if let Some(rules) = index.exact.get(path) {
            search(rules);
        }
        let mut at = index.longest_prefix(path);
        while let Some(prefix) = index.prefixes.get(at as usize) {
            search(&prefix.rules);
            at = prefix.parent;
        }
        search(&index.rest);
        (best != NONE).then_some(best)
    }
}

impl Indexed {
    /// The longest prefix of `path`; its ancestors are all the others.
    ///
    /// The greatest text that is not above `path` shares the longest prefix with it, so the answer
    /// is that text or one of its ancestors.
    fn longest_prefix(&self, path: &str) -> u32 {
        let above = self.prefixes.partition_point(|prefix| &*prefix.text <= path);
        let mut at = (above as u32).wrapping_sub(1);
        while let Some(prefix) = self.prefixes.get(at as usize) {
            if path.starts_with(&*prefix.text) {
                return at;
            }
            at = prefix.parent;
        }
        NONE
    }
}

fn chain(sorted: BTreeMap<Name, Vec<u32>>) -> Box<[Prefix]> {
    let mut prefixes: Vec<Prefix> = Vec::with_capacity(sorted.len());
    for (text, rules) in sorted {
        let mut parent = (prefixes.len() as u32).wrapping_sub(1);
        while let Some(candidate) = prefixes.get(parent as usize) {
            if text.starts_with(&*candidate.text) {
                break;
            }
            parent = candidate.parent;
        }
        prefixes.push(Prefix { text, parent, rules: rules.into() });
    }
    prefixes.into()
}

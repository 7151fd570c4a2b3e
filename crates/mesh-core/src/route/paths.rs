use std::collections::{BTreeMap, HashMap};

use foldhash::fast::FixedState;
use smallvec::SmallVec;

use super::conditions::path_matches;
use super::prefixes::PrefixIndex;
use crate::resource::{Name, PathMatcher, Route, RouteMatch};

/// Below this many rules a plain scan is as fast as the index and needs no memory. A guess from
/// the cost of one hash lookup against a few short comparisons.
const SCAN_RULES: usize = 4;

/// The longest path that is made lower case without allocating. A guess: longer ones are rare
/// enough to pay for it, and only where some route leaves case aside.
const STACK_PATH_LEN: usize = 512;

/// Which rules a path can satisfy. Numbers are positions in the list of routes.
#[derive(Debug)]
pub(crate) enum PathIndex {
    /// Few rules: all of them are candidates.
    Scan,
    /// Many rules.
    Indexed(Box<Indexed>),
}

#[derive(Debug)]
pub(crate) struct Indexed {
    /// Rules in whose paths case counts.
    plain: Lists,
    /// Those in whose paths it does not, in lower case.
    folded: Lists,
    /// Rules that say more of the path than what it begins with, by that.
    guarded: PrefixIndex<Vec<u8>>,
}

#[derive(Debug)]
struct Lists {
    /// By path, where its rules are.
    exact: HashMap<Name, (u32, u32), FixedState>,
    /// The rules of all exact paths.
    rules: Box<[u32]>,
    prefixes: PrefixIndex<Text>,
}

/// A name as bytes.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Text(Name);

impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

#[derive(Default)]
struct Sorted {
    exact: BTreeMap<Name, Vec<u32>>,
    prefixes: BTreeMap<Text, Vec<u32>>,
}

impl PathIndex {
    pub(crate) fn new(routes: &[Route]) -> Self {
        if routes.len() <= SCAN_RULES {
            return Self::Scan;
        }
        let (mut plain, mut folded) = (Sorted::default(), Sorted::default());
        let mut guarded: BTreeMap<Vec<u8>, Vec<u32>> = BTreeMap::new();
        for (number, route) in (0..).zip(routes) {
            let matcher = &route.matcher;
            let literal = match &matcher.path {
                PathMatcher::Regex(regex) => regex.prefix(),
                PathMatcher::Template(template) => template.prefix().as_bytes().to_vec(),
                PathMatcher::Connect => Vec::new(),
                _ if matcher.case_sensitive => {
                    plain.add(&matcher.path, number, Name::clone);
                    continue;
                }
                _ => {
                    folded.add(&matcher.path, number, |path| path.to_ascii_lowercase().into());
                    continue;
                }
            };
            guarded.entry(literal).or_default().push(number);
        }
        let (plain, folded) = (plain.finish(), folded.finish());
        Self::Indexed(Box::new(Indexed { plain, folded, guarded: PrefixIndex::new(guarded) }))
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
    /// one so far. What costs most to compare comes last.
    #[inline(never)]
    pub(super) fn first(
        &self,
        routes: &[Route],
        path: &str,
        holds: impl Fn(&RouteMatch) -> bool,
    ) -> Option<u32> {
        let plain = |rule: usize| holds(&routes[rule].matcher);
        let mut best = self.plain.first_below(u32::MAX, path, plain);
        if !self.folded.is_empty() {
            let mut lower: SmallVec<[u8; STACK_PATH_LEN]> = SmallVec::from_slice(path.as_bytes());
            lower.make_ascii_lowercase();
            let lower = str::from_utf8(&lower).expect("ASCII case does not touch other characters");
            best = self.folded.first_below(best, lower, plain);
        }
        if !self.guarded.is_empty() {
            for rules in self.guarded.of(path.as_bytes()) {
                best = first_below(best, rules, |rule| {
                    let matcher = &routes[rule].matcher;
                    path_matches(matcher, path) && holds(matcher)
                });
            }
        }
        (best != u32::MAX).then_some(best)
    }
}

impl Lists {
    fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.prefixes.is_empty()
    }

    #[inline]
    fn first_below(&self, mut best: u32, path: &str, holds: impl Fn(usize) -> bool) -> u32 {
        let exact = self.exact.get(path);
        let exact = exact.map(|(start, end)| &self.rules[*start as usize..*end as usize]);
        for rules in exact.into_iter().chain(self.prefixes.of(path.as_bytes())) {
            best = first_below(best, rules, &holds);
        }
        best
    }
}

impl Sorted {
    fn add(&mut self, path: &PathMatcher, number: u32, fold: impl Fn(&Name) -> Name) {
        match path {
            PathMatcher::Exact(path) => self.exact.entry(fold(path)).or_default().push(number),
            PathMatcher::Prefix(path) => {
                self.prefixes.entry(Text(fold(path))).or_default().push(number);
            }
            PathMatcher::PathSeparatedPrefix(path) => {
                let path = fold(path);
                let below = Text(format!("{path}/").into());
                self.exact.entry(path).or_default().push(number);
                self.prefixes.entry(below).or_default().push(number);
            }
            PathMatcher::Regex(_) | PathMatcher::Template(_) | PathMatcher::Connect => {}
        }
    }

    fn finish(self) -> Lists {
        let rules = self.exact.values().flatten().copied().collect();
        let mut start = 0;
        let exact = self.exact.into_iter().map(|(path, rules)| {
            let range = (start, start + rules.len() as u32);
            start = range.1;
            (path, range)
        });
        let exact = exact.collect();
        Lists { exact, rules, prefixes: PrefixIndex::new(self.prefixes) }
    }
}

/// The first of `rules` below `best` for which `holds`, else `best`.
fn first_below(best: u32, rules: &[u32], holds: impl Fn(usize) -> bool) -> u32 {
    let below = rules.iter().take_while(|rule| **rule < best);
    below.copied().find(|rule| holds(*rule as usize)).unwrap_or(best)
}

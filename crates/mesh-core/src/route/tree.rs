//! Walking the matcher tree of a virtual host.

use std::collections::BTreeMap;
use std::ops::{Bound, Range};

use super::conditions::with_value;
use crate::dialect::Dialect;
use crate::head::Head;
use crate::resource::{Branches, Name, OnMatch, Predicate, RouteTree, VirtualHost};

/// The routes of a virtual host that are looked at, by position.
pub(crate) fn candidates(host: &VirtualHost, head: &Head<'_>, dialect: Dialect) -> Range<u32> {
    match &host.matcher {
        Some(tree) => walk(tree, head, dialect).unwrap_or_default(),
        None => 0..host.routes.len() as u32,
    }
}

/// The routes a tree leads to, by position; `None` when it leads nowhere.
///
/// Recursive: decoding bounds how deep a tree is.
pub(super) fn walk(tree: &RouteTree, head: &Head<'_>, dialect: Dialect) -> Option<Range<u32>> {
    let found = match &tree.branches {
        Branches::List(list) => {
            let held = list.iter().filter(|(predicate, _)| test(predicate, head, dialect));
            held.map(|(_, on_match)| on_match).find_map(|on_match| follow(on_match, head, dialect))
        }
        Branches::Exact(input, map) => with_value(input, head, dialect, |value| {
            follow(map.get(str::from_utf8(value?).ok()?)?, head, dialect)
        }),
        Branches::Prefix(input, map) => with_value(input, head, dialect, |value| {
            let value = str::from_utf8(value?).ok()?;
            prefixes(map, value).find_map(|next| follow(next, head, dialect))
        }),
    };
    found.or_else(|| follow(tree.on_no_match.as_deref()?, head, dialect))
}

/// What is said of the prefixes of `value`, the longest first.
fn prefixes<'t>(
    map: &'t BTreeMap<Name, OnMatch>,
    value: &str,
) -> impl Iterator<Item = &'t OnMatch> {
    let mut bound = Some(value);
    std::iter::from_fn(move || {
        loop {
            let below = (Bound::Unbounded, Bound::Included(bound?));
            let (prefix, on_match) = map.range::<str, _>(below).next_back()?;
            let shared = prefix.bytes().zip(value.bytes()).take_while(|(a, b)| a == b).count();
            if shared == prefix.len() {
                bound = prefix.len().checked_sub(1).map(|end| floor(value, end));
                return Some(on_match);
            }
            // Nothing that begins the value lies between what is shared and this one.
            bound = Some(floor(value, shared));
        }
    })
}

/// `text` up to `end`, or to the character that `end` is in.
fn floor(text: &str, end: usize) -> &str {
    let end = (0..=end).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

fn follow(on_match: &OnMatch, head: &Head<'_>, dialect: Dialect) -> Option<Range<u32>> {
    match on_match {
        OnMatch::Tree(tree) => walk(tree, head, dialect),
        OnMatch::Routes(routes) => Some(routes.clone()),
        OnMatch::KeepMatching => None,
    }
}

fn test(predicate: &Predicate, head: &Head<'_>, dialect: Dialect) -> bool {
    match predicate {
        Predicate::Single(input, matcher) => with_value(input, head, dialect, |value| {
            value.is_some_and(|value| matcher.matches_bytes(value))
        }),
        Predicate::Or(any) => any.iter().any(|one| test(one, head, dialect)),
        Predicate::And(all) => all.iter().all(|one| test(one, head, dialect)),
        Predicate::Not(one) => !test(one, head, dialect),
    }
}

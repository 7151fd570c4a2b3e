use std::collections::BTreeMap;
use std::sync::Arc;

use http::HeaderName;

use crate::dialect::Dialect::Http;
use crate::head::Head;
use crate::resource::{
    Branches, HeaderMatch, HttpConnectionManager, Name, OnMatch, Predicate, Route,
    RouteConfiguration, RouteMatch, RouteSpecifier, RouteTree, StringMatcher, VirtualHost,
};
use crate::route::RouteTable;
use crate::snapshot::ClusterIndex;
use crate::testing::{forward, get};

fn header(name: &'static str) -> HeaderMatch {
    HeaderMatch::Header(HeaderName::from_static(name))
}

fn to(route: u32) -> OnMatch {
    OnMatch::Routes(route..route + 1)
}

fn map(entries: &[(&str, OnMatch)]) -> BTreeMap<Name, OnMatch> {
    entries.iter().map(|(key, on_match)| (Name::from(*key), on_match.clone())).collect()
}

/// The route a tree over routes that match these prefixes takes.
fn taken(
    tree: &RouteTree,
    prefixes: &[&str],
    uri: &str,
    headers: &[(&'static str, &str)],
) -> Option<u32> {
    let route = |prefix: &&str| Route::new(RouteMatch::prefix(*prefix), forward("c"));
    let mut host = VirtualHost::new("h", ["*"], prefixes.iter().map(route).collect());
    host.matcher = Some(Arc::new(tree.clone()));
    let configuration = Arc::new(RouteConfiguration::new("r", vec![host]));
    let manager = HttpConnectionManager::new(RouteSpecifier::Inline(configuration.clone()));
    let table = RouteTable::compile(configuration, &manager, |_| ClusterIndex::of(0));
    let request = get(uri, headers);
    table.route(0, &Head::of(&request), Http, 1).map(|chosen| chosen.route)
}

#[test]
fn exact_map_leads_to_a_route_that_must_match_as_well() {
    let branches = Branches::Exact(HeaderMatch::Path, map(&[("/foo", to(0)), ("/baz", to(1))]));
    let tree = RouteTree { branches, on_no_match: Some(Box::new(to(2))) };
    let taken = |uri| taken(&tree, &["/", "/else", "/"], uri, &[]);
    assert_eq!(taken("/foo"), Some(0));
    assert_eq!(taken("/baz"), None);
    assert_eq!(taken("/foo?x"), Some(2));
    assert_eq!(taken("/"), Some(2));
}

#[test]
fn longest_prefix_wins_and_a_shorter_one_when_it_leads_nowhere() {
    let nowhere = RouteTree { branches: Branches::List(Vec::new()), on_no_match: None };
    let entries = [
        ("/a", to(0)),
        ("/a/b", to(1)),
        ("/a/b/c", OnMatch::Tree(Box::new(nowhere))),
        ("/a/z", OnMatch::KeepMatching),
    ];
    let branches = Branches::Prefix(HeaderMatch::Path, map(&entries));
    let tree = RouteTree { branches, on_no_match: None };
    let taken = |uri| taken(&tree, &["/", "/"], uri, &[]);
    assert_eq!(taken("/a/x"), Some(0));
    assert_eq!(taken("/a/bb"), Some(1));
    assert_eq!(taken("/a/b/c/d"), Some(1));
    assert_eq!(taken("/a/z"), Some(0));
    assert_eq!(taken("/b"), None);
    assert_eq!(taken("/"), None);
}

#[test]
fn list_takes_the_first_predicate_that_leads_somewhere() {
    let is = |name, value: &str| Predicate::Single(header(name), StringMatcher::exact(value));
    let both = Predicate::And(vec![is("a", "1"), is("b", "1")]);
    let either = Predicate::Or(vec![is("a", "2"), is("b", "2")]);
    let not = Predicate::Not(Box::new(is("c", "1")));
    let list = vec![(both, to(0)), (either, to(1)), (not, OnMatch::Routes(1..3))];
    let tree = RouteTree { branches: Branches::List(list), on_no_match: None };
    let taken =
        |uri, headers: &[(&'static str, &str)]| taken(&tree, &["/", "/x", "/"], uri, headers);
    assert_eq!(taken("/", &[("a", "1"), ("b", "1")]), Some(0));
    assert_eq!(taken("/x", &[("b", "2")]), Some(1));
    assert_eq!(taken("/y", &[("b", "2")]), None, "the branch is final, its route is not");
    assert_eq!(taken("/y", &[("a", "1")]), Some(2));
    assert_eq!(taken("/y", &[("c", "1")]), None);
}

#[test]
fn path_parameters_are_left_aside_where_asked_for() {
    let mut configuration = RouteConfiguration::new("r", Vec::new());
    assert_eq!(configuration.matched_path("/a;v=1/b"), "/a;v=1/b");
    configuration.ignore_path_parameters_in_path_matching = true;
    for (path, want) in [("/a;v=1", "/a"), ("/s;x/t;y", "/s/t"), ("/a", "/a"), (";", "")] {
        assert_eq!(configuration.matched_path(path), want);
    }
}

use proptest::prelude::*;

use crate::resource::{PathMatcher, Regex, Route, RouteMatch};
use crate::route::paths::PathIndex;
use crate::testing::{forward, text_of};

fn made(matcher: RouteMatch) -> Route {
    Route::new(matcher, forward("any"))
}

fn find(routes: &[Route], path: &str) -> Option<u32> {
    PathIndex::new(routes).first(routes, path, |_| true)
}

#[test]
fn first_route_wins_whatever_its_kind() {
    let regex = PathMatcher::Regex(Regex::new("/a/[0-9]+").unwrap());
    let routes: Vec<Route> = [
        PathMatcher::PathSeparatedPrefix("/api".into()),
        PathMatcher::Exact("/a/b".into()),
        PathMatcher::Prefix("/a/".into()),
        regex,
        PathMatcher::Prefix("/a".into()),
        PathMatcher::Exact("/".into()),
        PathMatcher::Prefix("/".into()),
    ]
    .map(|path| made(RouteMatch::new(path)))
    .into();
    let table = [
        ("/api", 0),
        ("/api/", 0),
        ("/api/v1", 0),
        ("/apis", 4),
        ("/a/b", 1),
        ("/a/b/", 2),
        ("/a/7", 2),
        ("/a", 4),
        ("/", 5),
        ("/b", 6),
    ];
    for (path, route) in table {
        assert_eq!(find(&routes, path), Some(route), "{path}");
        let scanned = routes.iter().map(|route| &route.matcher);
        let only: Vec<Route> = scanned.skip(route as usize).take(3).cloned().map(made).collect();
        assert_eq!(find(&only, path), Some(0), "{path}, by a scan");
    }
    assert_eq!(find(&routes, "*"), None);
    assert_eq!(find(&[], "/"), None);
}

#[test]
fn routes_whose_conditions_fail_are_passed_over() {
    let routes: Vec<Route> =
        ["/", "/a", "/a/b", "/", "/a/b", "/a"].map(|p| made(RouteMatch::prefix(p))).into();
    let index = PathIndex::new(&routes);
    let third = |matcher: &RouteMatch| std::ptr::eq(matcher, &routes[3].matcher);
    assert_eq!(index.first(&routes, "/a/b", third), Some(3));
    assert_eq!(index.first(&routes, "x", third), None);
    assert_eq!(index.first(&routes, "/a", |_| false), None);
}

/// A tree as deep as this would overflow the stack if it were made by recursion.
#[test]
fn deep_chains_of_prefixes_are_found() {
    let mut routes: Vec<Route> =
        (1..=4000).map(|length| made(RouteMatch::prefix("a".repeat(length)))).collect();
    routes.reverse();
    let index = PathIndex::new(&routes);
    let first = |path: &str| index.first(&routes, path, |_| true);
    assert_eq!(first(&"a".repeat(5000)), Some(0));
    assert_eq!(first(&"a".repeat(4000)), Some(0));
    assert_eq!(first(&"a".repeat(10)), Some(3990));
    assert_eq!(first("b"), None);
    assert_eq!(first(""), None);
}

#[derive(Clone, Debug)]
struct Rule {
    kind: u8,
    text: String,
    case_sensitive: bool,
    /// Whether the route's other conditions hold.
    holds: bool,
}

fn rule() -> impl Strategy<Value = Rule> {
    let text = text_of(&['/', 'a', 'A', 'b', 'é'], 0..5);
    let case_sensitive = prop::bool::weighted(0.8);
    // Few expressions: compiling them is what takes long.
    let kind = prop_oneof![12 => 0..3_u8, 1 => Just(3)];
    let rule = (kind, text, case_sensitive, prop::bool::weighted(0.7));
    rule.prop_map(|(kind, text, case_sensitive, holds)| Rule { kind, text, case_sensitive, holds })
}

impl Rule {
    fn route(&self) -> Route {
        let path = match self.kind {
            0 => PathMatcher::Prefix(self.text.as_str().into()),
            1 => PathMatcher::Exact(self.text.as_str().into()),
            2 => PathMatcher::PathSeparatedPrefix(self.text.as_str().into()),
            _ => PathMatcher::Regex(Regex::new(&format!("{}.?", self.text)).unwrap()),
        };
        let mut matcher = RouteMatch::new(path);
        matcher.case_sensitive = self.case_sensitive;
        // A mark for the other conditions, which this test decides itself.
        matcher.runtime_fraction = self.holds.then_some(0);
        made(matcher)
    }

    fn takes(&self, path: &str) -> bool {
        let (mut text, mut path) = (self.text.clone(), path.to_owned());
        if !self.case_sensitive && self.kind < 3 {
            text.make_ascii_lowercase();
            path.make_ascii_lowercase();
        }
        let rest = path.strip_prefix(&text);
        self.holds
            && match self.kind {
                0 => rest.is_some(),
                1 => path == text,
                2 => rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
                _ => rest.is_some_and(|rest| rest.len() <= 1),
            }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn index_finds_what_a_scan_in_order_finds(
        rules in prop::collection::vec(rule(), 0..40),
        paths in prop::collection::vec(text_of(&['/', 'a', 'A', 'b', 'é'], 0..7), 1..20),
    ) {
        let routes: Vec<Route> = rules.iter().map(Rule::route).collect();
        let index = PathIndex::new(&routes);
        for path in paths {
            let holds = |matcher: &RouteMatch| matcher.runtime_fraction.is_some();
            let found = index.first(&routes, &path, holds);
            let naive = rules.iter().position(|rule| rule.takes(&path));
            prop_assert_eq!(found, naive.map(|rule| rule as u32), "{}", path);
        }
    }
}

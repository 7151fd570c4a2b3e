use std::sync::Arc;

use proptest::prelude::*;

use crate::dialect::Dialect::{self, Grpc, Http};
use crate::head::Head;
use crate::resource::{
    HeaderMatcher, HttpConnectionManager, PathMatcher, Route, RouteConfiguration, RouteMatch,
    RouteSpecifier, StringMatcher, ValueMatch, VirtualHost,
};
use crate::route::table::ClusterChoice;
use crate::route::{RouteTable, RuleTarget};
use crate::snapshot::ClusterIndex;
use crate::testing::{forward, get, randoms, text_of, weighted};

/// A table of one virtual host. A cluster's index is the number in its name.
pub(super) fn table(routes: Vec<Route>) -> RouteTable {
    let host = VirtualHost::new("host", ["*"], routes);
    let configuration = Arc::new(RouteConfiguration::new("routes", vec![host]));
    let manager = HttpConnectionManager::new(RouteSpecifier::Inline(configuration.clone()));
    let index = |name: &crate::resource::Name| ClusterIndex::of(name.parse().unwrap());
    RouteTable::compile(configuration, &manager, index)
}

fn choose(table: &RouteTable, random: u64) -> u32 {
    let request = get("/", &[]);
    let chosen = table.route(0, &Head::of(&request), Http, random).unwrap();
    match table.target(table.target_of(chosen)).unwrap() {
        RuleTarget::Forward { clusters: ClusterChoice::One(cluster), .. } => cluster.number(),
        RuleTarget::Forward { clusters: ClusterChoice::Weighted(ends), .. } => {
            ends[ClusterChoice::choose(ends, random)].1.number()
        }
        target => panic!("{target:?}"),
    }
}

#[test]
fn weights_are_intervals_in_list_order() {
    let action = weighted(&[("0", 90), ("1", 0), ("2", 10)]);
    let table = table(vec![Route::new(RouteMatch::prefix("/"), action)]);
    for random in 0..300 {
        let want = if random % 100 < 90 { 0 } else { 2 };
        assert_eq!(choose(&table, random), want, "{random}");
    }
    assert_eq!(choose(&table, u64::MAX), 0, "18446744073709551615 % 100 is 15");
}

#[test]
fn weights_take_their_shares_and_the_same_number_chooses_the_same() {
    let action = weighted(&[("0", 1), ("1", 2), ("2", 7)]);
    let table = table(vec![Route::new(RouteMatch::prefix("/"), action)]);
    let chosen: Vec<u32> = randoms(100_000).map(|random| choose(&table, random)).collect();
    for (cluster, want) in [(0, 10_000.0), (1, 20_000.0), (2, 70_000.0)] {
        let got = chosen.iter().filter(|chosen| **chosen == cluster).count() as f64;
        assert!((got - want).abs() < 600.0, "{cluster}: {got}");
    }
    assert!(randoms(100_000).map(|random| choose(&table, random)).eq(chosen));
}

#[test]
fn largest_weights_do_not_overflow() {
    let action = weighted(&[("0", u32::MAX), ("1", u32::MAX), ("2", u32::MAX)]);
    let table = table(vec![Route::new(RouteMatch::prefix("/"), action)]);
    let step = u64::from(u32::MAX);
    for (random, want) in [(0, 0), (step - 1, 0), (step, 1), (2 * step, 2), (3 * step, 0)] {
        assert_eq!(choose(&table, random), want, "{random}");
    }
}

#[test]
fn no_weight_at_all_forwards_nowhere() {
    for clusters in [&[][..], &[("0", 0), ("1", 0)]] {
        let table = table(vec![Route::new(RouteMatch::prefix("/"), weighted(clusters))]);
        let request = get("/", &[]);
        let chosen = table.route(0, &Head::of(&request), Http, 7).unwrap();
        let target = table.target(table.target_of(chosen));
        assert!(matches!(target, Some(RuleTarget::Local)));
    }
}

/// The share a route takes says nothing about which cluster its requests go to.
#[test]
fn fraction_and_weights_are_independent() {
    let mut matcher = RouteMatch::prefix("/");
    matcher.runtime_fraction = Some(500_000);
    let taken = Route::new(matcher, weighted(&[("0", 50), ("1", 50)]));
    let table = table(vec![taken, Route::new(RouteMatch::prefix("/"), forward("2"))]);
    let mut counts = [0_i32; 3];
    for random in randoms(100_000) {
        counts[choose(&table, random) as usize] += 1;
    }
    for (count, want) in counts.into_iter().zip([25_000, 25_000, 50_000]) {
        assert!((count - want).abs() < 700, "{counts:?}");
    }
}

#[test]
fn names_each_cluster_once() {
    let routes = [forward("1"), weighted(&[("0", 1), ("1", 0), ("0", 3)]), forward("2")];
    let routes = routes.map(|action| Route::new(RouteMatch::prefix("/"), action));
    let table = table(routes.into());
    let names: Vec<&str> = table.clusters.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["1", "0", "2"]);
}

#[derive(Clone, Debug)]
struct Rule {
    prefix: bool,
    path: String,
    headers: Vec<(usize, Option<&'static str>, bool)>,
    fraction: Option<u32>,
}

const NAMES: [&str; 3] = ["x-a", "x-b", "x-bin"];

fn rule() -> impl Strategy<Value = Rule> {
    let value = prop::sample::select(vec![None, Some("0"), Some("1")]);
    let header = (0..NAMES.len(), value, prop::bool::weighted(0.3));
    let headers = prop::collection::vec(header, 0..3);
    let fraction = prop::option::weighted(0.2, prop::sample::select(vec![0, 1_000_000]));
    let path = text_of(&['/', 'a', 'b'], 0..3).prop_map(|path| format!("/{path}"));
    (prop::bool::ANY, path, headers, fraction).prop_map(|(prefix, path, headers, fraction)| Rule {
        prefix,
        path,
        headers,
        fraction,
    })
}

impl Rule {
    fn route(&self) -> Route {
        let path = self.path.as_str().into();
        let path = if self.prefix { PathMatcher::Prefix(path) } else { PathMatcher::Exact(path) };
        let mut matcher = RouteMatch::new(path);
        matcher.runtime_fraction = self.fraction;
        for (name, value, invert) in &self.headers {
            let name = http::HeaderName::from_static(NAMES[*name]);
            let value = value.map(|value| ValueMatch::String(StringMatcher::exact(value)));
            let value = value.unwrap_or(ValueMatch::Present(true));
            let mut header = HeaderMatcher::new(name, value);
            header.invert = *invert;
            matcher.headers.push(header);
        }
        Route::new(matcher, forward("0"))
    }

    fn takes(&self, path: &str, headers: &[Option<&str>; 3], dialect: Dialect) -> bool {
        let path_matches =
            if self.prefix { path.starts_with(&self.path) } else { path == self.path };
        let header_matches = |(name, want, invert): &(usize, Option<&str>, bool)| {
            let binary = dialect == Grpc && *name == 2;
            match (headers[*name].filter(|_| !binary), want) {
                (value, None) => value.is_some() != *invert,
                (None, Some(_)) => false,
                (Some(value), Some(want)) => (value == *want) != *invert,
            }
        };
        path_matches && self.headers.iter().all(header_matches) && self.fraction != Some(0)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn table_takes_the_first_route_whose_conditions_all_hold(
        rules in prop::collection::vec(rule(), 0..30),
        path in text_of(&['/', 'a', 'b'], 0..4),
        values in prop::array::uniform3(prop::sample::select(vec![None, Some("0"), Some("1")])),
        random in any::<u64>(),
    ) {
        let table = table(rules.iter().map(Rule::route).collect());
        let headers = NAMES.into_iter().zip(values);
        let present = headers.filter_map(|(name, value)| Some((name, value?)));
        let request = get(&format!("/{path}?a=b"), &present.collect::<Vec<_>>());
        for dialect in [Http, Grpc] {
            let found = table.route(0, &Head::of(&request), dialect, random);
            let path = format!("/{path}");
            let naive = rules.iter().position(|rule| rule.takes(&path, &values, dialect));
            prop_assert_eq!(found.map(|chosen| chosen.route), naive.map(|rule| rule as u32));
        }
    }
}

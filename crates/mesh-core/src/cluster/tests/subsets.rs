//! Which endpoints a request may go to, against the rules written down once more.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use proptest::prelude::*;

use super::state_of;
use crate::cluster::{Choice, ClusterState};
use crate::dialect::Dialect;
use crate::resource::{
    ClusterLoadAssignment, Endpoint, HealthStatus, Locality, LocalityLbEndpoints, Metadata,
    MetadataMatch, Name, SelectorFallback, Struct, SubsetFallback, SubsetSelector, Subsets, Value,
};
use crate::testing::{address, cluster, randoms};

type Labels = BTreeMap<&'static str, Value>;

fn text(value: &str) -> Value {
    Value::String(value.into())
}

fn structure(labels: &Labels) -> Struct {
    labels.iter().map(|(key, value)| (Name::from(*key), value.clone())).collect()
}

fn labelled(number: u8, labels: &Labels) -> Endpoint {
    let mut endpoint = Endpoint::new(address(number));
    let fields = BTreeMap::from([("envoy.lb".into(), structure(labels))]);
    endpoint.metadata = Some(Arc::new(Metadata { fields }));
    endpoint
}

fn state(spec: Subsets, endpoints: Vec<Endpoint>) -> ClusterState<()> {
    let mut of = cluster("c");
    of.balancing.subsets = Some(Arc::new(spec));
    let mut locality = LocalityLbEndpoints::new(Locality::default(), endpoints);
    // gRPC uses no other.
    locality.weight = Some(1);
    state_of(of, ClusterLoadAssignment::new("any", vec![locality]))
}

/// Who is picked in a few hundred draws, which miss none of a handful.
fn reached(state: &ClusterState<()>, wanted: Option<&MetadataMatch>) -> BTreeSet<SocketAddr> {
    let choice = Choice::new(Dialect::Http).with_metadata_match(wanted);
    let picks = randoms(200).map(|random| state.pick(&choice, random));
    picks.filter_map(|picked| Some(picked.ok()?.address())).collect()
}

fn matching(wanted: &[(&'static str, &str)]) -> MetadataMatch {
    structure(&wanted.iter().map(|(key, value)| (*key, text(value))).collect()).into()
}

fn versions() -> Vec<Endpoint> {
    let of = |version: &str, stage: &str| {
        Labels::from([("version", text(version)), ("stage", text(stage))])
    };
    let mut all = vec![
        labelled(0, &of("1", "prod")),
        labelled(1, &of("1", "dev")),
        labelled(2, &of("2", "prod")),
        labelled(3, &Labels::from([("version", text("2"))])),
    ];
    all.push(Endpoint::new(address(4)));
    all
}

fn numbers(reached: &BTreeSet<SocketAddr>) -> Vec<u8> {
    (0..250).filter(|number| reached.contains(&address(*number))).collect()
}

#[test]
fn route_asks_for_exactly_the_keys_of_a_selector() {
    let selectors = [&["version"][..], &["stage", "version"]];
    let selectors = selectors.map(|keys| SubsetSelector::new(keys.iter().copied().map(Name::from)));
    let state = state(Subsets::new(selectors.into()), versions());
    for (wanted, expected) in [
        (&[("version", "1")][..], &[0, 1][..]),
        (&[("version", "2")], &[2, 3]),
        (&[("version", "3")], &[]),
        (&[("version", "1"), ("stage", "dev")], &[1]),
        (&[("version", "2"), ("stage", "dev")], &[]),
        (&[("stage", "prod")], &[]),
        (&[("version", "1"), ("stage", "dev"), ("x", "y")], &[]),
        (&[], &[]),
    ] {
        let found = numbers(&reached(&state, Some(&matching(wanted))));
        assert_eq!(found, expected, "{wanted:?}");
    }
    assert_eq!(numbers(&reached(&state, None)), []);
    let error = state.pick(&Choice::new(Dialect::Http), 1).unwrap_err();
    assert_eq!(error.to_string(), "none of 5 endpoints is of the route's subset and healthy");
    assert!(state.pick(&Choice::new(Dialect::Grpc), 1).is_ok(), "gRPC knows no subsets");
}

#[test]
fn health_counts_inside_a_subset() {
    let mut endpoints = versions();
    endpoints[0].health = HealthStatus::Unhealthy;
    let selector = SubsetSelector::new(["version".into()]);
    let mut single = selector.clone();
    single.single_host_per_subset = true;
    for (selector, first, second) in [(selector, &[1][..], &[2, 3][..]), (single, &[0], &[2])] {
        let state = state(Subsets::new(vec![selector]), endpoints.clone());
        let of = |version| numbers(&reached(&state, Some(&matching(&[("version", version)]))));
        assert_eq!((of("1"), of("2")), (first.to_vec(), second.to_vec()));
    }
}

#[test]
fn subsets_that_take_turns_reach_all_of_their_endpoints() {
    let state = state(Subsets::new(vec![SubsetSelector::new(["version".into()])]), versions());
    let (one, two) = (matching(&[("version", "1")]), matching(&[("version", "2")]));
    let mut seen = BTreeSet::new();
    for random in randoms(4) {
        for wanted in [&one, &two] {
            let choice = Choice::new(Dialect::Http).with_metadata_match(Some(wanted));
            seen.insert(state.pick(&choice, random).unwrap().address());
        }
    }
    assert_eq!(numbers(&seen), [0, 1, 2, 3]);
}

const KEYS: [&str; 3] = ["a", "b", "c"];

fn value() -> impl Strategy<Value = Value> {
    let plain = prop_oneof![Just(text("x")), Just(text("y")), Just(Value::Number(1.0))];
    prop_oneof![
        4 => plain.clone(),
        1 => prop::collection::vec(plain, 0..3).prop_map(Value::List),
    ]
}

fn some_labels() -> impl Strategy<Value = Labels> {
    prop::collection::btree_map(prop::sample::select(&KEYS[..]), value(), 0..4)
}

fn fallback() -> impl Strategy<Value = SubsetFallback> {
    use SubsetFallback as To;
    prop_oneof![Just(To::None), Just(To::Any), Just(To::Default)]
}

fn selector() -> impl Strategy<Value = SubsetSelector> {
    let keys = prop::sample::subsequence(KEYS.to_vec(), 1..4);
    let own = prop::option::of(prop_oneof![
        fallback().prop_map(SelectorFallback::To),
        Just(SelectorFallback::Keys([].into())),
    ]);
    (keys, own, any::<bool>()).prop_map(|(keys, fallback, single)| {
        let mut made = SubsetSelector::new(keys.iter().copied().map(Name::from));
        made.fallback = match fallback {
            Some(SelectorFallback::Keys(_)) if made.keys.len() > 1 => {
                Some(SelectorFallback::Keys(made.keys[1..].into()))
            }
            Some(SelectorFallback::Keys(_)) => None,
            other => other,
        };
        made.single_host_per_subset = single && made.keys.len() == 1;
        made
    })
}

fn specs() -> impl Strategy<Value = Subsets> {
    let selectors = prop::collection::vec(selector(), 0..4);
    (selectors, fallback(), some_labels(), any::<[bool; 2]>()).prop_map(
        |(mut selectors, fallback, default, [list_as_any, panic_mode_any])| {
            let mut seen = BTreeSet::new();
            selectors.retain(|selector| seen.insert(selector.keys.clone()));
            let mut made = Subsets::new(selectors);
            made.fallback = fallback;
            made.default_subset = structure(&default).into();
            (made.list_as_any, made.panic_mode_any) = (list_as_any, panic_mode_any);
            made
        },
    )
}

/// The rules once more.
struct Model<'m> {
    spec: &'m Subsets,
    default: &'m Labels,
    endpoints: &'m [Labels],
}

impl Model<'_> {
    fn matches(&self, endpoint: &Labels, wanted: &Labels) -> bool {
        wanted.iter().all(|(key, value)| match endpoint.get(key) {
            Some(Value::List(list)) if self.spec.list_as_any => list.contains(value),
            other => other == Some(value),
        })
    }

    fn of(&self, wanted: &Labels) -> Vec<u8> {
        let all = (0..).zip(self.endpoints);
        all.filter(|(_, one)| self.matches(one, wanted)).map(|(number, _)| number).collect()
    }

    fn to(&self, fallback: SubsetFallback) -> Vec<u8> {
        match fallback {
            SubsetFallback::None => Vec::new(),
            SubsetFallback::Any => self.of(&Labels::new()),
            SubsetFallback::Default => self.of(self.default),
        }
    }

    fn allowed(&self, wanted: Option<&Labels>) -> Vec<u8> {
        let keys: Vec<&str> = wanted.iter().flat_map(|wanted| wanted.keys().copied()).collect();
        let same =
            |selector: &&SubsetSelector| selector.keys.iter().map(|key| &**key).eq(keys.clone());
        let selector = self.spec.selectors.iter().find(same);
        if let (Some(selector), Some(wanted)) = (selector, wanted) {
            let found = self.of(wanted);
            if !found.is_empty() {
                let count = if selector.single_host_per_subset { 1 } else { found.len() };
                return found[..count].to_vec();
            }
            match &selector.fallback {
                Some(SelectorFallback::To(to)) => return self.to(*to),
                Some(SelectorFallback::Keys(keys)) => {
                    let mut fewer = wanted.clone();
                    fewer.retain(|key, _| keys.iter().any(|kept| **kept == **key));
                    return self.allowed(Some(&fewer));
                }
                None => {}
            }
        }
        let found = self.to(self.spec.fallback);
        let panics = self.spec.panic_mode_any && self.spec.fallback != SubsetFallback::None;
        if found.is_empty() && panics { self.to(SubsetFallback::Any) } else { found }
    }
}

proptest! {
    #[test]
    fn requests_reach_exactly_the_endpoints_of_the_model(
        spec in specs(),
        endpoints in prop::collection::vec(some_labels(), 1..6),
        wanted in prop::option::of(some_labels()),
    ) {
        let default = spec.default_subset.pairs().map(|pair| {
            let key = KEYS.iter().find(|key| ***key == *pair.key).unwrap();
            (*key, pair.value.clone())
        });
        let default = default.collect();
        let model = Model { spec: &spec, default: &default, endpoints: &endpoints };
        let made = (0..).zip(&endpoints).map(|(number, labels)| labelled(number, labels));
        let state = state(spec.clone(), made.collect());
        let asked = wanted.as_ref().map(|wanted| structure(wanted).into());
        let found = numbers(&reached(&state, asked.as_ref()));
        prop_assert_eq!(found, model.allowed(wanted.as_ref()));
    }
}

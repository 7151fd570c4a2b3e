//! Shares of endpoints against a naive model: the rules written down once more, slowly.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use proptest::prelude::*;

use super::state_of;
use crate::cluster::{Choice, ClusterState};
use crate::dialect::Dialect;
use crate::resource::{
    ClusterLoadAssignment, Endpoint, HealthStatus, LbPolicy, Locality, LocalityBalancing,
    LocalityLbEndpoints,
};
use crate::testing::{address, cluster, randoms};

type Shares = BTreeMap<SocketAddr, f64>;

/// Which endpoints are of a class.
type Class<'c> = &'c dyn Fn(&Endpoint) -> bool;

const DRAWS: usize = 4000;

fn drawn(state: &ClusterState<()>, dialect: Dialect) -> Shares {
    let mut shares = Shares::new();
    for random in randoms(DRAWS) {
        let picked = state.pick(&Choice::new(dialect), random).unwrap();
        *shares.entry(picked.address()).or_default() += 1.0 / DRAWS as f64;
    }
    shares
}

fn health() -> impl Strategy<Value = HealthStatus> {
    prop_oneof![
        5 => Just(HealthStatus::Healthy),
        2 => Just(HealthStatus::Unhealthy),
        1 => Just(HealthStatus::Degraded),
        1 => Just(HealthStatus::Draining),
    ]
}

fn assignments() -> impl Strategy<Value = ClusterLoadAssignment> {
    let endpoint = (health(), 1_u32..5);
    let locality = (0_u32..3, 0_u32..5, prop::collection::vec(endpoint, 1..5));
    prop::collection::vec(locality, 1..6).prop_map(|list| {
        let mut next = 0;
        let made = (0..).zip(list).map(|(number, (priority, weight, endpoints))| {
            let endpoint = |(health, weight)| {
                next += 1;
                let mut made = Endpoint::new(address(next));
                (made.health, made.weight) = (health, weight);
                made
            };
            let endpoints = endpoints.into_iter().map(endpoint).collect();
            let region = format!("{number}").into();
            let place = Locality { region, ..Locality::default() };
            let mut made = LocalityLbEndpoints::new(place, endpoints);
            (made.priority, made.weight) = (priority, Some(weight));
            made
        });
        ClusterLoadAssignment::new("any", made.collect())
    })
}

fn is_healthy(endpoint: &Endpoint) -> bool {
    endpoint.health == HealthStatus::Healthy
}

/// What a list of endpoints gets of a share: by weight, or all the same.
fn split(into: &mut Shares, share: f64, list: &[&Endpoint], by_weight: bool) {
    let weight = |endpoint: &Endpoint| if by_weight { f64::from(endpoint.weight) } else { 1.0 };
    let total: f64 = list.iter().map(|endpoint| weight(endpoint)).sum();
    for endpoint in list {
        *into.entry(endpoint.address()).or_default() += share * weight(endpoint) / total;
    }
}

/// Envoy's shares of healthy endpoints, for loads that were computed elsewhere.
fn model(
    assignment: &ClusterLoadAssignment,
    state: &ClusterState<()>,
    by_locality: bool,
    by_weight: bool,
) -> Shares {
    let mut shares = Shares::new();
    for (priority, load) in (0..).zip(state.tables().loads()) {
        let localities: Vec<&LocalityLbEndpoints> =
            assignment.localities.iter().filter(|l| l.priority == priority).collect();
        let all = |keep: &dyn Fn(&Endpoint) -> bool| -> Vec<&Endpoint> {
            localities.iter().flat_map(|l| &l.endpoints).filter(|e| keep(e)).collect()
        };
        if load.panic {
            split(&mut shares, f64::from(load.healthy) / 100.0, &all(&|_| true), by_weight);
            continue;
        }
        let classes: [(u32, Class<'_>); 2] = [
            (load.healthy, &is_healthy),
            (load.degraded, &|endpoint| endpoint.health == HealthStatus::Degraded),
        ];
        for (load, class) in classes {
            let share = f64::from(load) / 100.0;
            let effective = |locality: &LocalityLbEndpoints| {
                let good = locality.endpoints.iter().filter(|e| class(e)).count() as f64;
                let counted =
                    locality.endpoints.iter().filter(|e| e.health != HealthStatus::Draining);
                let ratio = if good == 0.0 { 0.0 } else { good / counted.count() as f64 };
                f64::from(locality.weight.unwrap()) * (1.4 * ratio).min(1.0)
            };
            let total: f64 = localities.iter().map(|l| effective(l)).sum();
            if by_locality && total > 0.0 {
                for locality in &localities {
                    let list: Vec<&Endpoint> =
                        locality.endpoints.iter().filter(|e| class(e)).collect();
                    split(&mut shares, share * effective(locality) / total, &list, by_weight);
                }
            } else {
                split(&mut shares, share, &all(class), by_weight);
            }
        }
    }
    shares
}

/// Within five deviations: a run of all cases makes thousands of comparisons.
fn assert_close(found: &Shares, want: &Shares) -> Result<(), TestCaseError> {
    for address in found.keys().chain(want.keys()) {
        let (found, want) = (found.get(address).copied(), want.get(address).copied());
        let (found, want) = (found.unwrap_or_default(), want.unwrap_or_default());
        let deviation = (want * (1.0 - want) / DRAWS as f64).sqrt();
        prop_assert!((found - want).abs() <= 5.0 * deviation + 0.001, "{address}: {found} {want}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn http_shares_are_those_of_the_model(
        assignment in assignments(),
        by_locality in any::<bool>(),
        policy in prop::sample::select(vec![
            LbPolicy::Random, LbPolicy::RoundRobin, LbPolicy::LeastRequest { choice_count: 2 },
        ]),
        threshold in prop::sample::select(vec![10_u32, 50, 90]),
    ) {
        let mut spec = cluster("c");
        spec.lb_policy = policy;
        spec.balancing.healthy_panic_threshold = threshold;
        if by_locality {
            spec.balancing.locality = LocalityBalancing::Weighted;
        }
        let state = state_of(spec, assignment.clone());
        let want = model(&assignment, &state, by_locality, policy != LbPolicy::Random);
        assert_close(&drawn(&state, Dialect::Http), &want)?;
    }

    #[test]
    fn grpc_shares_are_those_of_the_model(assignment in assignments()) {
        let state = state_of(cluster("c"), assignment.clone());
        let good = |locality: &LocalityLbEndpoints| {
            locality.weight != Some(0) && locality.endpoints.iter().any(is_healthy)
        };
        let usable: Vec<_> = assignment.localities.iter().filter(|l| good(l)).collect();
        let Some(priority) = usable.iter().map(|l| l.priority).min() else {
            prop_assert!(state.pick(&Choice::new(Dialect::Grpc), 0).is_err());
            return Ok(());
        };
        let usable = usable.into_iter().filter(|l| l.priority == priority);
        let total: u32 = usable.clone().filter_map(|l| l.weight).sum();
        let mut want = Shares::new();
        for locality in usable {
            let list: Vec<_> = locality.endpoints.iter().filter(|e| is_healthy(e)).collect();
            let share = f64::from(locality.weight.unwrap()) / f64::from(total);
            split(&mut want, share, &list, false);
        }
        assert_close(&drawn(&state, Dialect::Grpc), &want)?;
    }
}

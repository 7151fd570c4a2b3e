//! What retries stay away from, against naive models.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use proptest::prelude::*;

use super::{state, state_of};
use crate::cluster::{Avoid, Choice};
use crate::dialect::Dialect;
use crate::resource::{ClusterLoadAssignment, HealthStatus, LbPolicy};
use crate::testing::{address, cluster, locality, randoms};

const DRAWS: usize = 2000;

fn away(avoid: Avoid<'_>) -> Choice<'_> {
    Choice::new(Dialect::Http).with_avoid(avoid)
}

fn health() -> impl Strategy<Value = HealthStatus> {
    prop_oneof![
        4 => Just(HealthStatus::Healthy),
        2 => Just(HealthStatus::Unhealthy),
        1 => Just(HealthStatus::Degraded),
    ]
}

/// Envoy's shares of priorities of which some are left out, in parts of the whole: healthy
/// endpoints first, then degraded ones, from the first priority on, until all is shared.
fn shares(list: &[Vec<HealthStatus>], left: &[u32]) -> Option<BTreeMap<(u32, bool), f64>> {
    let parts = [(HealthStatus::Healthy, false), (HealthStatus::Degraded, true)];
    let mut able: Vec<((u32, bool), u32)> = Vec::new();
    for (status, degraded) in parts {
        for (priority, endpoints) in (0..).zip(list).filter(|(at, _)| !left.contains(at)) {
            let good = endpoints.iter().filter(|one| **one == status).count() as u32;
            let percent = (140 * good / endpoints.len() as u32).min(100);
            able.push(((priority, degraded), percent));
        }
    }
    let total = able.iter().map(|(_, percent)| percent).sum::<u32>().min(100);
    if total == 0 {
        return None;
    }
    let mut shares = BTreeMap::new();
    let mut rest = 100;
    while rest > 0 {
        for (part, percent) in &able {
            let more = rest.min(percent * 100 / total);
            *shares.entry(*part).or_default() += f64::from(more) / 100.0;
            rest -= more;
        }
    }
    Some(shares)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn tried_endpoints_are_passed_over_as_often_as_is_allowed(
        count in 1..6_u8,
        steps in prop::collection::vec(
            (prop::collection::vec(0..6_u8, 0..4), 0..8_u32), 1..20,
        ),
    ) {
        let state = state(cluster("c"), 0..count);
        let order: Vec<SocketAddr> = (0..count)
            .map(|_| state.pick(&Choice::new(Dialect::Http), 1).unwrap().address())
            .collect();
        let mut turn = 0;
        let mut next = || {
            turn += 1;
            order[(turn - 1) % order.len()]
        };
        for (tried, max_attempts) in steps {
            let tried: Vec<SocketAddr> = tried.into_iter().map(address).collect();
            let mut want = next();
            for _ in 0..max_attempts {
                if tried.contains(&want) {
                    want = next();
                }
            }
            let found = state.pick(&away(Avoid::new(&tried, max_attempts)), 1).unwrap();
            prop_assert_eq!(found.address(), want, "{:?} {}", tried, max_attempts);
        }
    }

    #[test]
    fn tried_endpoints_are_taken_when_there_is_no_other(
        count in 1..6_u8,
        tried in prop::collection::btree_set(0..6_u8, 0..6),
        policy in prop::sample::select(vec![
            LbPolicy::Random, LbPolicy::RoundRobin, LbPolicy::LeastRequest { choice_count: 2 },
        ]),
        random in any::<u64>(),
    ) {
        let mut spec = cluster("c");
        spec.lb_policy = policy;
        let state = state(spec, 0..count);
        let others = (0..count).any(|number| !tried.contains(&number));
        let tried: Vec<SocketAddr> = tried.into_iter().map(address).collect();
        let found = state.pick(&away(Avoid::new(&tried, 64)), random).unwrap();
        prop_assert_eq!(tried.contains(&found.address()), !others);
    }

    #[test]
    fn shares_without_tried_priorities_are_those_of_the_model(
        list in prop::collection::vec(prop::collection::vec(health(), 1..5), 1..5),
        left in prop::collection::vec(0..5_u32, 1..4),
        policy in prop::sample::select(vec![LbPolicy::Random, LbPolicy::RoundRobin]),
    ) {
        let mut number = 0;
        let mut at = BTreeMap::new();
        let localities = (0..).zip(&list).map(|(priority, endpoints)| {
            let numbered = endpoints.iter().map(|status| {
                number += 1;
                at.insert(address(number), (priority, *status == HealthStatus::Degraded));
                (number, *status)
            });
            locality(priority, &numbered.collect::<Vec<_>>())
        });
        let assignment = ClusterLoadAssignment::new("any", localities.collect());
        let mut spec = cluster("c");
        spec.lb_policy = policy;
        spec.balancing.healthy_panic_threshold = 0;
        let state = state_of(spec, assignment);
        let avoid = Avoid { priorities: &left, ..Avoid::default() };
        let mut found: BTreeMap<(u32, bool), f64> = BTreeMap::new();
        let want = shares(&list, &left);
        for random in randoms(DRAWS) {
            let picked = state.pick_away(&away(avoid), random);
            prop_assert_eq!(picked.is_some(), want.is_some());
            if let Some(picked) = picked {
                *found.entry(at[&picked.address()]).or_default() += 1.0 / DRAWS as f64;
            }
        }
        for (part, want) in want.into_iter().flatten() {
            let found = found.get(&part).copied().unwrap_or_default();
            let deviation = (want * (1.0 - want) / DRAWS as f64).sqrt();
            let is_close = (found - want).abs() <= 5.0 * deviation + 0.001;
            prop_assert!(is_close, "{:?}: {} {}", part, found, want);
        }
    }
}

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;

use super::{state, state_of};
use crate::cluster::outlier::Observed;
use crate::cluster::{Avoid, Choice, ClusterState, Picked};
use crate::dialect::Dialect;
use crate::resource::HealthStatus::{Healthy, Unhealthy};
use crate::resource::{
    Cluster, ClusterLoadAssignment, DropOverload, LbPolicy, OutlierDetection, SlowStart,
};
use crate::testing::{address, cluster, endpoints, locality, randoms};

const HTTP: Dialect = Dialect::Http;
const DRAWS: usize = 4000;

fn of_policy(policy: LbPolicy) -> Cluster {
    let mut spec = cluster("c");
    spec.lb_policy = policy;
    spec
}

fn weighted(weights: &[u32]) -> ClusterLoadAssignment {
    let mut made = endpoints("any", 0..weights.len() as u8);
    for (endpoint, weight) in made.localities[0].endpoints.iter_mut().zip(weights) {
        endpoint.weight = *weight;
    }
    made
}

fn share(state: &ClusterState<()>, choice: &Choice<'_>, wanted: SocketAddr) -> f64 {
    let hit = |random: &u64| state.pick(choice, *random).unwrap().address() == wanted;
    randoms(DRAWS).filter(hit).count() as f64 / DRAWS as f64
}

/// Three deviations of a share.
fn sigma(share: f64) -> f64 {
    3.0 * (share * (1.0 - share) / DRAWS as f64).sqrt()
}

#[test]
fn first_priority_fails_over_as_its_endpoints_fall_ill() {
    for (sick, want) in (0..=10).zip([1.0, 1.0, 1.0, 0.98, 0.84, 0.7, 0.56, 0.42, 0.28, 0.14, 0.0])
    {
        let health = |number| (number, if number < sick { Unhealthy } else { Healthy });
        let first: Vec<_> = (0..10).map(health).collect();
        let localities = vec![locality(0, &first), locality(1, &[(20, Healthy)])];
        let state = state_of(cluster("c"), ClusterLoadAssignment::new("any", localities));
        let found = 1.0 - share(&state, &Choice::new(HTTP), address(20));
        assert!((found - want).abs() <= sigma(want), "{sick} sick: {found} for {want}");
    }
}

#[test]
fn weighted_round_robin_keeps_its_shares_closely_and_evenly() {
    let state = state_of(of_policy(LbPolicy::RoundRobin), weighted(&[1, 2, 5]));
    let picks: Vec<_> =
        (0..800).map(|_| state.pick(&Choice::new(HTTP), 0).unwrap().address()).collect();
    for (number, want) in [(0, 100), (1, 200), (2, 500)] {
        let count = picks.iter().filter(|pick| **pick == address(number)).count();
        assert!(count.abs_diff(want) <= 6, "{number}: {count} for {want}");
        // In any stretch, too: nobody waits.
        for stretch in picks.chunks(80) {
            let count = stretch.iter().filter(|pick| **pick == address(number)).count();
            assert!(count.abs_diff(want / 10) <= 5, "{number}: {count} of 80");
        }
    }
}

#[test]
fn weighted_least_request_turns_to_the_idle_one() {
    let state = state_of(of_policy(LbPolicy::LeastRequest { choice_count: 2 }), weighted(&[1, 3]));
    let idle = share(&state, &Choice::new(HTTP), address(1));
    assert!((idle - 0.75).abs() <= sigma(0.75), "{idle}");
    // A heavy one with much under way gets only what draws it twice.
    let heavy = |pick: &Picked<()>| pick.address() == address(1);
    let held: Vec<_> = randoms(64)
        .map(|random| state.pick(&Choice::new(HTTP), random).unwrap())
        .filter(heavy)
        .collect();
    assert!(held.len() > 20);
    let busy = share(&state, &Choice::new(HTTP), address(1));
    assert!((busy - 0.75 * 0.75).abs() <= sigma(0.56), "{busy}");
}

#[test]
fn full_scan_finds_the_idle_one() {
    let state = state(of_policy(LbPolicy::FullScan), 0..5);
    let held: Vec<_> =
        randoms(4).map(|random| state.pick(&Choice::new(HTTP), random).unwrap()).collect();
    let taken: Vec<_> = held.iter().map(|picked| picked.address()).collect();
    let left = (0..5).map(address).find(|address| !taken.contains(address)).unwrap();
    for random in randoms(100) {
        assert_eq!(state.pick(&Choice::new(HTTP), random).unwrap().address(), left);
    }
}

#[test]
fn new_endpoints_start_slowly() {
    for policy in [LbPolicy::RoundRobin, LbPolicy::LeastRequest { choice_count: 2 }] {
        let mut spec = of_policy(policy);
        spec.balancing.slow_start = Some(SlowStart::new(Duration::from_secs(100)));
        let state = state(spec, 0..2);
        let start = Instant::now();
        let later =
            |seconds| Choice::new(HTTP).with_now(Some(start + Duration::from_secs(seconds)));
        share(&state, &later(0), address(0));
        let _ = state.update((crate::resource::Entry::of(endpoints("any", 0..3)), None), &());
        // Seen first now, 1,000 s after the others.
        share(&state, &later(1000), address(2));
        for (age, part) in [(10, 0.1), (50, 0.5), (90, 0.9), (200, 1.0)] {
            let want = part / (2.0 + part);
            let found = share(&state, &later(1000 + age), address(2));
            assert!((found - want).abs() <= sigma(want), "{policy:?} {age}: {found} for {want}");
        }
    }
}

#[test]
fn pick_first_stays_with_one() {
    for shuffle_address_list in [false, true] {
        let state = state(of_policy(LbPolicy::PickFirst { shuffle_address_list }), 0..5);
        let first = state.pick(&Choice::new(Dialect::Grpc), 77).unwrap().address();
        assert!(shuffle_address_list || first == address(0));
        let tried = [first];
        let away = Choice::new(Dialect::Grpc).with_avoid(Avoid::new(&tried, 5));
        for random in randoms(100) {
            let picked = state.pick(&Choice::new(Dialect::Grpc), random).unwrap();
            assert_eq!(picked.address(), first);
            assert_ne!(state.pick(&away, random).unwrap().address(), first);
        }
    }
}

#[test]
fn ejected_endpoint_is_left_at_once_and_folded_into_the_tables() {
    for policy in
        [LbPolicy::RoundRobin, LbPolicy::LeastRequest { choice_count: 2 }, LbPolicy::Random]
    {
        let mut spec = of_policy(policy);
        let mut outliers = OutlierDetection::default();
        (outliers.consecutive_5xx, outliers.max_ejection_percent) = (1, 100);
        outliers.enforcing_consecutive_5xx = 100;
        spec.outlier_detection = Some(Arc::new(outliers));
        let state = state(spec, 0..3);
        let tables = state.tables();
        let endpoint = tables.usable().next().unwrap();
        let error = Observed::Status(StatusCode::INTERNAL_SERVER_ERROR);
        assert!(state.observe(endpoint, HTTP, error, Instant::now, || 0));
        assert_eq!(share(&state, &Choice::new(HTTP), endpoint.address()), 0.0, "{policy:?}");
        assert_eq!(state.tables().usable().len(), 3);
        assert!(!state.rebuild().is_empty());
        assert_eq!(state.tables().usable().len(), 2);
        assert_eq!(state.tables_of(Dialect::Grpc).usable().len(), 3, "gRPC has its own record");
        assert_eq!(share(&state, &Choice::new(HTTP), endpoint.address()), 0.0);
    }
}

#[test]
fn tried_priorities_hand_their_load_on() {
    let localities =
        vec![locality(0, &[(0, Healthy), (1, Unhealthy)]), locality(1, &[(2, Healthy)])];
    let state = state_of(cluster("c"), ClusterLoadAssignment::new("any", localities));
    let away = |priorities| {
        let avoid = Avoid { priorities, ..Avoid::default() };
        share(&state, &Choice::new(HTTP).with_avoid(avoid), address(2))
    };
    assert_eq!(away(&[0]), 1.0);
    assert_eq!(away(&[1]), 0.0);
    assert!((away(&[0, 1]) - 0.3).abs() <= sigma(0.3), "all were tried: as if none was");
}

#[test]
fn overloads_are_dropped_by_category() {
    let mut assignment = endpoints("any", 0..1);
    let overload =
        |category: &str, per_million| DropOverload { category: category.into(), per_million };
    assignment.drop_overloads = vec![overload("a", 200_000), overload("b", 500_000)];
    let state = state_of(cluster("c"), assignment);
    let count = |category: &str| {
        let dropped = randoms(DRAWS).filter_map(|random| state.drop_overload(random));
        dropped.filter(|dropped| **dropped == *category).count() as f64 / DRAWS as f64
    };
    // The second sees what the first let pass.
    assert!((count("a") - 0.2).abs() <= sigma(0.2), "{}", count("a"));
    assert!((count("b") - 0.4).abs() <= sigma(0.4), "{}", count("b"));
    let none = super::state(cluster("c"), 0..1);
    assert!(randoms(100).all(|random| none.drop_overload(random).is_none()));
}

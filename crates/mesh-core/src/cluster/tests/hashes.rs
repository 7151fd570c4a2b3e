use std::collections::HashMap;
use std::net::SocketAddr;

use super::{state, state_of};
use crate::cluster::{Choice, ClusterState, hash_of};
use crate::dialect::Dialect;
use crate::resource::HealthStatus::{Degraded, Healthy, Unhealthy};
use crate::resource::{Cluster, ClusterLoadAssignment, LbPolicy, Maglev, RingHash};
use crate::testing::{address, cluster, locality, randoms};

fn ring() -> Cluster {
    let mut spec = cluster("c");
    spec.lb_policy = LbPolicy::RingHash(RingHash::default());
    spec
}

fn maglev() -> Cluster {
    let mut spec = cluster("c");
    spec.lb_policy = LbPolicy::Maglev(Maglev::default());
    spec
}

fn key(number: usize) -> Choice<'static> {
    let hash = hash_of(format!("key-{number}").as_bytes());
    Choice::new(Dialect::Http).with_hash(Some(hash))
}

fn map(state: &ClusterState<()>) -> Vec<SocketAddr> {
    (0..1000).map(|number| state.pick(&key(number), 0).unwrap().address()).collect()
}

#[test]
fn key_stays_with_its_endpoint_whatever_the_random_number() {
    for spec in [ring(), maglev()] {
        let state = state(spec, 0..5);
        let map = map(&state);
        for random in randoms(50) {
            assert_eq!(state.pick(&key(7), random).unwrap().address(), map[7]);
        }
        assert_eq!(map.iter().collect::<std::collections::HashSet<_>>().len(), 5);
    }
}

#[test]
fn without_a_hash_requests_go_anywhere() {
    let state = state(ring(), 0..5);
    let mut counts: HashMap<SocketAddr, u32> = HashMap::new();
    for random in randoms(5000) {
        let picked = state.pick(&Choice::new(Dialect::Http), random).unwrap();
        *counts.entry(picked.address()).or_default() += 1;
    }
    assert!(counts.len() == 5 && counts.values().all(|count| *count > 700), "{counts:?}");
}

#[test]
fn sick_endpoint_loses_its_keys_and_nobody_else_does() {
    for (spec, others) in [(ring(), 120), (maglev(), 120)] {
        let before = map(&state(spec.clone(), 0..10));
        let health = |number| (number, if number == 3 { Unhealthy } else { Healthy });
        let list: Vec<_> = (0..10).map(health).collect();
        let sick = ClusterLoadAssignment::new("any", vec![locality(0, &list)]);
        let after = map(&state_of(spec, sick));
        let moved = before.iter().zip(&after).filter(|(a, b)| a != b);
        let of_others = moved.filter(|(a, _)| **a != address(3)).count();
        assert!(of_others <= others, "{of_others}");
        assert!(!after.contains(&address(3)));
    }
}

#[test]
fn hash_decides_the_priority_too() {
    let first = locality(0, &[(0, Healthy), (1, Unhealthy)]);
    let localities = vec![first, locality(1, &[(2, Healthy)])];
    let state = state_of(ring(), ClusterLoadAssignment::new("any", localities));
    for number in 0..200 {
        let choice = key(number);
        // 70 % of the load are for the first priority: hashes that end in 0 … 69.
        let want = if choice.hash.unwrap() % 100 < 70 { address(0) } else { address(2) };
        assert_eq!(state.pick(&choice, 0).unwrap().address(), want);
    }
}

#[test]
fn rings_know_no_degraded_endpoints() {
    let first = locality(0, &[(0, Healthy), (1, Degraded)]);
    let state = state_of(ring(), ClusterLoadAssignment::new("any", vec![first]));
    assert!(map(&state).iter().all(|picked| *picked == address(0)));
}

#[test]
fn bounded_loads_pass_on_what_is_too_much() {
    for mut spec in [ring(), maglev()] {
        match &mut spec.lb_policy {
            LbPolicy::RingHash(ring) => ring.hashing.hash_balance_factor = 150,
            LbPolicy::Maglev(maglev) => maglev.hashing.hash_balance_factor = 150,
            _ => unreachable!(),
        }
        let state = state(spec, 0..5);
        // The cluster counts what it admits.
        let hold = || (state.admit().unwrap(), state.pick(&key(7), 0).unwrap());
        let held: Vec<_> = (0..100).map(|_| hold()).collect();
        for endpoint in state.tables().all() {
            // 1.5 times a fifth, and one that was not over.
            assert!(endpoint.load() <= 31, "{endpoint:?}");
        }
        drop(held);
    }
}

#[test]
fn grpc_rings_are_small_and_weighted_by_locality() {
    let mut spec = ring();
    spec.lb_policy =
        LbPolicy::RingHash(RingHash { minimum_ring_size: 100_000, ..RingHash::default() });
    let (mut light, mut heavy) = (locality(0, &[(0, Healthy)]), locality(0, &[(1, Healthy)]));
    (light.weight, heavy.weight) = (Some(1), Some(3));
    let region =
        |region: &str| crate::resource::Locality { region: region.into(), ..Default::default() };
    (light.locality, heavy.locality) = (region("a").into(), region("b").into());
    let state = state_of(spec, ClusterLoadAssignment::new("any", vec![light, heavy]));
    let share = |dialect| {
        let choice = Choice::new(dialect);
        let hit = |random: &u64| state.pick(&choice, *random).unwrap().address() == address(1);
        randoms(4000).filter(hit).count() as f64 / 4000.0
    };
    assert!((share(Dialect::Grpc) - 0.75).abs() < 0.04, "{}", share(Dialect::Grpc));
    assert!((share(Dialect::Http) - 0.5).abs() < 0.04, "{}", share(Dialect::Http));
}

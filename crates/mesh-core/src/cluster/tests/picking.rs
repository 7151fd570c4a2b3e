use std::collections::HashMap;
use std::net::SocketAddr;

use super::state;
use crate::cluster::{Avoid, Choice, ClusterState, Picked};
use crate::dialect::Dialect;
use crate::resource::{Cluster, ClusterLoadAssignment, LbPolicy};
use crate::testing::{address, cluster, randoms};

fn least_request(choice_count: u32) -> Cluster {
    let mut spec = cluster("c");
    spec.lb_policy = LbPolicy::LeastRequest { choice_count };
    spec
}

fn pick(state: &ClusterState<()>, random: u64) -> Picked<()> {
    state.pick(&Choice::new(Dialect::Http), random).unwrap()
}

fn away(avoid: Avoid<'_>) -> Choice<'_> {
    Choice::new(Dialect::Http).with_avoid(avoid)
}

fn counts(picks: impl Iterator<Item = SocketAddr>) -> HashMap<SocketAddr, i32> {
    picks.fold(HashMap::new(), |mut counts, address| {
        *counts.entry(address).or_default() += 1;
        counts
    })
}

#[test]
fn round_robin_is_even_and_in_order() {
    let state = state(cluster("c"), 0..3);
    let picks: Vec<_> = (0..9).map(|_| pick(&state, 7).address()).collect();
    for window in picks.windows(3) {
        let mut seen = window.to_vec();
        seen.sort();
        assert_eq!(seen, [0, 1, 2].map(address), "{picks:?}");
    }
}

#[test]
fn least_request_spreads_idle_endpoints_evenly() {
    let state = state(least_request(2), 0..10);
    let counts = counts(randoms(100_000).map(|random| pick(&state, random).address()));
    assert_eq!(counts.len(), 10);
    for (address, count) in counts {
        assert!((count - 10_000).abs() < 500, "{address}: {count}");
    }
}

/// Two draws are of two endpoints: the busy one is never compared with itself alone.
#[test]
fn least_request_prefers_idle_endpoints() {
    let state = state(least_request(2), 0..10);
    let mut picks = randoms(1000).map(|random| pick(&state, random));
    let _busy = picks.find(|picked| picked.address() == address(3)).unwrap();
    let counts = counts(randoms(100_000).map(|random| pick(&state, random).address()));
    assert_eq!(counts.get(&address(3)), None);
}

#[test]
fn more_choices_find_the_idle_endpoint_more_often() {
    let missed = |choice_count| {
        let state = state(least_request(choice_count), 0..4);
        let load: Vec<_> = randoms(10_000).map(|random| pick(&state, random)).collect();
        let load: Vec<_> = load.into_iter().filter(|p| p.address() != address(0)).collect();
        let missed = |random: &u64| pick(&state, *random).address() != address(0);
        (randoms(10_000).filter(missed).count(), load).0
    };
    // The first choice misses one of four endpoints with 3/4, each further one with 2/3.
    for (choices, want) in [(0, 7500), (1, 7500), (2, 5000), (5, 1481)] {
        let got = missed(choices) as i32;
        assert!((got - want).abs() < 250, "{choices} choices: {got} missed");
    }
    assert_eq!(missed(u32::MAX), 0, "no value makes a pick slow");
}

#[test]
fn draws_are_the_same_for_the_same_number() {
    let state = state(least_request(2), 0..10);
    for random in randoms(100) {
        let first = pick(&state, random).address();
        assert_eq!(pick(&state, random).address(), first);
    }
}

#[test]
fn retries_avoid_endpoints_already_tried() {
    for spec in [cluster("c"), least_request(2)] {
        let state = state(spec, 0..3);
        let tried = [address(0), address(2)];
        let avoid = Avoid::new(&tried, 60);
        for random in randoms(1000) {
            assert_eq!(state.pick(&away(avoid), random).unwrap().address(), address(1));
        }
    }
}

#[test]
fn tried_endpoint_is_taken_when_the_attempts_are_used_up() {
    let state = state(least_request(2), 0..4);
    let tried = [address(0)];
    let hits = |max_attempts| {
        let avoid = Avoid::new(&tried, max_attempts);
        let hit = |random: &u64| state.pick(&away(avoid), *random).unwrap().address() == address(0);
        randoms(16_000).filter(hit).count() as i32
    };
    // The first draw hits it once in 4; a further one compares it with another, which goes first.
    for (max_attempts, want) in [(0, 4000), (1, 0), (2, 0)] {
        let got = hits(max_attempts);
        assert!((got - want).abs() < 10 + want / 5, "{max_attempts}: {got}");
    }
}

#[test]
fn dead_endpoint_without_load_does_not_draw_the_retries_of_busy_ones() {
    let state = state(least_request(2), 0..2);
    let busy = state.tables().usable().nth(1).unwrap().clone();
    let held: Vec<_> = randoms(64)
        .filter_map(|random| state.pick(&Choice::new(Dialect::Http), random).ok())
        .filter(|picked| picked.address() == busy.address())
        .collect();
    assert!(!held.is_empty());
    let tried = [address(0)];
    let avoid = Avoid::new(&tried, 5);
    let hit = |random: &u64| state.pick(&away(avoid), *random).unwrap().address() == address(0);
    assert!(randoms(16_000).filter(hit).count() < 60);
}

#[test]
fn no_number_of_attempts_makes_a_pick_hang() {
    let state = state(cluster("c"), [0]);
    let tried = [address(0)];
    let avoid = Avoid::new(&tried, u32::MAX);
    assert_eq!(state.pick(&away(avoid), 0).unwrap().address(), address(0));
}

#[test]
fn load_is_given_back_on_drop() {
    let state = state(cluster("c"), [0]);
    let endpoint = state.tables().usable().next().unwrap().clone();
    let first = pick(&state, 0);
    let second = pick(&state, 0);
    assert_eq!((first.load(), endpoint.load()), (2, 2));
    drop(first);
    assert_eq!(endpoint.load(), 1);
    drop(second);
    assert_eq!(endpoint.load(), 0);
}

#[test]
fn endpoints_remember_that_they_were_used_and_what_failed() {
    let state = state(cluster("c"), [0]);
    assert!(state.tables().all().all(|endpoint| !endpoint.is_used()));
    let picked = pick(&state, 0);
    picked.count_failure();
    drop(pick(&state, 0));
    assert!(picked.is_used());
    assert_eq!(picked.failed(), 1);
}

#[test]
fn session_keeps_to_its_endpoint_while_that_is_in_use() {
    use crate::cluster::Session;
    use crate::resource::HealthStatus::{Degraded, Draining, Healthy, Unhealthy};
    use crate::testing::locality;
    let hosts = [(1, Healthy), (2, Degraded), (3, Draining), (4, Unhealthy), (5, Healthy)];
    let assignment = || ClusterLoadAssignment::new("any", vec![locality(0, &hosts)]);
    let session = |host: &str, strict| Session {
        host: Some(host.to_owned()),
        strict,
        missing_status: http::StatusCode::GONE,
    };
    let mut spec = cluster("c");
    for (statuses, expected) in [
        (None, [true, true, false, false]),
        (Some(vec![Healthy, Draining]), [true, false, true, false]),
        (Some(vec![]), [false; 4]),
    ] {
        spec.balancing.override_host_status = statuses.map(|list| list.into_iter().collect());
        let state = super::state_of(spec.clone(), assignment());
        for (number, expected) in (1_u8..).zip(expected) {
            let host = address(number).to_string();
            let choice = Choice::new(Dialect::Http);
            for random in randoms(20) {
                let picked = state.pick_session(&session(&host, true), &choice, random);
                match picked {
                    Ok(picked) => assert_eq!(picked.address(), address(number)),
                    Err(none) => assert!(none.session && none.to_string().contains("session")),
                }
                let picked = state.pick_session(&session(&host, true), &choice, random);
                assert_eq!(picked.is_ok(), expected, "{host}");
                assert!(state.pick_session(&session(&host, false), &choice, random).is_ok());
            }
        }
        for unknown in ["10.0.0.99:80", "no address", "10.0.0.1"] {
            let choice = Choice::new(Dialect::Http);
            assert!(state.pick_session(&session(unknown, true), &choice, 1).is_err());
            assert!(state.pick_session(&session(unknown, false), &choice, 1).is_ok());
        }
    }
}

#[test]
fn endpoints_that_a_request_names_come_first_and_once() {
    use http::HeaderMap;
    let mut spec = cluster("c");
    spec.balancing.override_host_headers =
        vec!["x-first".parse().unwrap(), "x-second".parse().unwrap()];
    let state = state(spec, 1..4);
    assert!(state.has_named_hosts() && !state.is_plain());
    let named = |name: &'static str, value: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        state.named_hosts(&headers)
    };
    assert_eq!(named("x-second", "10.0.0.3:80"), [address(3)]);
    assert!(named("x-other", "10.0.0.3:80").is_empty());
    assert!(named("x-first", "10.0.0.3:80, nonsense").is_empty());
    let mut hosts = named("x-first", "10.0.0.9:80, 10.0.0.3:80,10.0.0.1:80,10.0.0.8:80");
    let mut next = || state.pick_named(Dialect::Http, &mut hosts).map(|it| it.address());
    assert_eq!([next(), next(), next()], [Some(address(3)), Some(address(1)), None]);
}

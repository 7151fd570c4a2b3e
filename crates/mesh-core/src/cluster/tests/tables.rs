use std::error::Error;
use std::net::IpAddr;
use std::sync::Arc;

use super::{state, state_of};
use crate::cluster::{Avoid, Choice, ClusterState, EndpointState, Tables};
use crate::dialect::Dialect;
use crate::finding::ResourceType;
use crate::resource::HealthStatus::{Degraded, Draining, Healthy, Timeout, Unhealthy, Unknown};
use crate::resource::{ClusterLoadAssignment, Entry, HealthStatus, LocalityLbEndpoints};
use crate::testing::{cluster, endpoints, failure, locality};

fn assignment(localities: Vec<LocalityLbEndpoints>) -> ClusterLoadAssignment {
    ClusterLoadAssignment::new("any", localities)
}

fn last_bytes(tables: &Tables<()>) -> Vec<u8> {
    let last = |endpoint: &Arc<EndpointState<()>>| match endpoint.address().ip() {
        IpAddr::V4(ip) => ip.octets()[3],
        IpAddr::V6(ip) => ip.octets()[15],
    };
    tables.usable().map(last).collect()
}

fn usable(state: &ClusterState<()>) -> Vec<u8> {
    last_bytes(&state.tables())
}

type Localities = &'static [(u32, &'static [(u8, HealthStatus)])];

fn made(localities: Localities) -> ClusterLoadAssignment {
    let made = localities.iter().map(|(priority, list)| locality(*priority, list));
    assignment(made.collect())
}

#[test]
fn priorities_share_requests_as_envoy_has_it() {
    let table: &[(Localities, &[u8], &[u32], bool)] = &[
        (&[(0, &[(0, Healthy), (1, Unknown)]), (1, &[(2, Healthy)])], &[0, 1], &[100, 0], false),
        (&[(1, &[(2, Healthy)]), (0, &[(0, Healthy)])], &[0], &[100, 0], false),
        (&[(0, &[(0, Unhealthy), (1, Draining)]), (1, &[(2, Healthy)])], &[2], &[0, 100], false),
        (&[(0, &[(0, Timeout), (1, Healthy)])], &[1], &[100], false),
        (&[(0, &[(0, Degraded), (1, Healthy)])], &[1, 0], &[70], false),
        (&[(0, &[(0, Degraded)]), (1, &[(1, Healthy)])], &[1], &[0, 100], false),
        (&[(0, &[(0, Healthy)]), (0, &[(1, Healthy)])], &[0, 1], &[100], false),
        (&[(0, &[]), (1, &[(1, Healthy)])], &[1], &[0, 100], false),
        (&[(0, &[(0, Unhealthy), (1, Timeout)])], &[0, 1], &[100], true),
        (&[(0, &[(0, Healthy), (1, Unhealthy)]), (1, &[(2, Healthy)])], &[0, 2], &[70, 30], false),
        (&[], &[], &[], false),
    ];
    for (localities, want, loads, panic) in table {
        let state = state_of(cluster("c"), made(localities));
        assert_eq!(usable(&state), *want, "{localities:?}");
        let tables = state.tables();
        let healthy: Vec<u32> = tables.loads().iter().map(|load| load.healthy).collect();
        assert_eq!(healthy, *loads, "{localities:?}");
        assert_eq!(tables.loads().iter().any(|load| load.panic), *panic, "{localities:?}");
        let all: usize = localities.iter().map(|(_, list)| list.len()).sum();
        assert_eq!(tables.all().count(), all);
    }
}

#[test]
fn grpc_uses_the_first_priority_that_has_anything() {
    let table: &[(Localities, &[u8], Option<u32>)] = &[
        (&[(0, &[(0, Healthy), (1, Unknown)]), (1, &[(2, Healthy)])], &[0, 1], Some(0)),
        (&[(0, &[(0, Unhealthy), (1, Draining)]), (1, &[(2, Healthy)])], &[2], Some(1)),
        (&[(0, &[(0, Healthy), (1, Timeout), (2, Timeout)]), (1, &[(3, Healthy)])], &[0], Some(0)),
        (&[(0, &[(0, Degraded)]), (1, &[(1, Healthy)])], &[1], Some(1)),
        (&[(0, &[(0, Degraded)])], &[], None),
        (&[(0, &[(0, Unhealthy)])], &[], None),
        (&[], &[], None),
    ];
    for (localities, want, priority) in table {
        let state = state_of(cluster("c"), made(localities));
        let tables = state.tables_of(Dialect::Grpc);
        assert_eq!(last_bytes(&tables), *want, "{localities:?}");
        assert_eq!(tables.priority(), *priority, "{localities:?}");
    }
}

#[test]
fn grpc_skips_localities_without_a_weight() {
    let mut heavy = locality(0, &[(0, Healthy)]);
    heavy.weight = Some(2);
    let mut none = locality(0, &[(1, Healthy)]);
    none.weight = None;
    let state = state_of(cluster("c"), assignment(vec![heavy, none]));
    assert_eq!(last_bytes(&state.tables_of(Dialect::Grpc)), [0]);
    assert_eq!(usable(&state), [0, 1]);
}

#[test]
fn grpc_refuses_what_only_envoy_has() {
    let mut spec = cluster("c");
    spec.balancing.refused_by_grpc = Some("MURMUR_HASH_2");
    let state = state(spec, 0..2);
    assert!(state.pick(&Choice::new(Dialect::Http), 0).is_ok());
    let error = state.pick(&Choice::new(Dialect::Grpc), 0).unwrap_err();
    assert_eq!(error.to_string(), "gRPC does not support this cluster: MURMUR_HASH_2");
}

#[test]
fn no_endpoints_is_an_error_that_says_why() {
    let empty = state(cluster("c"), []);
    let error = empty.pick(&Choice::new(Dialect::Http), 0).unwrap_err();
    assert_eq!((error.to_string().as_str(), error.total), ("no endpoints", 0));
    assert!(error.source().is_none());

    let mut calm = cluster("c");
    calm.balancing.healthy_panic_threshold = 0;
    let sick = state_of(calm, assignment(vec![locality(0, &[(0, Unhealthy)])]));
    let error = sick.pick(&Choice::new(Dialect::Http), 0).unwrap_err();
    assert_eq!(error.to_string(), "none of 1 endpoints is healthy");

    let cause = failure(ResourceType::Listener, "l", "gone");
    let why = (*failure(ResourceType::ClusterLoadAssignment, "e", "refused")).clone();
    let entry = Entry::failed(why.with_cause(cause));
    let failed = ClusterState::build(Arc::new(cluster("c")), (entry, None), None, &());
    let error = failed.pick(&Choice::new(Dialect::Http), 0).unwrap_err();
    let chain = std::iter::successors(Some(&error as &dyn Error), |error| (**error).source());
    let texts: Vec<String> = chain.map(ToString::to_string).collect();
    let want = ["no endpoints", "ClusterLoadAssignment \"e\": refused", "Listener \"l\": gone"];
    assert_eq!(texts, want);
}

#[test]
fn endpoints_keep_their_state_while_their_address_stays() {
    let state =
        state_of(cluster("c"), assignment(vec![locality(0, &[(0, Healthy), (1, Healthy)])]));
    let before: Vec<_> = state.tables().usable().cloned().collect();
    let tried = [before[1].address()];
    let choice = Choice::new(Dialect::Http).with_avoid(Avoid::new(&tried, 9));
    let held = state.pick(&choice, 0).unwrap();
    let moved = vec![locality(3, &[(2, Healthy), (0, Degraded)]), locality(0, &[(0, Draining)])];
    let replaced = state.update((Entry::of(assignment(moved)), None), &());
    assert!(
        Arc::ptr_eq(replaced[0].usable().next().unwrap(), &before[0]),
        "the old tables are handed back"
    );
    let tables = state.tables();
    let same = tables.all().find(|endpoint| endpoint.address() == before[0].address()).unwrap();
    assert!(Arc::ptr_eq(same, &before[0]));
    assert_eq!(same.load(), 1);
    drop(held);
    assert_eq!(same.load(), 0);
    assert_eq!(tables.all().count(), 2);
    assert_eq!(usable(&state), [2, 0]);
}

#[test]
fn unchanged_endpoints_swap_nothing() {
    let state = state(cluster("c"), 0..2);
    let entry = state.tables().assignment().clone();
    assert!(state.update((entry, None), &()).is_empty());
    assert!(!state.update((Entry::of(endpoints("any", 0..2)), None), &()).is_empty());
    let failed = Entry::failed(failure(ResourceType::ClusterLoadAssignment, "e", "gone"));
    assert!(!state.update((failed.clone(), None), &()).is_empty());
    assert!(state.update((failed, None), &()).is_empty());
    assert!(state.pick(&Choice::new(Dialect::Http), 0).is_err());
}

/// Decoding refuses an address that occurs twice; code can make one.
#[test]
fn address_named_twice_is_one_endpoint() {
    let state = state(cluster("c"), [0, 0, 1]);
    let tables = state.tables();
    assert_eq!(tables.all().count(), 2);
    assert!(Arc::ptr_eq(tables.usable().next().unwrap(), tables.usable().nth(1).unwrap()));
    let held = [0; 3].map(|random| state.pick(&Choice::new(Dialect::Http), random).unwrap());
    let loads: u32 = tables.all().map(|endpoint| endpoint.load()).sum();
    assert_eq!(loads, 3);
    drop(held);
    assert!(tables.all().all(|endpoint| endpoint.load() == 0));
}

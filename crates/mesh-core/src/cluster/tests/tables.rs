use std::error::Error;
use std::sync::Arc;

use super::{state, state_of};
use crate::cluster::{Avoid, ClusterState};
use crate::finding::ResourceType;
use crate::resource::HealthStatus::{Degraded, Draining, Healthy, Timeout, Unhealthy, Unknown};
use crate::resource::{ClusterLoadAssignment, Entry, HealthStatus, LocalityLbEndpoints};
use crate::testing::{cluster, endpoints, failure, locality};

fn assignment(localities: Vec<LocalityLbEndpoints>) -> ClusterLoadAssignment {
    ClusterLoadAssignment::new("any", localities)
}

fn usable(state: &ClusterState<()>) -> Vec<u8> {
    let last = |endpoint: &Arc<_>| -> u8 {
        let endpoint: &crate::cluster::EndpointState<()> = endpoint;
        endpoint.address().ip().to_string().rsplit_once('.').unwrap().1.parse().unwrap()
    };
    state.tables().usable().iter().map(last).collect()
}

type Localities = &'static [(u32, &'static [(u8, HealthStatus)])];

#[test]
fn best_health_of_the_highest_priority_is_used() {
    let table: &[(Localities, &[u8], Option<u32>)] = &[
        (&[(0, &[(0, Healthy), (1, Unknown)]), (1, &[(2, Healthy)])], &[0, 1], Some(0)),
        (&[(1, &[(2, Healthy)]), (0, &[(0, Healthy)])], &[0], Some(0)),
        (&[(0, &[(0, Unhealthy), (1, Draining)]), (1, &[(2, Healthy)])], &[2], Some(1)),
        (&[(0, &[(0, Timeout), (1, Healthy)])], &[1], Some(0)),
        (&[(0, &[(0, Degraded), (1, Healthy)])], &[1], Some(0)),
        (&[(0, &[(0, Degraded)]), (1, &[(1, Healthy)])], &[1], Some(1)),
        (&[(0, &[(0, Degraded)]), (1, &[(1, Degraded)])], &[0], Some(0)),
        (&[(0, &[(0, Healthy)]), (0, &[(1, Healthy)])], &[0, 1], Some(0)),
        (&[(0, &[]), (1, &[(1, Healthy)])], &[1], Some(1)),
        (&[(0, &[(0, Unhealthy)])], &[], None),
        (&[], &[], None),
    ];
    for (localities, want, priority) in table {
        let made = localities.iter().map(|(priority, list)| locality(*priority, list));
        let state = state_of(cluster("c"), assignment(made.collect()));
        assert_eq!(usable(&state), *want, "{localities:?}");
        assert_eq!(state.tables().priority(), *priority, "{localities:?}");
        let all: usize = localities.iter().map(|(_, list)| list.len()).sum();
        assert_eq!(state.tables().all().count(), all);
    }
}

#[test]
fn no_endpoints_is_an_error_that_says_why() {
    let empty = state(cluster("c"), []);
    let error = empty.pick(Avoid::default(), 0).unwrap_err();
    assert_eq!((error.to_string().as_str(), error.total), ("no endpoints", 0));
    assert!(error.source().is_none());

    let sick = state_of(cluster("c"), assignment(vec![locality(0, &[(0, Unhealthy)])]));
    let error = sick.pick(Avoid::default(), 0).unwrap_err();
    assert_eq!(error.to_string(), "none of 1 endpoints is healthy");

    let cause = failure(ResourceType::Listener, "l", "gone");
    let why = (*failure(ResourceType::ClusterLoadAssignment, "e", "refused")).clone();
    let entry = Entry::failed(why.with_cause(cause));
    let failed = ClusterState::build(Arc::new(cluster("c")), entry, None, &());
    let error = failed.pick(Avoid::default(), 0).unwrap_err();
    let chain = std::iter::successors(Some(&error as &dyn Error), |error| (**error).source());
    let texts: Vec<String> = chain.map(ToString::to_string).collect();
    let want = ["no endpoints", "ClusterLoadAssignment \"e\": refused", "Listener \"l\": gone"];
    assert_eq!(texts, want);
}

#[test]
fn endpoints_keep_their_state_while_their_address_stays() {
    let state =
        state_of(cluster("c"), assignment(vec![locality(0, &[(0, Healthy), (1, Healthy)])]));
    let before: Vec<_> = state.tables().usable().to_vec();
    let held = state.pick(Avoid { tried: &[before[1].address()], max_attempts: 9 }, 0).unwrap();
    let moved = vec![locality(3, &[(2, Healthy), (0, Degraded)]), locality(0, &[(0, Draining)])];
    let replaced = state.update(Entry::of(assignment(moved)), &()).unwrap();
    assert!(Arc::ptr_eq(&replaced.usable()[0], &before[0]), "the old tables are handed back");
    let tables = state.tables();
    let same = tables.all().find(|endpoint| endpoint.address() == before[0].address()).unwrap();
    assert!(Arc::ptr_eq(same, &before[0]));
    assert_eq!(same.load(), 1);
    drop(held);
    assert_eq!(same.load(), 0);
    assert_eq!(tables.all().count(), 2);
    assert_eq!(usable(&state), [2]);
}

#[test]
fn unchanged_endpoints_swap_nothing() {
    let state = state(cluster("c"), 0..2);
    let entry = state.tables().assignment().clone();
    assert!(state.update(entry, &()).is_none());
    assert!(state.update(Entry::of(endpoints("any", 0..2)), &()).is_some());
    let failed = Entry::failed(failure(ResourceType::ClusterLoadAssignment, "e", "gone"));
    assert!(state.update(failed.clone(), &()).is_some());
    assert!(state.update(failed, &()).is_none());
    assert!(state.pick(Avoid::default(), 0).is_err());
}

/// Decoding refuses an address that occurs twice; code can make one.
#[test]
fn address_named_twice_is_one_endpoint() {
    let state = state(cluster("c"), [0, 0, 1]);
    let tables = state.tables();
    assert_eq!(tables.all().count(), 2);
    assert!(Arc::ptr_eq(&tables.usable()[0], &tables.usable()[1]));
    let held = [0; 3].map(|random| state.pick(Avoid::default(), random).unwrap());
    let loads: u32 = tables.all().map(|endpoint| endpoint.load()).sum();
    assert_eq!(loads, 3);
    drop(held);
    assert!(tables.all().all(|endpoint| endpoint.load() == 0));
}

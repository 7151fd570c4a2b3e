//! Outlier detection through a cluster.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;

use super::state;
use crate::cluster::outlier::Observed;
use crate::cluster::{Choice, ClusterState};
use crate::dialect::Dialect;
use crate::resource::{Cluster, HealthCheck, HealthChecker, OutlierDetection, TcpHealthCheck};
use crate::testing::{address, cluster};

fn watched() -> Cluster {
    let mut detection = OutlierDetection::new();
    detection.max_ejection_percent = 50;
    let mut spec = cluster("c");
    spec.outlier_detection = Some(Arc::new(detection));
    spec
}

fn fail(state: &ClusterState<()>, number: u8, times: usize, now: Instant) -> bool {
    let tables = state.tables();
    let endpoint = tables.all().find(|endpoint| endpoint.address() == address(number)).unwrap();
    let failed = Observed::Status(StatusCode::INTERNAL_SERVER_ERROR);
    (0..times).any(|_| state.observe(endpoint, Dialect::Http, failed, || now, || 7))
}

fn ejected(state: &ClusterState<()>, dialect: Dialect) -> u32 {
    state.detector(dialect).ejected()
}

#[test]
fn dialects_are_watched_apart() {
    let state = state(watched(), [1, 2, 3, 4]);
    let now = Instant::now();
    assert!(!fail(&state, 1, 4, now));
    assert!(fail(&state, 1, 1, now));
    assert_eq!((ejected(&state, Dialect::Http), ejected(&state, Dialect::Grpc)), (1, 0));
}

#[test]
fn endpoint_returns_with_a_sweep_that_is_due() {
    let state = state(watched(), [1, 2, 3, 4]);
    let start = Instant::now();
    let next = state.next_sweep(start).unwrap();
    assert_eq!(next, start + Duration::from_secs(10));
    fail(&state, 1, 5, start);
    assert!(!state.sweep(start + Duration::from_secs(9), 1), "not due yet");
    assert_eq!(state.next_sweep(start), Some(next));
    assert!(!state.sweep(next, 1), "its time is not over");
    assert_eq!(state.next_sweep(next), Some(start + Duration::from_secs(20)));
    assert!(state.sweep(start + Duration::from_secs(30), 1));
    assert_eq!(ejected(&state, Dialect::Http), 0);
}

#[test]
fn cluster_without_detection_has_nothing_to_sweep() {
    let state = state(cluster("c"), [1, 2]);
    let now = Instant::now();
    assert!(!fail(&state, 1, 100, now));
    assert_eq!(state.next_sweep(now), None);
    assert!(!state.sweep(now + Duration::from_secs(99), 1));
}

fn checked() -> Cluster {
    let checker = HealthChecker::Tcp(TcpHealthCheck::default());
    let second = Duration::from_secs(1);
    let mut spec = watched();
    spec.health_check = Some(HealthCheck::new(checker, second, second, 1, 1).into());
    spec
}

fn set_failing(state: &ClusterState<()>, number: u8, failing: bool) {
    let tables = state.tables();
    let endpoint = tables.all().find(|endpoint| endpoint.address() == address(number)).unwrap();
    endpoint.set_failing(failing);
    state.rebuild();
}

/// The endpoints that get requests, in each dialect.
fn used(state: &ClusterState<()>) -> [Vec<u8>; 2] {
    [Dialect::Http, Dialect::Grpc].map(|dialect| {
        let pick = |random| state.pick(&Choice::new(dialect), random).unwrap().address();
        let mut used: Vec<_> = crate::testing::randoms(100).map(pick).collect();
        used.sort_unstable();
        used.dedup();
        (1..=9).filter(|number| used.contains(&address(*number))).collect()
    })
}

#[test]
fn endpoint_that_fails_its_checks_gets_no_requests_in_either_dialect() {
    let state = state(checked(), [1, 2, 3]);
    assert_eq!(used(&state), [[1, 2, 3]; 2]);
    set_failing(&state, 2, true);
    assert_eq!(used(&state), [[1, 3]; 2]);
    // Together with one that was ejected.
    let failed = fail(&state, 3, 5, Instant::now());
    assert!(failed);
    state.rebuild();
    assert_eq!(used(&state)[1], [1, 3]);
    set_failing(&state, 2, false);
    assert_eq!(used(&state), [vec![1, 2], vec![1, 2, 3]]);
}

#[test]
fn endpoint_that_joins_a_checked_cluster_waits_for_its_first_check() {
    let state = state(checked(), [1, 2]);
    let more = crate::resource::ClusterLoadAssignment::of_addresses("c", [1, 2, 3].map(address));
    state.update((crate::resource::Entry::of(more), None), &());
    assert_eq!(used(&state), [[1, 2]; 2]);
    set_failing(&state, 3, false);
    assert_eq!(used(&state), [[1, 2, 3]; 2]);
}

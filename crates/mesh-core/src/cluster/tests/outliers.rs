//! Outlier detection through a cluster.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;

use super::state;
use crate::cluster::ClusterState;
use crate::cluster::outlier::Observed;
use crate::dialect::Dialect;
use crate::resource::{Cluster, OutlierDetection};
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

//! Tables after ejections, which are made of those before.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::state_of;
use crate::cluster::outlier::Observed;
use crate::cluster::{Choice, ClusterState};
use crate::dialect::Dialect;
use crate::resource::HealthStatus::{Degraded, Draining, Healthy, Unhealthy};
use crate::resource::{Cluster, ClusterLoadAssignment, HealthStatus, LbPolicy, OutlierDetection};
use crate::testing::{address, cluster, locality, randoms};

fn detecting(policy: LbPolicy) -> Cluster {
    let mut detection = OutlierDetection::new();
    detection.consecutive_5xx = 1;
    detection.max_ejection_percent = 100;
    detection.base_ejection_time = Duration::from_secs(3600);
    detection.successful_active_health_check_uneject_host = true;
    let mut spec = cluster("c");
    spec.lb_policy = policy;
    spec.balancing.healthy_panic_threshold = 0;
    spec.outlier_detection = Some(detection.into());
    spec
}

fn eject(state: &ClusterState<()>, number: u8, now: Instant) {
    let tables = state.tables();
    let endpoint = tables.all().find(|endpoint| endpoint.address() == address(number)).unwrap();
    let status = Observed::Status(http::StatusCode::INTERNAL_SERVER_ERROR);
    assert!(state.observe(endpoint, Dialect::Http, status, || now, || 0));
}

fn restore(state: &ClusterState<()>, number: u8, now: Instant) {
    let tables = state.tables();
    let endpoint = tables.all().find(|endpoint| endpoint.address() == address(number)).unwrap();
    let record = endpoint.record(Dialect::Http);
    assert!(state.detector(Dialect::Http).passed_health_check(record, now));
}

fn shares(state: &ClusterState<()>, dialect: Dialect) -> BTreeMap<std::net::SocketAddr, f64> {
    const PICKS: usize = 20_000;
    let mut shares = BTreeMap::new();
    for random in randoms(PICKS) {
        if let Ok(picked) = state.pick(&Choice::new(dialect), random) {
            *shares.entry(picked.address()).or_insert(0.0) += 1.0 / PICKS as f64;
        }
    }
    shares
}

fn policies() -> impl Strategy<Value = LbPolicy> {
    prop_oneof![
        Just(LbPolicy::RoundRobin),
        Just(LbPolicy::LeastRequest { choice_count: 2 }),
        Just(LbPolicy::Random),
    ]
}

fn list() -> impl Strategy<Value = Vec<(HealthStatus, u32)>> {
    let health = prop_oneof![6 => Just(Healthy), 1 => Just(Unhealthy), 1 => Just(Draining), 1 => Just(Degraded)];
    prop::collection::vec((health, prop_oneof![Just(1_u32), 1_u32..5]), 1..12)
}

fn made(list: &[(HealthStatus, u32)]) -> ClusterLoadAssignment {
    let healths = list.iter().map(|(health, _)| *health);
    let healths: Vec<_> = (0..).zip(healths).collect();
    let mut locality = locality(0, &healths);
    for (endpoint, (_, weight)) in locality.endpoints.iter_mut().zip(list) {
        endpoint.weight = *weight;
    }
    ClusterLoadAssignment::new("any", vec![locality])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// What is ejected takes no part, as if the control plane had said that it is sick.
    #[test]
    fn ejected_endpoints_are_as_unhealthy_ones(
        policy in policies(),
        list in list(),
        steps in prop::collection::vec(any::<prop::sample::Index>(), 1..8),
    ) {
        let now = Instant::now();
        let state = state_of(detecting(policy), made(&list));
        let mut out = vec![false; list.len()];
        for step in steps {
            let number = step.index(list.len());
            out[number] = !out[number];
            let change = if out[number] { eject } else { restore };
            change(&state, number as u8, now);
            state.rebuild();
        }
        let health = |((health, weight), out): (&(HealthStatus, u32), &bool)| match health {
            Draining => (Draining, *weight),
            _ if *out => (Unhealthy, *weight),
            health => (*health, *weight),
        };
        let sick: Vec<_> = list.iter().zip(&out).map(health).collect();
        let model = state_of(detecting(policy), made(&sick));
        let (found, want) = (state.tables(), model.tables());
        prop_assert_eq!(found.loads(), want.loads());
        let usable = |state: &ClusterState<()>| -> Vec<_> {
            state.tables().usable().map(|endpoint| endpoint.address()).collect()
        };
        prop_assert_eq!(usable(&state), usable(&model));
        // Nobody is ejected in gRPC, whose tables stay as they were made.
        let whole = state_of(detecting(policy), made(&list));
        for (dialect, model) in [(Dialect::Http, &model), (Dialect::Grpc, &whole)] {
            let (found, want) = (shares(&state, dialect), shares(model, dialect));
            for (address, want) in &want {
                let found = found.get(address).copied().unwrap_or_default();
                prop_assert!((found - want).abs() < 0.02, "{dialect:?} {address}: {found} {want}");
            }
            prop_assert_eq!(found.len(), want.len());
        }
    }
}

#[test]
fn nothing_is_made_where_nobody_was_ejected() {
    let now = Instant::now();
    let list = [(Healthy, 1), (Healthy, 1), (Healthy, 1)];
    let state = state_of(detecting(LbPolicy::RoundRobin), made(&list));
    assert!(state.rebuild().is_empty());
    eject(&state, 1, now);
    assert_eq!(state.rebuild().len(), 1, "gRPC's tables are as they were");
    assert!(state.rebuild().is_empty());
    restore(&state, 1, now);
    assert_eq!(state.rebuild().len(), 1);
    assert_eq!(state.tables().usable().len(), 3);
}

/// The numbers of endpoints change with an assignment, who is ejected does not.
#[test]
fn ejected_endpoint_stays_out_when_others_come_before_it() {
    let now = Instant::now();
    let state = state_of(detecting(LbPolicy::RoundRobin), made(&[(Healthy, 1), (Healthy, 1)]));
    eject(&state, 1, now);
    state.rebuild();
    let more = locality(0, &[(7, Healthy), (8, Healthy), (1, Healthy), (0, Healthy)]);
    let more = ClusterLoadAssignment::new("any", vec![more]);
    state.update((crate::resource::Entry::of(more), None), &());
    let usable =
        || -> Vec<_> { state.tables().usable().map(|endpoint| endpoint.address()).collect() };
    assert_eq!(usable(), [7, 8, 0].map(address));
    restore(&state, 1, now);
    state.rebuild();
    assert_eq!(usable(), [7, 8, 1, 0].map(address));
}

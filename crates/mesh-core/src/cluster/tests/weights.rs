//! Weights from load reports, against the rules written down once more.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::state;
use crate::cluster::{Choice, ClusterState, LoadReport};
use crate::dialect::Dialect;
use crate::resource::ClientWeights;
use crate::testing::{DRAWS, address, assert_share, cluster, randoms};

fn weighted(spec: ClientWeights, endpoints: u8) -> ClusterState<()> {
    let mut of = cluster("c");
    of.balancing.client_weights = Some(Arc::new(spec));
    state(of, 0..endpoints)
}

fn load(rate: f64, utilization: f64) -> LoadReport {
    let mut report = LoadReport::default();
    (report.rps_fractional, report.application_utilization) = (rate, utilization);
    report
}

fn report(state: &ClusterState<()>, number: u8, report: &LoadReport, now: Instant) {
    let tables = state.tables();
    let endpoint = tables.all().find(|one| one.address() == address(number)).unwrap();
    state.report_load(endpoint, report, now);
}

fn update(state: &ClusterState<()>, now: Instant) -> bool {
    let changed = state.next_sweep(now).is_some_and(|due| due <= now) && state.sweep(now, 1);
    if changed {
        state.rebuild();
    }
    changed
}

/// How often each is picked.
fn counts(state: &ClusterState<()>, dialect: Dialect, endpoints: u8) -> Vec<usize> {
    let mut counts = vec![0; endpoints.into()];
    for random in randoms(DRAWS) {
        let picked = state.pick(&Choice::new(dialect), random).unwrap().address();
        counts[(0..endpoints).position(|number| address(number) == picked).unwrap()] += 1;
    }
    counts
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn endpoints_get_requests_by_what_they_can_take() {
    let state = weighted(ClientWeights::default(), 3);
    let start = Instant::now();
    assert!(!update(&state, start), "the first update comes a period later");
    for dialect in [Dialect::Http, Dialect::Grpc] {
        assert!(counts(&state, dialect, 3).iter().all(|count| count.abs_diff(DRAWS / 3) <= 1));
    }
    for (number, utilization) in [(0, 0.2), (1, 0.4), (2, 0.4)] {
        report(&state, number, &load(100.0, utilization), start);
    }
    assert!(!update(&state, start + 9 * SECOND), "nothing counts in the blackout period");
    assert!(update(&state, start + 10 * SECOND));
    for dialect in [Dialect::Http, Dialect::Grpc] {
        let counts = counts(&state, dialect, 3);
        for (count, share) in counts.into_iter().zip([0.5, 0.25, 0.25]) {
            assert_share(count, share);
        }
    }
    assert!(!update(&state, start + 12 * SECOND), "nothing has changed");
    assert!(update(&state, start + 180 * SECOND), "old news counts no more");
    assert!(counts(&state, Dialect::Http, 3).iter().all(|count| count.abs_diff(DRAWS / 3) <= 1));
}

#[test]
fn endpoint_without_a_weight_gets_the_mean_of_the_others() {
    let state = weighted(ClientWeights::default(), 3);
    let start = Instant::now();
    state.next_sweep(start);
    report(&state, 0, &load(100.0, 0.2), start);
    assert!(!update(&state, start + 10 * SECOND), "one weight is none");
    report(&state, 1, &load(100.0, 1.0), start + 10 * SECOND);
    assert!(update(&state, start + 20 * SECOND));
    // 500, 100 and the mean of them.
    for (count, share) in counts(&state, Dialect::Http, 3).into_iter().zip([5.0, 1.0, 3.0]) {
        assert_share(count, share / 9.0);
    }
}

#[test]
fn errors_and_named_metrics_count() {
    let mut spec = ClientWeights { blackout_period: Duration::ZERO, ..ClientWeights::default() };
    spec.metric_names_for_computing_utilization =
        vec!["named_metrics.queue".into(), "utilization.disk".into()];
    let state = weighted(spec, 2);
    let start = Instant::now();
    state.next_sweep(start);
    let mut named = load(100.0, 0.0);
    named.cpu_utilization = 0.9;
    named.named_metrics.insert("queue".into(), 0.2);
    named.utilization.insert("disk".into(), 0.25);
    let mut failing = load(100.0, 0.25);
    failing.eps = 50.0;
    report(&state, 0, &named, start);
    report(&state, 1, &failing, start);
    assert!(update(&state, start + SECOND));
    // 100 / 0.25 and 100 / (0.25 + 0.5).
    for (count, share) in counts(&state, Dialect::Grpc, 2).into_iter().zip([0.75, 0.25]) {
        assert_share(count, share);
    }
}

proptest! {
    /// Time in tenths of a second, the endpoint, its rate and utilization in per cent.
    #[test]
    fn weights_are_those_of_the_model(
        reports in prop::collection::vec((0_u64..40, 0_u8..4, 0_u32..4, 0_u32..4), 0..30),
        blackout in 0_u64..20,
        expiration in 1_u64..30,
    ) {
        const TENTH: Duration = Duration::from_millis(100);
        let spec = ClientWeights {
            blackout_period: blackout as u32 * TENTH,
            weight_expiration_period: expiration as u32 * TENTH,
            weight_update_period: TENTH,
            ..ClientWeights::default()
        };
        let state = weighted(spec, 4);
        let start = Instant::now();
        state.next_sweep(start);
        let mut reports = reports;
        reports.sort_by_key(|report| report.0);
        let mut known: [Option<(f64, u64, u64)>; 4] = [None; 4];
        let mut expected = vec![1.0; 4];
        for tenth in 0..45_u64 {
            for (_, number, rate, used) in reports.iter().filter(|report| report.0 == tenth) {
                let now = start + tenth as u32 * TENTH;
                let load = load(f64::from(*rate), f64::from(*used) / 100.0);
                report(&state, *number, &load, now);
                if *rate > 0 && *used > 0 {
                    let slot = &mut known[usize::from(*number)];
                    let since = slot.map_or(tenth, |(_, since, _)| since);
                    *slot = Some((f64::from(*rate) / f64::from(*used), since, tenth));
                }
            }
            update(&state, start + tenth as u32 * TENTH);
            // The first update is a period after the start.
            if tenth == 0 { continue }
            for slot in &mut known {
                *slot = slot.filter(|(_, _, updated)| tenth - updated < expiration);
            }
            let settled = known.map(|slot| {
                slot.filter(|(_, since, _)| tenth - since >= blackout).map(|(weight, ..)| weight)
            });
            let weights: Vec<f64> = settled.iter().flatten().copied().collect();
            let mean = weights.iter().sum::<f64>() / weights.len().max(1) as f64;
            expected = match weights.len() {
                0 | 1 => vec![1.0; 4],
                _ => settled.map(|one| one.map_or(1.0, |one| one / mean)).to_vec(),
            };
        }
        let sum: f64 = expected.iter().sum();
        for (count, weight) in counts(&state, Dialect::Http, 4).into_iter().zip(expected) {
            let share = weight / sum;
            prop_assert!((count as f64 / DRAWS as f64 - share).abs() < 0.03, "{count} for {share}");
        }
    }
}

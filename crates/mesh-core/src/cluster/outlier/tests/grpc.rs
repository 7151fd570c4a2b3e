use super::*;

const OK: Observed = Observed::Call { status: 0 };
const FAILED: Observed = Observed::Call { status: 5 };

fn bench(spec: OutlierDetection) -> Bench {
    Bench::new(Dialect::Grpc, 10, spec)
}

/// Calls in which some endpoints fail some of a hundred.
fn calls(bench: &Bench, failing: &[usize], failures: usize) {
    for host in 0..bench.records.len() {
        for call in 0..100 {
            let fails = failing.contains(&host) && call < failures;
            bench.observe(host, if fails { FAILED } else { OK });
        }
    }
}

fn by_percentage() -> OutlierDetection {
    let mut spec = OutlierDetection::new();
    spec.enforcing_success_rate = 0;
    spec.enforcing_failure_percentage = 100;
    spec
}

#[test]
fn failures_in_a_row_do_not_count() {
    let mut bench = bench(OutlierDetection::new());
    assert!(!bench.times(99, 0, FAILED));
    assert!(!bench.times(99, 1, status(503)));
    assert!(!bench.times(500, 2, Observed::ConnectFailure), "no call was made");
    assert!(!bench.sweep_after(s(10)));
}

#[test]
fn empty_message_compares_success_rates() {
    let mut bench = bench(OutlierDetection::new());
    calls(&bench, &[4], 50);
    assert!(bench.sweep_after(s(10)));
    assert_eq!(bench.out(), [4]);
}

#[test]
fn share_is_asked_before_the_endpoint_is_counted() {
    for (percent, want) in [(0, 0), (1, 1), (10, 1), (11, 2), (100, 3)] {
        let mut spec = by_percentage();
        spec.max_ejection_percent = percent;
        let mut bench = bench(spec);
        calls(&bench, &[1, 2, 3], 100);
        bench.sweep_after(s(10));
        assert_eq!(bench.out().len(), want, "{percent} %");
    }
}

#[test]
fn failure_percentage_must_pass_its_threshold() {
    for (failures, ejects) in [(85, false), (86, true)] {
        let mut bench = bench(by_percentage());
        calls(&bench, &[0], failures);
        assert_eq!(bench.sweep_after(s(10)), ejects);
    }
    let mut few = by_percentage();
    few.failure_percentage_request_volume = 101;
    let mut hosts = by_percentage();
    hosts.failure_percentage_minimum_hosts = 11;
    for spec in [few, hosts] {
        let mut bench = bench(spec);
        calls(&bench, &[0], 100);
        assert!(!bench.sweep_after(s(10)));
    }
}

#[test]
fn endpoint_returns_after_its_time_and_the_multiplier_falls() {
    let mut bench = bench(by_percentage());
    calls(&bench, &[0], 100);
    assert!(bench.sweep_after(s(10)));
    assert!(!bench.sweep_after(s(30)), "not at the end of its time");
    assert!(bench.sweep_after(Duration::from_nanos(1)));
    assert_eq!(bench.records[0].multiplier(), 1);
    bench.sweep_after(s(10));
    assert_eq!(bench.records[0].multiplier(), 0);
}

#[test]
fn changed_interval_keeps_its_phase() {
    let mut bench = bench(OutlierDetection::new());
    let first = bench.detector.next_sweep(bench.now()).unwrap();
    assert_eq!(first, bench.start + s(10));
    bench.now += s(4);
    let mut spec = OutlierDetection::new();
    spec.interval = s(6);
    bench.change(Some(spec));
    assert_eq!(bench.detector.next_sweep(bench.now()), Some(bench.start + s(6)));
    bench.sweep_after(s(2));
    assert_eq!(bench.detector.next_sweep(bench.now()), Some(bench.start + s(12)));
}

#[test]
fn both_conditions_off_restore_all() {
    let mut bench = bench(by_percentage());
    calls(&bench, &[0], 100);
    bench.sweep_after(s(10));
    assert_eq!(bench.out(), [0]);
    let mut off = OutlierDetection::new();
    off.enforcing_success_rate = 0;
    bench.change(Some(off));
    assert_eq!(bench.out(), [0; 0]);
    assert_eq!(bench.records[0].multiplier(), 0);
    assert!(!bench.detector.is_on());
    bench.now += s(100);
    bench.change(Some(by_percentage()));
    let next = bench.detector.next_sweep(bench.now());
    assert_eq!(next, Some(bench.now() + s(10)), "a new interval begins");
}

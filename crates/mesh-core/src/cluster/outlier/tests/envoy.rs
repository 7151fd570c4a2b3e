use super::*;

fn bench(spec: OutlierDetection) -> Bench {
    Bench::new(Dialect::Http, 10, spec)
}

/// How many of what in a row eject an endpoint at once, by what is configured.
#[test]
fn failures_in_a_row_eject_at_once() {
    let call = |status| Observed::Call { status };
    let plain = all_may_go();
    let mut gateway = all_may_go();
    gateway.enforcing_consecutive_5xx = 0;
    gateway.consecutive_gateway_failure = 3;
    gateway.enforcing_consecutive_gateway_failure = 100;
    let mut split = all_may_go();
    split.split_external_local_origin_errors = true;
    split.consecutive_local_origin_failure = 2;
    let table = [
        (&plain, vec![status(500); 5], true),
        (&plain, vec![status(500); 4], false),
        (&plain, vec![Observed::ConnectFailure; 5], true),
        (&plain, vec![Observed::Reset; 5], true),
        (&plain, vec![Observed::Timeout; 5], true),
        (&plain, vec![call(13); 5], true),
        (&plain, vec![call(14); 5], true),
        (&plain, [&[call(14); 4][..], &[call(5)], &[call(14); 4]].concat(), false),
        (&gateway, vec![call(14); 3], true),
        (&gateway, vec![call(4); 3], true),
        (&gateway, vec![call(2); 9], false),
        (&plain, [&[status(500); 4][..], &[status(200)], &[status(500); 4]].concat(), false),
        (&plain, [&[status(500); 4][..], &[status(404)], &[status(500); 4]].concat(), false),
        (&plain, [&[status(500); 4][..], &[Observed::Timeout]].concat(), true),
        (&gateway, vec![status(500); 9], false),
        (&gateway, vec![status(503); 3], true),
        (&gateway, vec![Observed::Timeout; 3], true),
        (&gateway, vec![status(502), status(504), status(500), status(503)], false),
        (&split, vec![Observed::ConnectFailure; 2], true),
        (&split, vec![Observed::ConnectFailure, status(500), Observed::ConnectFailure], false),
        (&split, vec![status(503); 5], true),
        // The connection was made, so each is the first failure in a row.
        (&split, vec![Observed::Reset; 9], false),
    ];
    for (row, (spec, events, ejects)) in table.into_iter().enumerate() {
        let bench = bench(spec.clone());
        let mut changed = false;
        for event in events {
            changed |= bench.observe(3, event);
        }
        assert_eq!(changed, ejects, "row {row}");
        assert_eq!(bench.out(), if ejects { vec![3] } else { vec![] }, "row {row}");
    }
}

#[test]
fn ejection_must_fit_the_share_unless_one_may_always_go() {
    for (hosts, percent, always, want) in [
        (3, 10, false, 0),
        (3, 10, true, 1),
        (10, 10, false, 1),
        (10, 10, true, 1),
        (10, 25, false, 2),
        (3, 34, false, 1),
        (3, 100, false, 3),
        (3, 200, false, 3),
        (3, 0, false, 0),
        (0, 100, true, 0),
    ] {
        let mut spec = OutlierDetection::new();
        spec.max_ejection_percent = percent;
        spec.always_eject_one_host = always;
        let bench = Bench::new(Dialect::Http, hosts, spec);
        for host in 0..hosts {
            bench.times(5, host, status(500));
        }
        assert_eq!(bench.out().len(), want, "{percent} % of {hosts}");
        assert_eq!(bench.detector.ejected() as usize, want);
    }
}

#[test]
fn denied_ejection_begins_the_count_anew() {
    let mut spec = all_may_go();
    spec.enforcing_consecutive_5xx = 0;
    let mut bench = bench(spec.clone());
    assert!(!bench.times(7, 0, status(500)));
    spec.enforcing_consecutive_5xx = 100;
    bench.change(Some(spec));
    assert!(!bench.times(2, 0, status(500)), "2 and 2");
    assert!(bench.observe(0, status(500)));
}

#[test]
fn ejection_lasts_longer_each_time_up_to_the_longest() {
    let mut spec = all_may_go();
    spec.max_ejection_time = s(80);
    let mut bench = bench(spec);
    for lasts in [30, 60, 80, 80, 80] {
        bench.times(5, 0, status(500));
        assert_eq!(bench.out(), [0]);
        assert!(!bench.sweep_after(s(lasts - 1)));
        assert!(bench.sweep_after(s(1)), "after {lasts} s");
        assert_eq!(bench.out(), [0; 0]);
    }
    assert_eq!(bench.records[0].multiplier(), 4, "no more than the longest needs");
}

#[test]
fn multiplier_falls_with_each_interval_an_endpoint_is_well() {
    let mut bench = bench(all_may_go());
    for _ in 0..2 {
        bench.times(5, 0, status(500));
        bench.sweep_after(s(60));
    }
    assert_eq!(bench.records[0].multiplier(), 2);
    for want in [1, 0, 0] {
        bench.sweep_after(s(10));
        assert_eq!(bench.records[0].multiplier(), want);
    }
}

#[test]
fn endpoint_that_returns_needs_all_failures_again() {
    let mut bench = bench(all_may_go());
    bench.times(5, 0, status(500));
    assert!(!bench.times(20, 0, status(500)), "it is out already");
    assert!(bench.sweep_after(s(30)));
    assert!(!bench.times(4, 0, status(500)));
    assert!(bench.observe(0, status(500)));
}

#[test]
fn jitter_prolongs_an_ejection_and_no_more_than_it_may() {
    let mut spec = all_may_go();
    spec.max_ejection_time_jitter = s(5);
    let returns = (0..200_u64).map(|seed| {
        let mut bench = bench(spec.clone());
        for _ in 0..5 {
            bench.detector.observe(&bench.records[0], status(500), || bench.now(), || seed);
        }
        let mut passed = 0;
        while !bench.out().is_empty() {
            bench.sweep_after(s(1));
            passed += 1;
        }
        passed
    });
    let returns: Vec<usize> = returns.collect();
    assert!(returns.iter().all(|after| (30..=35).contains(after)), "{returns:?}");
    assert!(returns.iter().any(|after| *after > 33) && returns.iter().any(|after| *after < 32));
}

/// Who is ejected by success rate: nine at 100 % and one below, and the knobs around that.
#[test]
fn success_rate_compares_with_the_mean() {
    let base = all_may_go();
    let with = |change: fn(&mut OutlierDetection)| {
        let mut spec = base.clone();
        change(&mut spec);
        spec
    };
    let table = [
        ("defaults", base.clone(), 100, true),
        ("too few requests", base.clone(), 99, false),
        ("volume", with(|spec| spec.success_rate_request_volume = 50), 60, true),
        ("hosts", with(|spec| spec.success_rate_minimum_hosts = 11), 100, false),
        ("factor", with(|spec| spec.success_rate_stdev_factor = 3001), 100, false),
        ("enforcement", with(|spec| spec.enforcing_success_rate = 0), 100, false),
        ("share", with(|spec| spec.max_ejection_percent = 9), 100, false),
    ];
    for (name, mut spec, requests, ejects) in table {
        spec.consecutive_5xx = 1000;
        let mut bench = bench(spec);
        for host in 0..10 {
            for request in 0..requests {
                let fails = host == 4 && request % 2 == 0;
                bench.observe(host, status(if fails { 500 } else { 200 }));
            }
        }
        assert_eq!(bench.sweep_after(s(10)), ejects, "{name}");
        assert_eq!(bench.out(), if ejects { vec![4] } else { vec![] }, "{name}");
        assert!(!bench.sweep_after(s(10)), "{name}: counts begin anew");
    }
}

#[test]
fn failure_percentage_ejects_at_its_threshold() {
    for (failures, enforcing, ejects) in
        [(85, 100, true), (84, 100, false), (100, 0, false), (100, 100, true)]
    {
        let mut spec = all_may_go();
        spec.enforcing_success_rate = 0;
        spec.enforcing_failure_percentage = enforcing;
        spec.consecutive_5xx = 1000;
        let mut bench = bench(spec);
        for host in 0..10 {
            for request in 0..100 {
                let fails = host < 2 && request < failures;
                bench.observe(host, status(if fails { 500 } else { 200 }));
            }
        }
        assert_eq!(bench.sweep_after(s(10)), ejects);
        assert_eq!(bench.out(), if ejects { vec![0, 1] } else { vec![] }, "{failures}");
    }
}

#[test]
fn local_origin_has_rates_of_its_own_when_split() {
    let mut spec = all_may_go();
    spec.split_external_local_origin_errors = true;
    spec.consecutive_local_origin_failure = 0;
    let mut bench = bench(spec);
    for host in 0..10 {
        for _ in 0..100 {
            bench.observe(host, if host == 9 { Observed::ConnectFailure } else { status(200) });
        }
    }
    assert!(bench.sweep_after(s(10)));
    assert_eq!(bench.out(), [9]);
}

#[test]
fn health_check_lets_an_endpoint_return_where_asked_for() {
    let mut spec = all_may_go();
    let mut bench = bench(spec.clone());
    bench.times(5, 0, status(500));
    let passed = |bench: &Bench| bench.detector.passed_health_check(&bench.records[0], bench.now());
    assert!(passed(&bench));
    assert!(!passed(&bench), "it is not out any more");
    assert_eq!((bench.out().len(), bench.detector.ejected()), (0, 0));
    bench.times(5, 0, status(500));
    spec.successful_active_health_check_uneject_host = false;
    bench.change(Some(spec));
    assert!(!passed(&bench));
}

#[test]
fn nothing_configured_ejects_nothing_and_restores_all() {
    let mut bench = bench(all_may_go());
    bench.times(5, 0, status(500));
    bench.change(None);
    assert_eq!(bench.out(), [0; 0]);
    assert_eq!((bench.records[0].multiplier(), bench.detector.ejected()), (0, 0));
    assert!(!bench.times(100, 0, status(500)));
    assert!(!bench.sweep_after(s(100)));
    assert_eq!(bench.detector.next_sweep(bench.now()), None);
}

#[test]
fn endpoints_that_leave_are_not_counted_as_out() {
    let mut spec = OutlierDetection::new();
    spec.max_ejection_percent = 50;
    let mut bench = Bench::new(Dialect::Http, 4, spec);
    bench.times(5, 0, status(500));
    bench.times(5, 1, status(500));
    assert!(!bench.times(5, 2, status(500)));
    bench.records.drain(..2);
    bench.detector.adopt(bench.records.iter());
    assert!(bench.times(5, 0, status(500)), "one of two");
}

#[test]
fn calls_that_fail_by_their_callers_fault_eject_nobody_in_http() {
    for status in [0, 1, 3, 5, 6, 7, 8, 9, 10, 11, 16] {
        let bench = bench(all_may_go());
        let ejected = (0..9).any(|_| bench.observe(3, Observed::Call { status }));
        assert!(!ejected, "{status}");
    }
}

//! How often what may happen by chance does.

use super::*;
use crate::testing::{DRAWS, assert_share, randoms};

#[test]
fn enforcement_is_a_share_of_what_is_due() {
    for percent in [0, 1, 20, 50, 99, 100] {
        let mut spec = all_may_go();
        spec.enforcing_consecutive_5xx = percent;
        spec.consecutive_5xx = 1;
        let bench = Bench::new(Dialect::Http, DRAWS, spec);
        let ejected = randoms(DRAWS).zip(&bench.records).filter(|(random, record)| {
            bench.detector.observe(record, status(500), || bench.now(), || *random)
        });
        assert_share(ejected.count(), f64::from(percent) / 100.0);
    }
}

#[test]
fn sweep_enforces_a_share_of_what_is_due() {
    for dialect in [Dialect::Http, Dialect::Grpc] {
        let mut spec = all_may_go();
        spec.enforcing_success_rate = 0;
        spec.consecutive_5xx = 1000;
        spec.failure_percentage_request_volume = 1;
        spec.enforcing_failure_percentage = 30;
        let mut bench = Bench::new(dialect, DRAWS, spec);
        for host in 0..DRAWS {
            bench.observe(host, Observed::Timeout);
        }
        bench.sweep_after(s(10));
        assert_share(bench.out().len(), 0.3);
    }
}

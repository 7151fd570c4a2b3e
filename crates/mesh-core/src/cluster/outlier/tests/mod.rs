//! Detectors over bare records: no cluster, no tables.

mod envoy;
mod grpc;
mod model;
mod shares;

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;

use super::{Detector, Observed, Record};
use crate::dialect::Dialect;
use crate::resource::OutlierDetection;

/// Some endpoints under a detector, with a clock.
struct Bench {
    detector: Detector,
    records: Vec<Record>,
    start: Instant,
    now: Duration,
}

impl Bench {
    fn new(dialect: Dialect, hosts: usize, spec: OutlierDetection) -> Self {
        let detector = Detector::new(dialect, Some(&Arc::new(spec)), None);
        let records: Vec<Record> = (0..hosts).map(|_| Record::default()).collect();
        detector.adopt(records.iter());
        let start = Instant::now();
        detector.next_sweep(start);
        Self { detector, records, start, now: Duration::ZERO }
    }

    fn now(&self) -> Instant {
        self.start + self.now
    }

    fn observe(&self, host: usize, observed: Observed) -> bool {
        self.detector.observe(&self.records[host], observed, || self.now(), || 7)
    }

    fn times(&self, times: usize, host: usize, observed: Observed) -> bool {
        (0..times).any(|_| self.observe(host, observed))
    }

    /// Lets that much time pass and sweeps.
    fn sweep_after(&mut self, passed: Duration) -> bool {
        self.now += passed;
        self.detector.sweep(self.records.iter(), self.now(), 7)
    }

    /// Another specification for the same endpoints.
    fn change(&mut self, spec: Option<OutlierDetection>) {
        let spec = spec.map(Arc::new);
        let dialect = self.detector.dialect();
        self.detector = Detector::new(dialect, spec.as_ref(), Some(&self.detector));
        self.detector.adopt(self.records.iter());
    }

    fn out(&self) -> Vec<usize> {
        let out = self.records.iter().enumerate().filter(|(_, record)| record.is_ejected());
        out.map(|(host, _)| host).collect()
    }
}

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn status(code: u16) -> Observed {
    Observed::Status(StatusCode::from_u16(code).unwrap())
}

/// A specification in which every share of the endpoints may be out.
fn all_may_go() -> OutlierDetection {
    let mut spec = OutlierDetection::new();
    spec.max_ejection_percent = 100;
    spec
}

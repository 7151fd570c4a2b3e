use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::super::LoadReport;
use super::locked;
use crate::resource::{LoadReporting, Locality, Name};

/// How many metrics of one locality are kept between two reports. More is a backend that names
/// them as it likes, where all of its metrics are asked for.
const METRIC_LIMIT: usize = 256;

/// What was counted of a locality since it was last taken.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LocalityLoad {
    /// The locality.
    pub locality: Locality,
    /// Its priority in the cluster.
    pub priority: u32,
    /// Attempts that began.
    pub issued: u64,
    /// Attempts that ended well: answered with a status below 500, and by gRPC with OK.
    pub succeeded: u64,
    /// Attempts that ended otherwise, given up by the caller or not.
    pub failed: u64,
    /// Attempts under way when it was taken.
    pub in_progress: u64,
    /// What endpoints told of their load, where the cluster asks for it, by the names it uses.
    pub metrics: BTreeMap<Name, LoadMetric>,
}

/// Values of one metric that endpoints told.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct LoadMetric {
    /// How many attempts told it.
    pub count: u64,
    /// Their sum.
    pub total: f64,
}

/// The counts of one locality. Relaxed all over: each is a number of its own.
#[derive(Debug)]
pub(super) struct Counters {
    locality: Locality,
    priority: u32,
    issued: AtomicU64,
    succeeded: AtomicU64,
    failed: AtomicU64,
    in_progress: AtomicU64,
    metrics: Mutex<BTreeMap<Name, LoadMetric>>,
}

/// An attempt that counts as under way until this is dropped, and then as failed unless it was said
/// to have succeeded.
#[derive(Debug)]
pub struct CountedRequest {
    counters: Arc<Counters>,
    succeeded: bool,
}

impl Counters {
    pub(super) fn new(locality: Locality, priority: u32) -> Self {
        Self {
            locality,
            priority,
            issued: AtomicU64::default(),
            succeeded: AtomicU64::default(),
            failed: AtomicU64::default(),
            in_progress: AtomicU64::default(),
            metrics: Mutex::default(),
        }
    }

    pub(super) fn is_of(&self, locality: &Locality, priority: u32) -> bool {
        self.priority == priority && self.locality == *locality
    }

    /// `None` where there is nothing to tell.
    pub(super) fn take(&self) -> Option<LocalityLoad> {
        // Ends before begins, so that none is told to have ended that was not told to have begun.
        let [failed, succeeded] =
            [&self.failed, &self.succeeded].map(|ended| ended.swap(0, Ordering::Relaxed));
        let in_progress = self.in_progress.load(Ordering::Relaxed);
        let issued = self.issued.swap(0, Ordering::Relaxed);
        let metrics = std::mem::take(&mut *locked(&self.metrics));
        let counts = [failed, succeeded, in_progress, issued];
        if counts == [0; 4] && metrics.is_empty() {
            return None;
        }
        let (locality, priority) = (self.locality.clone(), self.priority);
        Some(LocalityLoad { locality, priority, issued, succeeded, failed, in_progress, metrics })
    }
}

impl CountedRequest {
    pub(super) fn new(counters: &Arc<Counters>) -> Self {
        counters.issued.fetch_add(1, Ordering::Relaxed);
        counters.in_progress.fetch_add(1, Ordering::Relaxed);
        Self { counters: counters.clone(), succeeded: false }
    }

    /// Says how it ended, or will have ended as far as is known.
    pub fn set_succeeded(&mut self, succeeded: bool) {
        self.succeeded = succeeded;
    }

    /// Notes what the endpoint told of its load, as far as the cluster asks for it (gRFC A85).
    pub fn report(&self, report: &LoadReport, spec: &LoadReporting) {
        if spec.metrics.is_empty() {
            return;
        }
        let mut metrics = locked(&self.counters.metrics);
        for (name, value) in report.selected(&spec.metrics) {
            if metrics.len() >= METRIC_LIMIT && !metrics.contains_key(&name) {
                continue;
            }
            let metric = metrics.entry(name).or_default();
            metric.count += 1;
            metric.total += value;
        }
    }
}

impl Drop for CountedRequest {
    fn drop(&mut self) {
        let Self { counters, succeeded } = self;
        let ended = if *succeeded { &counters.succeeded } else { &counters.failed };
        ended.fetch_add(1, Ordering::Relaxed);
        counters.in_progress.fetch_sub(1, Ordering::Relaxed);
    }
}

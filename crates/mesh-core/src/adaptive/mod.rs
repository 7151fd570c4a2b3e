//! Envoy's gradient controller: how many requests at once an upstream takes without getting slow.
//!
//! Latencies are collected for a window. When it ends, the limit is multiplied by how the least
//! latency compares with that of the window, between half and double, and gets its square root on
//! top. The least latency itself is measured from time to time with few requests at once.
//!
//! There are no timers here: what is due is done by the first request or answer after it. Nothing
//! is locked; whoever turns the state's one word ends the window, and a sample that comes in
//! meanwhile may count for the window after it.

mod histogram;
#[cfg(test)]
mod tests;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::draws::Draws;
use crate::resource::{GradientConfig, MinRtt};
use histogram::Histogram;

/// Keeps the draws apart from those of routes and filters, which come of the same number.
const SALT: u64 = 0x6164_6170_0000_0006;

/// After so many windows at the least limit the least latency is measured anew: it may be wrong.
const MINIMUM_WINDOWS: u32 = 5;

#[derive(Debug)]
pub(crate) struct Controller {
    config: GradientConfig,
    /// What moments are counted from: the first one that was told.
    epoch: OnceLock<Instant>,
    limit: AtomicU32,
    /// The limit to go back to after a measurement; 0 when none is under way.
    deferred: AtomicU32,
    /// Of the least latency, in microseconds; 0 while it is not known.
    min_rtt: AtomicU64,
    /// When the measurement began that is or was the last one.
    measured_from: AtomicU64,
    /// When the window ends.
    window_end: AtomicU64,
    /// When the least latency is measured next.
    measure_at: AtomicU64,
    /// Windows in a row that left the limit at its least.
    at_minimum: AtomicU32,
    samples: Histogram,
}

const ORDER: Ordering = Ordering::AcqRel;

impl Controller {
    pub(crate) fn new(config: GradientConfig) -> Self {
        let min = config.min_limit.max(1);
        let (deferred, min_rtt) = match config.min_rtt {
            MinRtt::Fixed(known) => (0, micros(known).max(1)),
            MinRtt::Measured { .. } => (min, 0),
        };
        Self {
            config: GradientConfig { min_limit: min, ..config },
            epoch: OnceLock::new(),
            limit: AtomicU32::new(min),
            deferred: AtomicU32::new(deferred),
            min_rtt: AtomicU64::new(min_rtt),
            measured_from: AtomicU64::new(0),
            window_end: AtomicU64::new(micros(config.update_interval)),
            measure_at: AtomicU64::new(u64::MAX),
            at_minimum: AtomicU32::new(0),
            samples: Histogram::default(),
        }
    }

    pub(crate) fn limit(&self) -> u32 {
        self.limit.load(Ordering::Acquire)
    }

    /// Does what is due.
    pub(crate) fn turn(&self, now: Instant) {
        let now = self.since(now);
        self.measure_when_due(now);
        let end = self.window_end.load(Ordering::Acquire);
        if now < end || self.is_measuring() {
            return;
        }
        let next = now + micros(self.config.update_interval);
        if self.window_end.compare_exchange(end, next, ORDER, Ordering::Relaxed).is_ok()
            && let Some(rtt) = self.samples.take(self.config.percentile)
        {
            self.change_limit(self.new_limit(rtt), now);
            self.measure_when_due(now);
        }
    }

    /// Notes a request that began and was answered then.
    pub(crate) fn record(&self, began: Instant, now: Instant, random: u64) {
        let (began, now) = (self.since(began), self.since(now));
        if began < self.measured_from.load(Ordering::Acquire) {
            // It was under way before, beside more others than are counted now.
            return;
        }
        let samples = self.samples.add(now - began.min(now));
        let MinRtt::Measured { interval, jitter, requests } = self.config.min_rtt else { return };
        if samples < requests || !self.is_measuring() {
            return;
        }
        let deferred = self.deferred.swap(0, ORDER);
        if deferred == 0 {
            // Another answer was the last one.
            return;
        }
        if let Some(rtt) = self.samples.take(self.config.percentile) {
            self.min_rtt.store(rtt.max(1), Ordering::Release);
        }
        self.limit.store(deferred, Ordering::Release);
        self.at_minimum.store(0, Ordering::Release);
        let share = Draws::new(random ^ SALT).mixed() as f64 / u64::MAX as f64;
        let later = micros(interval) as f64 * (1.0 + jitter * share);
        self.measure_at.store(now.saturating_add(later as u64), Ordering::Release);
        self.window_end.store(now + micros(self.config.update_interval), Ordering::Release);
    }

    fn is_measuring(&self) -> bool {
        self.deferred.load(Ordering::Acquire) > 0
    }

    /// Begins to measure the least latency, with few requests at once.
    fn measure_when_due(&self, now: u64) {
        let due = self.measure_at.load(Ordering::Acquire);
        if now < due
            || self.measure_at.compare_exchange(due, u64::MAX, ORDER, Ordering::Relaxed).is_err()
        {
            return;
        }
        self.deferred.store(self.limit(), Ordering::Release);
        self.limit.store(self.config.min_limit, Ordering::Release);
        self.at_minimum.store(0, Ordering::Release);
        self.samples.clear();
        self.measured_from.store(now, Ordering::Release);
    }

    fn new_limit(&self, rtt: u64) -> u32 {
        let least = self.min_rtt.load(Ordering::Acquire) as f64;
        let gradient = (least + least * self.config.buffer) / rtt.max(1) as f64;
        let limit = f64::from(self.limit()) * gradient.clamp(0.5, 2.0);
        let limit = (limit + limit.sqrt()) as u32;
        limit.min(self.config.max_limit).max(self.config.min_limit)
    }

    fn change_limit(&self, limit: u32, now: u64) {
        let min = self.config.min_limit;
        let old = self.limit.swap(limit, ORDER);
        if old != min || limit != min {
            self.at_minimum.store(0, Ordering::Release);
            return;
        }
        let windows = self.at_minimum.fetch_add(1, ORDER) + 1;
        if windows >= MINIMUM_WINDOWS && matches!(self.config.min_rtt, MinRtt::Measured { .. }) {
            self.measure_at.store(now, Ordering::Release);
        }
    }

    /// Microseconds since the first moment that was told.
    fn since(&self, now: Instant) -> u64 {
        let epoch = *self.epoch.get_or_init(|| now);
        micros(now.saturating_duration_since(epoch))
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX / 2)
}

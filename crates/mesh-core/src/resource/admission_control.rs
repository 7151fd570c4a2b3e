//! Admission by the success of earlier requests.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// `envoy.extensions.filters.http.admission_control.v3.AdmissionControl`: the more requests failed
/// of late, the more are refused at once.
#[derive(Debug)]
#[non_exhaustive]
pub struct AdmissionControl {
    /// Which statuses are a success, each from the first up to and without the second: below 500
    /// when unset.
    pub http_success_status: Vec<(u16, u16)>,
    /// Which statuses of gRPC are one.
    pub grpc_success_status: Vec<u16>,
    /// How refusals grow beyond the threshold: 1 when unset and at least, evenly.
    pub aggression: f64,
    /// The share of successes below which requests are refused, above 0 and up to 1: 0.95 when
    /// unset.
    pub sr_threshold: f64,
    /// With fewer requests a second on average none is refused: 0 when unset.
    pub rps_threshold: u32,
    /// The largest share that is refused, up to 1: 0.8 when unset.
    pub max_rejection_probability: f64,
    /// What came of requests in the sampling window, which is 30 s when unset.
    pub samples: Samples,
}

impl AdmissionControl {
    /// The statuses of gRPC that are a success when unset.
    pub const GRPC_SUCCESS: [u16; 10] = [0, 1, 2, 3, 5, 6, 16, 9, 11, 12];

    /// Envoy's settings, with that sampling window.
    pub fn new(sampling_window: Duration) -> Self {
        Self {
            http_success_status: vec![(0, 500)],
            grpc_success_status: Self::GRPC_SUCCESS.to_vec(),
            aggression: 1.0,
            sr_threshold: 0.95,
            rps_threshold: 0,
            max_rejection_probability: 0.8,
            samples: Samples::new(sampling_window),
        }
    }

    /// Counts a gRPC call by the status in its trailers, or without any.
    pub fn call_ended(&self, now: Instant, status: Option<u16>) {
        let is_success = status.is_some_and(|status| self.grpc_success_status.contains(&status));
        self.samples.record(now, is_success);
    }

    /// The share of requests that is to be refused now.
    pub fn rejection_probability(&self, now: Instant) -> f64 {
        let Sampled { requests, successes, seconds } = self.samples.sum(now);
        if requests / seconds < u64::from(self.rps_threshold) {
            return 0.0;
        }
        let excess = requests as f64 - successes as f64 / self.sr_threshold;
        let share = excess / (requests + 1) as f64;
        if share <= 0.0 {
            return 0.0;
        }
        let share = if self.aggression == 1.0 { share } else { share.powf(1.0 / self.aggression) };
        share.min(self.max_rejection_probability)
    }
}

/// What came of requests, second by second, without a lock.
#[derive(Debug)]
pub struct Samples {
    /// What moments are counted from: the first one that was told.
    epoch: OnceLock<Instant>,
    seconds: Box<[Second]>,
}

/// One second of the window. Two threads that begin one at the same time may lose a count.
#[derive(Debug, Default)]
struct Second {
    /// Its number, from 1; 0 before there was any.
    number: AtomicU64,
    /// Requests in the upper half, successes in the lower.
    counts: AtomicU64,
}

/// What came of the requests of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sampled {
    pub(crate) requests: u64,
    pub(crate) successes: u64,
    /// Since the oldest of them; at least 1.
    pub(crate) seconds: u64,
}

impl Samples {
    /// The longest window, in seconds: each request looks at all of them.
    pub const LONGEST_SECONDS: u64 = 600;

    fn new(window: Duration) -> Self {
        let seconds = window.as_secs().clamp(1, Self::LONGEST_SECONDS);
        let seconds = (0..seconds).map(|_| Second::default()).collect();
        Self { epoch: OnceLock::new(), seconds }
    }

    /// Notes what came of a request.
    pub fn record(&self, now: Instant, is_success: bool) {
        let number = self.number(now);
        let second = &self.seconds[(number % self.seconds.len() as u64) as usize];
        let order = Ordering::Relaxed;
        let before = second.number.load(order);
        if before != number && second.number.compare_exchange(before, number, order, order).is_ok()
        {
            second.counts.store(0, order);
        }
        second.counts.fetch_add(1 << 32 | u64::from(is_success), order);
    }

    pub(crate) fn sum(&self, now: Instant) -> Sampled {
        let number = self.number(now);
        let window = self.seconds.len() as u64;
        let (mut requests, mut successes, mut oldest) = (0, 0, number);
        for second in &self.seconds {
            let its = second.number.load(Ordering::Relaxed);
            if its == 0 || its > number || number - its >= window {
                continue;
            }
            let counts = second.counts.load(Ordering::Relaxed);
            requests += counts >> 32;
            successes += counts & u64::from(u32::MAX);
            oldest = oldest.min(its);
        }
        Sampled { requests, successes, seconds: (number - oldest).max(1) }
    }

    fn number(&self, now: Instant) -> u64 {
        let epoch = *self.epoch.get_or_init(|| now);
        now.saturating_duration_since(epoch).as_secs() + 1
    }
}

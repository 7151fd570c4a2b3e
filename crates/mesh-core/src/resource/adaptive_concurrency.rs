//! As many requests at once as the latency of others allows.

use std::time::{Duration, Instant};

use http::StatusCode;

use super::{ActiveFault, ActiveFaults};
use crate::adaptive::Controller;

/// `envoy.extensions.filters.http.adaptive_concurrency.v3.AdaptiveConcurrency`.
#[derive(Debug)]
#[non_exhaustive]
pub struct AdaptiveConcurrency {
    /// The status of requests over the limit: 503 when unset.
    pub limit_exceeded_status: StatusCode,
    controller: Controller,
    under_way: ActiveFaults,
}

/// `GradientControllerConfig`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct GradientConfig {
    /// `sample_aggregate_percentile` as a share: which latency stands for all of a window; 0.5 when
    /// unset.
    pub percentile: f64,
    /// `max_concurrency_limit`: 1,000 when unset.
    pub max_limit: u32,
    /// `min_concurrency_limit`: what the limit is while the least latency is measured; 3 when unset,
    /// 1 at least.
    pub min_limit: u32,
    /// `concurrency_update_interval`.
    pub update_interval: Duration,
    /// How the least latency is known.
    pub min_rtt: MinRtt,
    /// `min_rtt_calc_params.buffer` as a share: how much more than the least latency is as good;
    /// 0.25 when unset.
    pub buffer: f64,
}

/// How a controller knows the least latency.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MinRtt {
    /// It is told.
    Fixed(Duration),
    /// It is measured anew.
    Measured {
        /// How long after the last time.
        interval: Duration,
        /// Up to this share of the interval later: 0.15 when unset.
        jitter: f64,
        /// By so many requests: 50 when unset.
        requests: u32,
    },
}

impl GradientConfig {
    /// Envoy's settings, with that interval and way to know the least latency.
    pub fn new(update_interval: Duration, min_rtt: MinRtt) -> Self {
        let (percentile, buffer) = (0.5, 0.25);
        Self { percentile, max_limit: 1_000, min_limit: 3, update_interval, min_rtt, buffer }
    }
}

impl AdaptiveConcurrency {
    /// A filter that begins with the least limit.
    pub fn new(config: GradientConfig) -> Self {
        Self {
            limit_exceeded_status: StatusCode::SERVICE_UNAVAILABLE,
            controller: Controller::new(config),
            under_way: ActiveFaults::default(),
        }
    }

    /// Lets a request through, which counts until what is given is dropped; `None` when there are
    /// as many as may be.
    pub fn admit(&self, now: Instant) -> Option<ActiveFault> {
        self.controller.turn(now);
        self.under_way.begin(Some(self.controller.limit()))
    }

    /// Notes how long a request took that began and was answered then.
    pub fn record(&self, began: Instant, now: Instant, random: u64) {
        self.controller.record(began, now, random);
    }

    /// How many requests may be under way.
    pub fn limit(&self) -> u32 {
        self.controller.limit()
    }

    /// How many requests are under way.
    pub fn under_way(&self) -> u32 {
        self.under_way.count()
    }
}

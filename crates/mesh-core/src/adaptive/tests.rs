use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

const WINDOW: Duration = Duration::from_millis(100);
const INTERVAL: Duration = Duration::from_secs(60);

fn measured(requests: u32) -> GradientConfig {
    let min_rtt = MinRtt::Measured { interval: INTERVAL, jitter: 0.0, requests };
    GradientConfig::new(WINDOW, min_rtt)
}

/// Windows of answers that each took so long; the limits after them.
fn windows(controller: &Controller, start: &mut Instant, latencies: &[u64]) -> Vec<u32> {
    let mut limits = Vec::new();
    for latency in latencies {
        let answered = *start + Duration::from_millis(*latency);
        (0..20).for_each(|_| controller.record(*start, answered, 0));
        *start = answered.max(*start + WINDOW) + Duration::from_millis(1);
        controller.turn(*start);
        limits.push(controller.limit());
    }
    limits
}

#[test]
fn limit_follows_the_latency_by_envoys_formula() {
    let controller = Controller::new(measured(5));
    let mut now = Instant::now();
    controller.turn(now);
    assert_eq!(controller.limit(), 3);
    (0..5).for_each(|_| controller.record(now, now + Duration::from_millis(10), 0));
    now += Duration::from_millis(10);
    // As good as the best: 3 * 1.25 + √3.75, and so on, which is cut.
    assert_eq!(windows(&controller, &mut now, &[10, 10, 10]), [5, 8, 13]);
    // Five times as slow: a half, and its root.
    assert_eq!(windows(&controller, &mut now, &[50, 50, 50, 50]), [9, 6, 4, 3]);
}

#[test]
fn limit_stays_within_bounds() {
    let mut config = GradientConfig::new(WINDOW, MinRtt::Fixed(Duration::from_millis(10)));
    (config.max_limit, config.min_limit) = (20, 7);
    let controller = Controller::new(config);
    let mut now = Instant::now();
    controller.turn(now);
    assert_eq!(controller.limit(), 7);
    assert_eq!(windows(&controller, &mut now, &[1; 8]).last(), Some(&20));
    assert_eq!(windows(&controller, &mut now, &[90; 8]).last(), Some(&7));
}

#[test]
fn least_latency_is_measured_anew_with_few_requests() {
    let controller = Controller::new(measured(5));
    let mut now = Instant::now();
    controller.turn(now);
    (0..5).for_each(|_| controller.record(now, now + Duration::from_millis(10), 0));
    windows(&controller, &mut now, &[10; 6]);
    let before = controller.limit();
    assert!(before > 20);
    let began = now;
    now += INTERVAL;
    controller.turn(now);
    assert_eq!(controller.limit(), 3);
    // What began before does not count, however many.
    (0..50).for_each(|_| controller.record(began, now, 0));
    assert_eq!(controller.limit(), 3);
    (0..5).for_each(|_| controller.record(now, now + Duration::from_millis(20), 0));
    assert_eq!(controller.limit(), before);
    now += Duration::from_millis(20);
    // Twice the latency is now as good as the best.
    assert!(windows(&controller, &mut now, &[20])[0] > before);
}

#[test]
fn five_windows_at_the_minimum_ask_for_a_new_measurement() {
    let controller = Controller::new(measured(5));
    let mut now = Instant::now();
    controller.turn(now);
    (0..5).for_each(|_| controller.record(now, now + Duration::from_millis(1), 0));
    now += Duration::from_millis(1);
    windows(&controller, &mut now, &[500; 5]);
    assert!(controller.is_measuring());
}

/// What the controller does, said again without atomics: samples in a list, the percentile by
/// sorting.
#[derive(Debug)]
struct Naive {
    config: GradientConfig,
    limit: u32,
    deferred: Option<u32>,
    min_rtt: u64,
    measured_from: u64,
    window_end: u64,
    measure_at: Option<u64>,
    at_minimum: u32,
    samples: Vec<u64>,
}

impl Naive {
    fn new(config: GradientConfig) -> Self {
        let is_fixed = matches!(config.min_rtt, MinRtt::Fixed(_));
        let min_rtt = match config.min_rtt {
            MinRtt::Fixed(known) => known.as_micros() as u64,
            MinRtt::Measured { .. } => 0,
        };
        Self {
            config,
            limit: config.min_limit,
            deferred: (!is_fixed).then_some(config.min_limit),
            min_rtt,
            measured_from: 0,
            window_end: config.update_interval.as_micros() as u64,
            measure_at: None,
            at_minimum: 0,
            samples: Vec::new(),
        }
    }

    fn percentile(&mut self) -> Option<u64> {
        let mut all = std::mem::take(&mut self.samples);
        all.sort_unstable();
        let at = (all.len() as f64 * self.config.percentile).ceil() as usize;
        let histogram = Histogram::default();
        histogram.add(*all.get(at.max(1) - 1)?);
        // To the same digits.
        histogram.take(0.5)
    }

    fn measure(&mut self, now: u64) {
        if self.measure_at.is_some_and(|due| now >= due) {
            self.measure_at = None;
            self.deferred = Some(self.limit);
            self.limit = self.config.min_limit;
            self.at_minimum = 0;
            self.samples.clear();
            self.measured_from = now;
        }
    }

    fn turn(&mut self, now: u64) {
        self.measure(now);
        if self.deferred.is_some() || now < self.window_end {
            return;
        }
        self.window_end = now + self.config.update_interval.as_micros() as u64;
        let Some(rtt) = self.percentile() else { return };
        let least = self.min_rtt as f64 * (1.0 + self.config.buffer);
        let gradient = (least / rtt.max(1) as f64).clamp(0.5, 2.0);
        let limit = f64::from(self.limit) * gradient;
        let limit = (limit + limit.sqrt()) as u32;
        let (min, max) = (self.config.min_limit, self.config.max_limit);
        let limit = limit.min(max).max(min);
        let stays = self.limit == min && limit == min;
        self.limit = limit;
        self.at_minimum = if stays { self.at_minimum + 1 } else { 0 };
        let is_measured = matches!(self.config.min_rtt, MinRtt::Measured { .. });
        if self.at_minimum >= 5 && is_measured {
            self.measure_at = Some(now);
        }
        self.measure(now);
    }

    fn record(&mut self, began: u64, now: u64) {
        if began < self.measured_from {
            return;
        }
        self.samples.push(now - began);
        let MinRtt::Measured { interval, requests, .. } = self.config.min_rtt else { return };
        if self.samples.len() < requests as usize {
            return;
        }
        let Some(limit) = self.deferred.take() else { return };
        self.min_rtt = self.percentile().unwrap_or(self.min_rtt).max(1);
        self.limit = limit;
        self.at_minimum = 0;
        self.measure_at = Some(now + interval.as_micros() as u64);
        self.window_end = now + self.config.update_interval.as_micros() as u64;
    }
}

proptest! {
    #[test]
    fn decides_as_a_naive_model(
        fixed in any::<bool>(),
        (min, max) in (1u32..6, 6u32..200),
        requests in 1u32..8,
        percentile in 0.01f64..1.0,
        steps in prop::collection::vec((0u64..200_000, 1u64..400_000, any::<bool>()), 1..300),
    ) {
        let interval = Duration::from_secs(3);
        let min_rtt = match fixed {
            true => MinRtt::Fixed(Duration::from_millis(20)),
            false => MinRtt::Measured { interval, jitter: 0.0, requests },
        };
        let mut config = GradientConfig::new(WINDOW, min_rtt);
        (config.min_limit, config.max_limit, config.percentile) = (min, max, percentile);
        let (controller, mut naive) = (Controller::new(config), Naive::new(config));
        let epoch = Instant::now();
        controller.turn(epoch);
        naive.turn(0);
        let mut now = 0;
        for (passes, latency, turns) in steps {
            now += passes;
            if turns {
                controller.turn(epoch + Duration::from_micros(now));
                naive.turn(now);
            } else {
                let began = now.saturating_sub(latency);
                let at = |micros| epoch + Duration::from_micros(micros);
                controller.record(at(began), at(now), 0);
                naive.record(began, now);
            }
            prop_assert_eq!(controller.limit(), naive.limit);
            prop_assert_eq!(controller.is_measuring(), naive.deferred.is_some());
        }
    }
}

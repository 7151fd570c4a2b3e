use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Detector;
use super::record::{Rate, Record};
use crate::dialect::Dialect;
use crate::draws::Draws;
use crate::resource::OutlierDetection;

/// What an endpoint did in the interval that is over.
struct Past<'r> {
    record: &'r Record,
    answers: Rate,
    reached: Rate,
}

/// What is enforced of one kind of rate.
struct Enforced {
    success_rate: u32,
    failure_percentage: u32,
}

impl Detector {
    /// Ends an interval: ejects by rates, lets endpoints return. True when one went or returned.
    ///
    /// `records` are all endpoints of the cluster, of every priority and health.
    pub fn sweep<'r>(
        &self,
        records: impl Iterator<Item = &'r Record>,
        now: Instant,
        random: u64,
    ) -> bool {
        let Some(spec) = &self.spec else { return false };
        let at = self.at(now);
        self.shared().swept_at.store(at, Ordering::Relaxed);
        let past = |record: &'r Record| {
            let (answers, reached) = record.take();
            Past { record, answers, reached }
        };
        let past: Vec<Past<'r>> = records.map(past).collect();
        self.adopt(past.iter().map(|past| past.record));
        let mut draws = Draws::new(random);
        match self.dialect() {
            Dialect::Http => self.sweep_http(spec, &past, at, &mut draws),
            Dialect::Grpc => self.sweep_grpc(spec, &past, at, &mut draws),
        }
    }

    fn sweep_http(
        &self,
        spec: &OutlierDetection,
        past: &[Past<'_>],
        at: u64,
        draws: &mut Draws,
    ) -> bool {
        let mut changed = false;
        for Past { record, .. } in past {
            changed |= self.restore_in_time(spec, record, at);
        }
        let answers = Enforced {
            success_rate: spec.enforcing_success_rate,
            failure_percentage: spec.enforcing_failure_percentage,
        };
        changed |= self.eject_by_rates(spec, past, |past| past.answers, answers, at, draws);
        if spec.split_external_local_origin_errors {
            let reached = Enforced {
                success_rate: spec.enforcing_local_origin_success_rate,
                failure_percentage: spec.enforcing_failure_percentage_local_origin,
            };
            changed |= self.eject_by_rates(spec, past, |past| past.reached, reached, at, draws);
        }
        for Past { record, .. } in past {
            let interval = nanos(spec.interval);
            let well = |back: u64| at.saturating_sub(back) >= interval;
            if !record.is_ejected() && record.returned_at().is_some_and(well) {
                record.lower();
            }
        }
        changed
    }

    fn sweep_grpc(
        &self,
        spec: &OutlierDetection,
        past: &[Past<'_>],
        at: u64,
        draws: &mut Draws,
    ) -> bool {
        let enforced = Enforced {
            success_rate: spec.enforcing_success_rate,
            failure_percentage: spec.enforcing_failure_percentage,
        };
        let mut changed = self.eject_by_rates(spec, past, |past| past.answers, enforced, at, draws);
        for Past { record, .. } in past {
            if record.is_ejected() {
                changed |= self.restore_in_time(spec, record, at);
            } else {
                record.lower();
            }
        }
        changed
    }

    /// Lets an endpoint return whose time is over. Envoy lets it return at the end of that time,
    /// gRPC after it.
    fn restore_in_time(&self, spec: &OutlierDetection, record: &Record, at: u64) -> bool {
        let Some((since, jitter)) = record.ejection() else { return false };
        let longest = spec.max_ejection_time.max(spec.base_ejection_time);
        let lasts = spec.base_ejection_time.saturating_mul(record.multiplier()).min(longest);
        let passed = at.saturating_sub(since);
        let over = match self.dialect() {
            Dialect::Http => passed >= nanos(lasts.saturating_add(jitter)),
            Dialect::Grpc => passed > nanos(lasts),
        };
        if over {
            self.restore(record, at);
        }
        over
    }

    /// Success rate, then failure percentage. Envoy leaves endpoints out that are ejected.
    fn eject_by_rates(
        &self,
        spec: &OutlierDetection,
        past: &[Past<'_>],
        rate: impl Fn(&Past<'_>) -> Rate,
        enforced: Enforced,
        at: u64,
        draws: &mut Draws,
    ) -> bool {
        let all = self.dialect() == Dialect::Grpc;
        let busy = |volume: u32| {
            let rate = &rate;
            let rates = past.iter().map(move |past| (past.record, rate(past)));
            let rates = rates.filter(move |(record, rate)| {
                rate.total > 0 && rate.total >= volume && (all || !record.is_ejected())
            });
            rates.map(|(record, rate)| (record, percent(rate))).collect::<Vec<_>>()
        };
        // Both lists before any ejection: whom the first condition takes is out for the second
        // one, yet counts among its hosts.
        let compared = busy(spec.success_rate_request_volume);
        let failing = busy(spec.failure_percentage_request_volume);
        let mut changed = false;
        if !compared.is_empty() && compared.len() >= spec.success_rate_minimum_hosts as usize {
            let threshold = threshold(spec, &compared);
            for (record, rate) in &compared {
                if *rate < threshold {
                    changed |= self.eject(spec, record, enforced.success_rate, at, draws);
                }
            }
        }
        if !failing.is_empty() && failing.len() >= spec.failure_percentage_minimum_hosts as usize {
            let threshold = f64::from(spec.failure_percentage_threshold);
            for (record, rate) in &failing {
                let failed = 100.0 - rate;
                let too_much = match self.dialect() {
                    Dialect::Http => failed >= threshold,
                    Dialect::Grpc => failed > threshold,
                };
                if too_much {
                    changed |= self.eject(spec, record, enforced.failure_percentage, at, draws);
                }
            }
        }
        changed
    }
}

fn percent(rate: Rate) -> f64 {
    f64::from(rate.succeeded) * 100.0 / f64::from(rate.total)
}

/// The mean less some standard deviations of the whole population.
fn threshold(spec: &OutlierDetection, rates: &[(&Record, f64)]) -> f64 {
    let count = rates.len() as f64;
    let mean = rates.iter().map(|(_, rate)| rate).sum::<f64>() / count;
    let variance = rates.iter().map(|(_, rate)| (rate - mean).powi(2)).sum::<f64>() / count;
    mean - variance.sqrt() * f64::from(spec.success_rate_stdev_factor) / 1000.0
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

use std::time::{Duration, SystemTime};

use http::HeaderMap;

use crate::dialect::Dialect;
use crate::resource::{RateLimitedBackOff, ResetHeader, ResetHeaderFormat, RetryPolicy};

/// How long to wait before retry number `retry` (1 is the first).
///
/// The cap of a wait is `min(base · 2^(retry − 1), max)`. HTTP: uniform in `[0, cap)`, full jitter,
/// as Envoy does (measured; its documentation differs). gRPC (gRFC A44 with A6): the cap times a
/// number in `[0.8, 1.2)`. `random` is used whole.
pub fn backoff(policy: &RetryPolicy, retry: u32, dialect: Dialect, random: u64) -> Duration {
    let doublings = retry.saturating_sub(1).min(31);
    let cap = policy.base_interval.saturating_mul(1 << doublings).min(policy.max_interval);
    // 53 bits: what a double holds exactly, so that the result stays below 1.
    let unit = (random >> 11) as f64 / (1_u64 << 53) as f64;
    let factor = match dialect {
        Dialect::Http => unit,
        Dialect::Grpc => 0.8 + 0.4 * unit,
    };
    // `mul_f64` panics beyond what a Duration holds, which a cap made by code may come near.
    Duration::try_from_secs_f64(cap.as_secs_f64() * factor).unwrap_or(cap)
}

/// How long to wait when an answer says so: the first header that names a time of up to
/// `max_interval`, and up to half as much again, so that not all come back at once. `None` when no
/// header does; the usual wait counts then.
pub(super) fn reset_interval(
    back_off: &RateLimitedBackOff,
    headers: &HeaderMap,
    time: SystemTime,
    random: u64,
) -> Option<Duration> {
    let intervals = back_off.reset_headers.iter().filter_map(|at| interval(at, headers, time));
    let interval = intervals.into_iter().find(|interval| *interval <= back_off.max_interval)?;
    if interval.is_zero() {
        return None;
    }
    let unit = (random >> 11) as f64 / (1_u64 << 53) as f64;
    Some(interval.saturating_add(interval.mul_f64(unit / 2.0)))
}

/// What one header says; only its first value counts. A time that is past says nothing.
fn interval(at: &ResetHeader, headers: &HeaderMap, time: SystemTime) -> Option<Duration> {
    let seconds: u64 = headers.get(&at.name)?.to_str().ok()?.trim().parse().ok()?;
    match at.format {
        ResetHeaderFormat::Seconds => Some(Duration::from_secs(seconds)),
        ResetHeaderFormat::UnixTimestamp => {
            let now = time.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
            seconds.checked_sub(now).map(Duration::from_secs)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::RetryConditions;
    use http::HeaderName;

    #[test]
    fn caps_double_up_to_ten_times_the_base() {
        let policy = RetryPolicy::new(RetryConditions::FIVE_XX);
        let edges = [25, 50, 100, 200, 250, 250].map(Duration::from_millis);
        for (retry, edge) in (1..).zip(edges) {
            let top = backoff(&policy, retry, Dialect::Http, u64::MAX);
            assert!(top <= edge && top > edge.mul_f64(0.999), "retry {retry}: {top:?}");
            assert_eq!(backoff(&policy, retry, Dialect::Http, 0), Duration::ZERO);
            assert_eq!(backoff(&policy, retry, Dialect::Grpc, 0), edge.mul_f64(0.8));
        }
    }

    #[test]
    fn extreme_policies_do_not_overflow() {
        let mut policy = RetryPolicy::new(RetryConditions::FIVE_XX);
        policy.base_interval = Duration::from_secs(u64::MAX / 4);
        policy.max_interval = Duration::from_secs(60);
        assert!(backoff(&policy, u32::MAX, Dialect::Grpc, u64::MAX) <= Duration::from_secs(72));
        policy.max_interval = Duration::MAX;
        for dialect in [Dialect::Http, Dialect::Grpc] {
            assert!(backoff(&policy, u32::MAX, dialect, u64::MAX) > Duration::from_secs(1 << 60));
        }
    }

    #[test]
    fn waits_what_an_answer_says_and_up_to_half_as_much_again() {
        use ResetHeaderFormat::{Seconds, UnixTimestamp};
        let header = |name, format| ResetHeader { name: HeaderName::from_static(name), format };
        let both = vec![header("retry-after", Seconds), header("reset", UnixTimestamp)];
        let mut back_off = RateLimitedBackOff::new(both);
        back_off.max_interval = Duration::from_secs(60);
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_000_500);
        let table: [(&[(&'static str, &'static str)], Option<u64>); 9] = [
            (&[("retry-after", "4")], Some(4)),
            (&[("retry-after", "60")], Some(60)),
            (&[("retry-after", "61")], None),
            (&[("retry-after", "61"), ("reset", "1002")], Some(2)),
            (&[("reset", "1000")], None),
            (&[("reset", "999")], None),
            (&[("retry-after", "soon"), ("reset", "1030")], Some(30)),
            (&[("retry-after", "-1")], None),
            (&[], None),
        ];
        for (headers, want) in table {
            let named = headers.iter().map(|(name, value)| {
                (HeaderName::from_static(name), http::HeaderValue::from_static(value))
            });
            let headers: HeaderMap = named.collect();
            let want = want.map(Duration::from_secs);
            assert_eq!(reset_interval(&back_off, &headers, time, 0), want, "{headers:?}");
            let top = reset_interval(&back_off, &headers, time, u64::MAX);
            let edge = want.map(|want| want.mul_f64(1.5));
            assert!(top <= edge && top >= edge.map(|edge| edge.mul_f64(0.999)), "{top:?}");
        }
    }
}

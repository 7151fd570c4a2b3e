use std::time::Duration;

use crate::dialect::Dialect;
use crate::resource::RetryPolicy;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::RetryConditions;

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
}

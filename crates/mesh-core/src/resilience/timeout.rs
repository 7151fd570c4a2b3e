use std::time::{Duration, Instant};

use crate::dialect::Dialect;
use crate::resource::Forward;

/// Envoy's default for `RouteAction.timeout`.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(15);

/// The longest time a request on this route may take; `None` for no limit.
///
/// HTTP: `timeout` (15 s when unset), and no longer than `max_stream_duration`. gRPC (gRFC A31):
/// `grpc_timeout_header_max`, else the route's `max_stream_duration`, else the listener's. Zero
/// stands for no limit everywhere.
pub(crate) fn route_timeout(
    forward: &Forward,
    listener_max: Option<Duration>,
    dialect: Dialect,
) -> Option<Duration> {
    let stream = forward.max_stream_duration;
    let duration = stream.max_stream_duration.or(listener_max);
    match dialect {
        Dialect::Http => {
            let timeout = limit(Some(forward.timeout.unwrap_or(DEFAULT_TIMEOUT)));
            [timeout, limit(duration)].into_iter().flatten().min()
        }
        Dialect::Grpc => limit(stream.grpc_timeout_header_max.or(duration)),
    }
}

fn limit(duration: Option<Duration>) -> Option<Duration> {
    duration.filter(|duration| !duration.is_zero())
}

/// When a request must be over: the earlier of the route's limit from `now` and the caller's
/// deadline. A limit beyond what the clock can express is none.
#[inline]
pub fn total_deadline(
    now: Instant,
    timeout: Option<Duration>,
    caller: Option<Instant>,
) -> Option<Instant> {
    let route = timeout.and_then(|timeout| now.checked_add(timeout));
    [route, caller].into_iter().flatten().min()
}

/// When an attempt must be over, and whether that is its own limit (true) or the request's.
pub fn attempt_deadline(
    now: Instant,
    per_try: Option<Duration>,
    total: Option<Instant>,
) -> Option<(Instant, bool)> {
    let own = per_try.and_then(|timeout| now.checked_add(timeout));
    match (own, total) {
        (Some(own), Some(total)) if total <= own => Some((total, false)),
        (Some(own), _) => Some((own, true)),
        (None, total) => total.map(|total| (total, false)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::{ClusterSpecifier, MaxStreamDuration};

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn forward(timeout: Option<u64>, stream: Option<u64>, header: Option<u64>) -> Forward {
        let mut forward = Forward::new(ClusterSpecifier::Cluster("c".into()));
        forward.timeout = timeout.map(s);
        forward.max_stream_duration = MaxStreamDuration {
            max_stream_duration: stream.map(s),
            grpc_timeout_header_max: header.map(s),
        };
        forward
    }

    #[test]
    fn http_takes_timeout_and_caps_it_by_stream_duration() {
        let table = [
            (forward(None, None, None), None, Some(15)),
            (forward(Some(0), None, None), None, None),
            (forward(Some(3), None, None), None, Some(3)),
            (forward(Some(3), Some(2), None), None, Some(2)),
            (forward(Some(0), None, None), Some(7), Some(7)),
            (forward(Some(0), Some(0), None), Some(7), None),
        ];
        for (number, (forward, listener, want)) in table.into_iter().enumerate() {
            let got = route_timeout(&forward, listener.map(s), Dialect::Http);
            assert_eq!(got, want.map(s), "row {number}");
        }
    }

    #[test]
    fn grpc_follows_a31_and_ignores_timeout() {
        let table = [
            (forward(Some(1), None, None), None, None),
            (forward(None, Some(2), None), Some(9), Some(2)),
            (forward(None, None, None), Some(9), Some(9)),
            (forward(None, Some(2), Some(5)), None, Some(5)),
            (forward(None, Some(2), Some(0)), None, None),
            (forward(None, Some(0), None), Some(9), None),
        ];
        for (number, (forward, listener, want)) in table.into_iter().enumerate() {
            let got = route_timeout(&forward, listener.map(s), Dialect::Grpc);
            assert_eq!(got, want.map(s), "row {number}");
        }
    }

    #[test]
    fn deadline_is_the_earlier_one_and_never_overflows() {
        let now = Instant::now();
        assert_eq!(total_deadline(now, Some(s(5)), Some(now + s(3))), Some(now + s(3)));
        assert_eq!(total_deadline(now, Some(Duration::MAX), None), None);
        assert_eq!(total_deadline(now, None, None), None);
        let total = Some(now + s(3));
        assert_eq!(attempt_deadline(now, Some(s(2)), total), Some((now + s(2), true)));
        assert_eq!(attempt_deadline(now, Some(s(3)), total), Some((now + s(3), false)));
        assert_eq!(attempt_deadline(now, None, total), Some((now + s(3), false)));
    }
}

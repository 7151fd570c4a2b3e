use std::time::{Duration, Instant};

use http::HeaderMap;
use http::header::CONTENT_TYPE;

use super::{RequestOptions, grpc_timeout};
use crate::dialect::Dialect;
use crate::resource::{Forward, MaxGrpcTimeout, MaxStreamDuration, RetryPolicy};

/// Envoy's default for `RouteAction.timeout`.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(15);

/// The limits of a request in plain HTTP; `None` for no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// From the request's end to the response's end (`timeout`; 15 s when unset).
    pub total: Option<Duration>,
    /// Of one attempt. Shorter than `total`, else there is none.
    pub per_try: Option<Duration>,
    /// Of one attempt without a byte of an answer.
    pub per_try_idle: Option<Duration>,
    /// Without a byte in either direction.
    pub idle: Option<Duration>,
    /// Of the whole stream (`max_stream_duration`).
    pub stream: Option<Duration>,
    /// Whether the server is told of the time in `grpc-timeout` (`max_grpc_timeout`).
    pub tells_grpc: bool,
}

impl Timeouts {
    /// The limits of a request with those headers, of which its `options` were taken (Envoy).
    ///
    /// On a route with `max_stream_duration` that one counts alone: `timeout` does not.
    pub fn of(
        forward: &Forward,
        policy: Option<&RetryPolicy>,
        listener_max: Option<Duration>,
        headers: &HeaderMap,
        options: Option<&RequestOptions>,
    ) -> Self {
        let has_stream = forward.max_stream_duration != MaxStreamDuration::default();
        let grpc = is_grpc(headers);
        let legacy = forward.max_grpc_timeout.as_deref().filter(|_| grpc && !has_stream);
        let route = match legacy {
            Some(legacy) => legacy_timeout(legacy, headers),
            None if has_stream => None,
            None => limit(Some(forward.timeout.unwrap_or(DEFAULT_TIMEOUT))),
        };
        let asked = options.and_then(|options| options.timeout);
        let total = asked.map_or(route, |asked| limit(Some(asked)));
        let per_try = options.and_then(|options| options.per_try_timeout);
        let per_try = limit(per_try.or(policy.and_then(|policy| policy.per_try_timeout)));
        Self {
            total,
            per_try: per_try.filter(|per_try| total.is_none_or(|total| *per_try < total)),
            per_try_idle: limit(policy.and_then(|policy| policy.per_try_idle_timeout)),
            idle: limit(forward.idle_timeout),
            stream: stream_duration(&forward.max_stream_duration, listener_max, headers),
            tells_grpc: legacy.is_some(),
        }
    }

    /// The earlier of the ends of request and stream.
    pub fn longest(&self) -> Option<Duration> {
        [self.total, self.stream].into_iter().flatten().min()
    }

    /// What the server is told in `x-envoy-expected-rq-timeout-ms` of an attempt that begins that
    /// long after the request: whole milliseconds, at least one.
    pub fn expected(&self, elapsed: Duration, hedging: bool) -> Option<Duration> {
        let own = if hedging { self.total } else { self.per_try.or(self.total) }?;
        let left = self.total.map_or(own, |total| total.saturating_sub(elapsed).min(own));
        let millis = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        Some(Duration::from_millis(millis.max(1)))
    }
}

/// What `max_grpc_timeout` makes of a caller's `grpc-timeout`; a caller without one has no limit
/// of its own.
fn legacy_timeout(legacy: &MaxGrpcTimeout, headers: &HeaderMap) -> Option<Duration> {
    let asked = limit(headers.get(GRPC_TIMEOUT).and_then(grpc_timeout::parse));
    let less = |asked: Duration| match legacy.offset {
        Some(offset) if offset < asked => asked - offset,
        _ => asked,
    };
    [asked.map(less), limit(Some(legacy.max))].into_iter().flatten().min()
}

/// The longest a stream may last: what the caller's `grpc-timeout` says where the route looks at
/// it, else the route's own or the listener's.
fn stream_duration(
    stream: &MaxStreamDuration,
    listener_max: Option<Duration>,
    headers: &HeaderMap,
) -> Option<Duration> {
    let asked = stream
        .grpc_timeout_header_max
        .and_then(|max| Some((max, headers.get(GRPC_TIMEOUT).and_then(grpc_timeout::parse)?)));
    let Some((max, asked)) = asked else {
        return limit(stream.max_stream_duration.or(listener_max));
    };
    let capped = limit(Some(max)).map_or(asked, |max| asked.min(max));
    let offset = stream.grpc_timeout_header_offset.unwrap_or_default();
    // A time that is used up is over at once: zero would be no limit.
    match limit(Some(capped)) {
        Some(capped) => Some(capped.saturating_sub(offset).max(SHORTEST)),
        None => Some(SHORTEST),
    }
}

/// As short as a limit can be.
const SHORTEST: Duration = Duration::from_nanos(1);

const GRPC_TIMEOUT: &str = "grpc-timeout";

fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(|kind| kind.as_bytes());
    let rest = kind.and_then(|kind| kind.strip_prefix(b"application/grpc"));
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// The longest time a request on this route may take, as far as that can be told without its
/// headers; `None` for no limit.
///
/// HTTP: see [`Timeouts::of`]. gRPC (gRFC A31): `grpc_timeout_header_max`, else the route's
/// `max_stream_duration`, else the listener's. A31 does not know the older `max_grpc_timeout`, in
/// which Istio sends a VirtualService's timeout to sidecars; it counts before the listener's. Zero
/// stands for no limit everywhere.
pub(crate) fn route_timeout(
    forward: &Forward,
    listener_max: Option<Duration>,
    dialect: Dialect,
) -> Option<Duration> {
    let stream = forward.max_stream_duration;
    match dialect {
        Dialect::Http => {
            Timeouts::of(forward, None, listener_max, &HeaderMap::new(), None).longest()
        }
        Dialect::Grpc => {
            let older = forward.max_grpc_timeout.as_deref().map(|legacy| legacy.max);
            let of_route = stream.grpc_timeout_header_max.or(stream.max_stream_duration);
            limit(of_route.or(older).or(listener_max))
        }
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
mod tests;

//! Headers that a request from outside may not carry.

use http::header::HOST;
use http::{HeaderMap, HeaderName};

use crate::filter::Request;

/// What steers retries, timeouts and tracing here, or tells what only this side can know.
const INTERNAL: [&str; 16] = [
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-force-trace",
    "x-envoy-hedge-on-per-try-timeout",
    "x-envoy-internal",
    "x-envoy-ip-tags",
    "x-envoy-max-retries",
    "x-envoy-original-url",
    "x-envoy-retriable-header-names",
    "x-envoy-retriable-status-codes",
    "x-envoy-retry-grpc-on",
    "x-envoy-retry-on",
    "x-envoy-upstream-alt-stat-name",
    "x-envoy-upstream-rq-per-try-timeout-ms",
    "x-envoy-upstream-rq-timeout-alt-response",
    "x-envoy-upstream-rq-timeout-ms",
    "x-envoy-upstream-stream-duration-ms",
];

/// Certificates of callers behind proxies, as those proxies tell them.
pub(super) const FORWARDED_CLIENT_CERT: &str = "x-forwarded-client-cert";

pub(super) fn sanitize(headers: &mut HeaderMap, internal_only: &[HeaderName]) {
    for name in INTERNAL {
        headers.remove(name);
    }
    for name in internal_only {
        headers.remove(name);
    }
}

/// Whether a request has more headers than that. HTTP/1 counts that of its host.
pub(super) fn exceed(request: &Request<'_>, most: u32) -> bool {
    let host = usize::from(!request.headers.contains_key(HOST));
    request.headers.len() + host > usize::try_from(most).unwrap_or(usize::MAX)
}

pub(super) fn has_underscores(headers: &HeaderMap) -> bool {
    headers.keys().any(has_underscore)
}

pub(super) fn drop_underscores(headers: &mut HeaderMap) {
    let names: Vec<HeaderName> =
        headers.keys().filter(|name| has_underscore(name)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

fn has_underscore(name: &HeaderName) -> bool {
    name.as_str().contains('_')
}

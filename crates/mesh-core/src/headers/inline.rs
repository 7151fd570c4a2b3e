//! Headers of which a message has one: Envoy keeps them in fields of their own, and a second value
//! is joined to the first with a comma.

use http::{HeaderMap, HeaderName, HeaderValue};

/// The direction of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Request,
    Response,
}

/// In requests and responses.
const BOTH: &[&str] = &[
    "cache-control",
    "content-type",
    "grpc-accept-encoding",
    "grpc-message",
    "grpc-status",
    "via",
    "x-envoy-attempt-count",
    "x-envoy-decorator-operation",
    "x-request-id",
];

const REQUEST: &[&str] = &[
    "accept",
    "accept-encoding",
    "access-control-request-headers",
    "access-control-request-method",
    "authorization",
    "grpc-timeout",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "origin",
    "pragma",
    "referer",
    "user-agent",
    "x-client-trace-id",
    "x-envoy-original-path",
    "x-forwarded-client-cert",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
];

const RESPONSE: &[&str] = &[
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "access-control-max-age",
    "age",
    "content-encoding",
    "date",
    "etag",
    "expires",
    "last-modified",
    "location",
    "proxy-status",
    "server",
    "vary",
    "x-envoy-degraded",
    "x-envoy-immediate-health-check-fail",
    "x-envoy-ratelimited",
    "x-envoy-upstream-service-time",
];

impl Direction {
    /// Whether a message in this direction has one value of that header.
    pub(crate) fn is_inline(self, name: &HeaderName) -> bool {
        let own = match self {
            Self::Request => REQUEST,
            Self::Response => RESPONSE,
        };
        let name = name.as_str();
        own.binary_search(&name).is_ok() || BOTH.binary_search(&name).is_ok()
    }
}

/// Joins the values of those headers that a request has one of, as Envoy does when it reads them.
pub(crate) fn join_request(headers: &mut HeaderMap) {
    for name in BOTH.iter().chain(REQUEST) {
        let mut values = headers.get_all(*name).iter().map(HeaderValue::as_bytes);
        let (Some(first), Some(second)) = (values.next(), values.next()) else { continue };
        let all: Vec<&[u8]> = [first, second].into_iter().chain(values).collect();
        if let Ok(joined) = HeaderValue::from_bytes(&all.join(&b","[..])) {
            headers.insert(*name, joined);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sorted_to_be_searched() {
        for list in [BOTH, REQUEST, RESPONSE] {
            assert!(list.is_sorted(), "{list:?}");
        }
    }
}

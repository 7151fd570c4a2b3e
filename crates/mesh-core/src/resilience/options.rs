use std::time::Duration;

use http::{HeaderMap, HeaderName, StatusCode};

use crate::resource::{HeaderMatcher, RetryConditions, RetryPolicy, ValueMatch};

/// What a request asks of its route in `x-envoy-*` headers.
///
/// They count for internal callers alone, and an application's own requests are internal. Plain
/// HTTP only: gRPC knows none of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestOptions {
    /// `x-envoy-retry-on` and `x-envoy-retry-grpc-on`; `None` when there is neither.
    pub retry_on: Option<RetryConditions>,
    /// `x-envoy-max-retries`.
    pub max_retries: Option<u32>,
    /// `x-envoy-retriable-status-codes`.
    pub retriable_status_codes: Vec<StatusCode>,
    /// `x-envoy-retriable-header-names`.
    pub retriable_header_names: Vec<HeaderName>,
    /// `x-envoy-upstream-rq-timeout-ms`; zero for none.
    pub timeout: Option<Duration>,
    /// `x-envoy-upstream-rq-per-try-timeout-ms`; zero for none.
    pub per_try_timeout: Option<Duration>,
    /// `x-envoy-hedge-on-per-try-timeout`.
    pub hedge_on_per_try_timeout: Option<bool>,
    /// Whether a timeout is answered with 204 (`x-envoy-upstream-rq-timeout-alt-response`).
    pub timeout_alt_response: bool,
}

const RETRY_ON: &str = "x-envoy-retry-on";
const RETRY_GRPC_ON: &str = "x-envoy-retry-grpc-on";
const MAX_RETRIES: &str = "x-envoy-max-retries";
const STATUS_CODES: &str = "x-envoy-retriable-status-codes";
const HEADER_NAMES: &str = "x-envoy-retriable-header-names";
const TIMEOUT: &str = "x-envoy-upstream-rq-timeout-ms";
const PER_TRY_TIMEOUT: &str = "x-envoy-upstream-rq-per-try-timeout-ms";
const HEDGE: &str = "x-envoy-hedge-on-per-try-timeout";
const ALT_RESPONSE: &str = "x-envoy-upstream-rq-timeout-alt-response";

impl RequestOptions {
    /// Takes the headers out of a request; `None` when it has none of them.
    #[inline]
    pub fn take(headers: &mut HeaderMap) -> Option<Box<Self>> {
        if Self::may_be_in(headers) { Self::take_all(headers) } else { None }
    }

    /// Whether there is any `x-envoy-*` header at all. A pass over the names: to look for each
    /// would hash nine of them.
    #[inline(always)]
    pub fn may_be_in(headers: &HeaderMap) -> bool {
        // A loop, and no closure, so that it becomes part of its caller.
        for name in headers.keys() {
            if name.as_str().as_bytes().starts_with(b"x-envoy-") {
                return true;
            }
        }
        false
    }

    #[cold]
    fn take_all(headers: &mut HeaderMap) -> Option<Box<Self>> {
        let mut text = |name: &str| {
            let value = headers.remove(name)?;
            Some(value.to_str().unwrap_or("").to_owned())
        };
        let http = text(RETRY_ON)
            .map(|list| RetryConditions::of_list(&list).without(RetryConditions::GRPC));
        let grpc = text(RETRY_GRPC_ON)
            .map(|list| RetryConditions::of_list(&list).and(RetryConditions::GRPC));
        let retry_on = match (http, grpc) {
            (None, None) => None,
            (http, grpc) => Some(http.unwrap_or_default() | grpc.unwrap_or_default()),
        };
        let number = |text: Option<String>| text?.trim().parse::<u64>().ok();
        let max_retries = number(text(MAX_RETRIES));
        let codes = text(STATUS_CODES).unwrap_or_default();
        let codes = codes.split(',').filter_map(|code| code.trim().parse().ok());
        let names = text(HEADER_NAMES).unwrap_or_default();
        let names = names.split(',').filter_map(|name| name.trim().parse().ok());
        let made = Self {
            retry_on,
            max_retries: max_retries.map(|most| u32::try_from(most).unwrap_or(u32::MAX)),
            retriable_status_codes: codes.collect(),
            retriable_header_names: names.collect(),
            timeout: number(text(TIMEOUT)).map(Duration::from_millis),
            per_try_timeout: number(text(PER_TRY_TIMEOUT)).map(Duration::from_millis),
            hedge_on_per_try_timeout: text(HEDGE).and_then(|value| value.parse().ok()),
            timeout_alt_response: text(ALT_RESPONSE).is_some(),
        };
        (made != Self::default()).then(|| Box::new(made))
    }

    /// The retry policy of a route with what the request asks for; `None` when it is the route's
    /// own.
    pub fn retry_policy(&self, policy: Option<&RetryPolicy>) -> Option<RetryPolicy> {
        let changed = self.retry_on.is_some()
            || self.max_retries.is_some()
            || !self.retriable_status_codes.is_empty()
            || !self.retriable_header_names.is_empty();
        if !changed || (policy.is_none() && self.retry_on.is_none()) {
            return None;
        }
        let none = || RetryPolicy::new(RetryConditions::default());
        let mut made = policy.cloned().unwrap_or_else(none);
        made.conditions |= self.retry_on.unwrap_or_default();
        made.num_retries = self.max_retries.unwrap_or(made.num_retries);
        made.retriable_status_codes.extend(&self.retriable_status_codes);
        let present =
            |name: &HeaderName| HeaderMatcher::new(name.clone(), ValueMatch::Present(true));
        made.retriable_headers.extend(self.retriable_header_names.iter().map(present));
        Some(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        let one = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        list.iter().map(one).collect()
    }

    #[test]
    fn headers_are_read_and_taken_out() {
        let mut all = headers(&[
            (RETRY_ON, "5xx, unavailable, weather,reset"),
            (RETRY_GRPC_ON, "cancelled,5xx"),
            (MAX_RETRIES, "4"),
            (STATUS_CODES, "404, 99,x,418"),
            (HEADER_NAMES, "x-again, not a name"),
            (TIMEOUT, "250"),
            (PER_TRY_TIMEOUT, "soon"),
            (HEDGE, "true"),
            (ALT_RESPONSE, "1"),
            ("x-envoy-fault-delay-request", "1"),
            ("accept", "text/plain"),
        ]);
        let made = RequestOptions::take(&mut all).unwrap();
        let on = RetryConditions::FIVE_XX | RetryConditions::RESET | RetryConditions::CANCELLED;
        assert_eq!(made.retry_on, Some(on), "each header has words of its own");
        assert_eq!(made.max_retries, Some(4));
        assert_eq!(made.retriable_status_codes, [404, 418]);
        assert_eq!(made.retriable_header_names, ["x-again"]);
        assert_eq!(made.timeout, Some(Duration::from_millis(250)));
        assert_eq!(made.per_try_timeout, None);
        assert_eq!(made.hedge_on_per_try_timeout, Some(true));
        assert!(made.timeout_alt_response);
        let mut left: Vec<_> = all.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["accept", "x-envoy-fault-delay-request"]);
        assert_eq!(RequestOptions::take(&mut all), None);
    }

    #[test]
    fn policy_is_the_routes_and_the_requests_together() {
        let mut route = RetryPolicy::new(RetryConditions::FIVE_XX);
        route.num_retries = 3;
        let asked = |list: &[_], policy| {
            let options = RequestOptions::take(&mut headers(list)).unwrap();
            options.retry_policy(policy)
        };
        let both = asked(&[(RETRY_ON, "reset"), (MAX_RETRIES, "1")], Some(&route)).unwrap();
        assert_eq!(both.conditions, RetryConditions::FIVE_XX | RetryConditions::RESET);
        assert_eq!(both.num_retries, 1);
        let alone = asked(&[(RETRY_ON, "reset")], None).unwrap();
        assert_eq!((alone.conditions, alone.num_retries), (RetryConditions::RESET, 1));
        let codes = asked(&[(STATUS_CODES, "404"), (HEADER_NAMES, "x-again")], Some(&route));
        let codes = codes.unwrap();
        assert_eq!(codes.retriable_status_codes, [404]);
        assert_eq!(codes.retriable_headers.len(), 1);
        assert_eq!((codes.conditions, codes.num_retries), (RetryConditions::FIVE_XX, 3));
        assert!(asked(&[(MAX_RETRIES, "9")], None).is_none(), "nothing is retried at all");
        assert!(asked(&[(TIMEOUT, "9")], Some(&route)).is_none());
    }
}

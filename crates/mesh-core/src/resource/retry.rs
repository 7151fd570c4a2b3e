//! Retry policy.

use std::time::Duration;

use http::{HeaderName, StatusCode};

use super::{HeaderMatcher, Metadata, Struct, Value};

/// `envoy.config.route.v3.RetryPolicy`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// What is retried.
    pub conditions: RetryConditions,
    /// How many retries at most after the first attempt: 1 when unset, 0 for none.
    pub num_retries: u32,
    /// The deadline of each attempt; `None` when unset or zero (the total one alone).
    pub per_try_timeout: Option<Duration>,
    /// How long an attempt may take without a byte of an answer; `None` when unset or zero.
    pub per_try_idle_timeout: Option<Duration>,
    /// Statuses for [`RetryConditions::RETRIABLE_STATUS_CODES`].
    pub retriable_status_codes: Vec<StatusCode>,
    /// The base of the wait before a retry: 25 ms when unset.
    pub base_interval: Duration,
    /// The cap of the wait: ten times the base when unset.
    pub max_interval: Duration,
    /// How long to wait when an answer says so.
    pub rate_limited_back_off: Option<RateLimitedBackOff>,
    /// Response headers for [`RetryConditions::RETRIABLE_HEADERS`]; one must match.
    pub retriable_headers: Vec<HeaderMatcher>,
    /// Request headers of which one must match for anything to be retried; empty for all.
    pub retriable_request_headers: Vec<HeaderMatcher>,
    /// Whether a retry avoids the endpoints already tried (`previous_hosts` predicate).
    pub avoid_previous_hosts: bool,
    /// Whether a retry avoids canaries (`omit_canary_hosts` predicate).
    pub omit_canary_hosts: bool,
    /// Endpoints whose `envoy.lb` metadata has all of this are avoided (`omit_host_metadata`
    /// predicate); `None` when unset or empty.
    pub omit_host_metadata: Option<Struct>,
    /// How often another endpoint is drawn to satisfy those: 1 when unset.
    pub host_selection_retry_max_attempts: u32,
    /// After how many attempts retries leave the priorities already tried, and again after as many
    /// more (`previous_priorities`, `update_frequency`); `None` when unset.
    pub previous_priorities: Option<u32>,
}

/// `envoy.config.route.v3.RetryPolicy.RateLimitedRetryBackOff`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateLimitedBackOff {
    /// Where an answer says when to come back, in order; at least one.
    pub reset_headers: Vec<ResetHeader>,
    /// What is longer is passed over: 300 s when unset.
    pub max_interval: Duration,
}

impl RateLimitedBackOff {
    /// Those headers, with waits of up to 300 s.
    pub fn new(reset_headers: Vec<ResetHeader>) -> Self {
        Self { reset_headers, max_interval: Duration::from_secs(300) }
    }
}

/// `envoy.config.route.v3.RetryPolicy.ResetHeader`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResetHeader {
    /// The header.
    pub name: HeaderName,
    /// What its value is.
    pub format: ResetHeaderFormat,
}

/// `envoy.config.route.v3.RetryPolicy.ResetHeaderFormat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetHeaderFormat {
    /// Seconds to wait.
    Seconds,
    /// Seconds since 1970.
    UnixTimestamp,
}

impl RetryPolicy {
    /// A policy with those conditions and Envoy's defaults.
    pub fn new(conditions: RetryConditions) -> Self {
        const BASE: Duration = Duration::from_millis(25);
        Self {
            conditions,
            num_retries: 1,
            per_try_timeout: None,
            per_try_idle_timeout: None,
            retriable_status_codes: Vec::new(),
            base_interval: BASE,
            max_interval: BASE * 10,
            rate_limited_back_off: None,
            retriable_headers: Vec::new(),
            retriable_request_headers: Vec::new(),
            avoid_previous_hosts: false,
            omit_canary_hosts: false,
            omit_host_metadata: None,
            host_selection_retry_max_attempts: 1,
            previous_priorities: None,
        }
    }

    /// Whether a retry looks at the metadata of endpoints.
    pub fn looks_at_metadata(&self) -> bool {
        self.omit_canary_hosts || self.omit_host_metadata.is_some()
    }

    /// Whether a retry should stay away from an endpoint for what its metadata says.
    pub fn omits(&self, metadata: &Metadata) -> bool {
        const BALANCER: &str = "envoy.lb";
        let canary = || metadata.get(BALANCER, ["canary"]) == Some(&Value::Bool(true));
        let has = |(key, want): (&super::Name, &Value)| match metadata.get(BALANCER, [&**key]) {
            Some(Value::List(values)) => values.contains(want),
            value => value == Some(want),
        };
        (self.omit_canary_hosts && canary())
            || self.omit_host_metadata.as_ref().is_some_and(|wanted| wanted.iter().all(has))
    }
}

/// The values of `retry_on`, as a set.
///
/// HTTP: see Envoy's `x-envoy-retry-on`. gRPC: see `x-envoy-retry-grpc-on` and gRFC A44.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RetryConditions(u32);

impl RetryConditions {
    /// Any 5xx answer, and no answer at all.
    pub const FIVE_XX: Self = Self(1);
    /// 502, 503 and 504, and no answer at all.
    pub const GATEWAY_ERROR: Self = Self(1 << 1);
    /// No answer: reset, disconnect or per-try timeout.
    pub const RESET: Self = Self(1 << 2);
    /// As `reset`, when the request was not sent yet.
    pub const RESET_BEFORE_REQUEST: Self = Self(1 << 3);
    /// No connection could be made.
    pub const CONNECT_FAILURE: Self = Self(1 << 4);
    /// The server answered 409.
    pub const RETRIABLE_4XX: Self = Self(1 << 5);
    /// The server refused the stream (`REFUSED_STREAM`).
    pub const REFUSED_STREAM: Self = Self(1 << 6);
    /// A status of `retriable_status_codes`.
    pub const RETRIABLE_STATUS_CODES: Self = Self(1 << 7);
    /// gRPC status CANCELLED.
    pub const CANCELLED: Self = Self(1 << 8);
    /// gRPC status DEADLINE_EXCEEDED.
    pub const DEADLINE_EXCEEDED: Self = Self(1 << 9);
    /// gRPC status INTERNAL.
    pub const INTERNAL: Self = Self(1 << 10);
    /// gRPC status RESOURCE_EXHAUSTED.
    pub const RESOURCE_EXHAUSTED: Self = Self(1 << 11);
    /// gRPC status UNAVAILABLE.
    pub const UNAVAILABLE: Self = Self(1 << 12);

    /// An answer with `x-envoy-ratelimited`; without it such an answer is never retried.
    pub const ENVOY_RATELIMITED: Self = Self(1 << 13);
    /// An answer with a header of `retriable_headers`.
    pub const RETRIABLE_HEADERS: Self = Self(1 << 14);
    /// HTTP/3 failed after a connection was made. It is never used here, so that this is known and
    /// never arises.
    pub const HTTP3_POST_CONNECT_FAILURE: Self = Self(1 << 15);

    const NAMES: [(&'static str, Self); 16] = [
        ("5xx", Self::FIVE_XX),
        ("gateway-error", Self::GATEWAY_ERROR),
        ("reset", Self::RESET),
        ("reset-before-request", Self::RESET_BEFORE_REQUEST),
        ("connect-failure", Self::CONNECT_FAILURE),
        ("retriable-4xx", Self::RETRIABLE_4XX),
        ("refused-stream", Self::REFUSED_STREAM),
        ("retriable-status-codes", Self::RETRIABLE_STATUS_CODES),
        ("cancelled", Self::CANCELLED),
        ("deadline-exceeded", Self::DEADLINE_EXCEEDED),
        ("internal", Self::INTERNAL),
        ("resource-exhausted", Self::RESOURCE_EXHAUSTED),
        ("unavailable", Self::UNAVAILABLE),
        ("envoy-ratelimited", Self::ENVOY_RATELIMITED),
        ("retriable-headers", Self::RETRIABLE_HEADERS),
        ("http3-post-connect-failure", Self::HTTP3_POST_CONNECT_FAILURE),
    ];

    /// The conditions that look at a gRPC status.
    pub const GRPC: Self = Self(0b1_1111 << 8);

    /// The condition of that `retry_on` word, if it is known.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, condition)| *condition)
    }

    /// The conditions of a list of words; what is not known is passed over.
    pub fn of_list(list: &str) -> Self {
        let known = list.split(',').filter_map(|word| Self::of_name(word.trim()));
        known.fold(Self::default(), |all, one| all | one)
    }

    /// The words of `retry_on` for those that are set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let set = Self::NAMES.into_iter().filter(move |(_, condition)| self.intersects(*condition));
        set.map(|(name, _)| name)
    }

    /// Whether none is set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// This set less the conditions of `other`.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The conditions of both sets.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether the sets have a condition in common.
    pub fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl std::ops::BitOr for RetryConditions {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl std::ops::BitOrAssign for RetryConditions {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(fields: &[(&str, Value)]) -> Metadata {
        let fields = fields.iter().map(|(key, value)| ((*key).into(), value.clone())).collect();
        Metadata { fields: [("envoy.lb".into(), fields)].into() }
    }

    #[test]
    fn predicates_omit_canaries_and_endpoints_with_all_of_the_metadata() {
        let text = |text: &str| Value::String(text.into());
        let canary = metadata(&[("canary", Value::Bool(true))]);
        let plain = metadata(&[("canary", text("true"))]);
        let both = metadata(&[("zone", text("a")), ("tier", text("b"))]);
        let list = Value::List(vec![text("c"), text("a")]);
        let listed = metadata(&[("zone", list), ("tier", text("b"))]);
        let one = metadata(&[("zone", text("a"))]);
        let mut policy = RetryPolicy::new(RetryConditions::FIVE_XX);
        let all = [&canary, &plain, &both, &listed, &one];
        let omitted = |policy: &RetryPolicy| all.map(|metadata| policy.omits(metadata));
        assert_eq!(omitted(&policy), [false; 5]);
        policy.omit_canary_hosts = true;
        assert_eq!(omitted(&policy), [true, false, false, false, false]);
        policy.omit_canary_hosts = false;
        policy.omit_host_metadata = Some(both.fields["envoy.lb"].clone());
        assert_eq!(omitted(&policy), [false, false, true, true, false]);
    }
}

//! Retry policy.

use std::time::Duration;

use http::StatusCode;

/// `envoy.config.route.v3.RetryPolicy`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// What is retried.
    pub conditions: RetryConditions,
    /// How many retries at most after the first attempt: 1 when unset, 0 for none.
    pub num_retries: u32,
    /// The deadline of each attempt; `None` when unset or zero (the total one alone).
    pub per_try_timeout: Option<Duration>,
    /// Statuses for [`RetryConditions::RETRIABLE_STATUS_CODES`].
    pub retriable_status_codes: Vec<StatusCode>,
    /// The base of the wait before a retry: 25 ms when unset.
    pub base_interval: Duration,
    /// The cap of the wait: ten times the base when unset.
    pub max_interval: Duration,
    /// Whether a retry avoids the endpoints already tried (`previous_hosts` predicate).
    pub avoid_previous_hosts: bool,
    /// How often another endpoint is drawn to satisfy that: 1 when unset.
    pub host_selection_retry_max_attempts: u32,
}

impl RetryPolicy {
    /// A policy with those conditions and Envoy's defaults.
    pub fn new(conditions: RetryConditions) -> Self {
        const BASE: Duration = Duration::from_millis(25);
        Self {
            conditions,
            num_retries: 1,
            per_try_timeout: None,
            retriable_status_codes: Vec::new(),
            base_interval: BASE,
            max_interval: BASE * 10,
            avoid_previous_hosts: false,
            host_selection_retry_max_attempts: 1,
        }
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
    /// 502, 503 and 504.
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

    const NAMES: [(&'static str, Self); 13] = [
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
    ];

    /// The conditions that look at a gRPC status.
    pub const GRPC: Self = Self(0b1_1111 << 8);

    /// The condition of that `retry_on` word, if it is known.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, condition)| *condition)
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

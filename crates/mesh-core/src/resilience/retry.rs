use std::time::Duration;

use http::StatusCode;

use super::backoff;
use crate::dialect::Dialect;
use crate::resource::{RetryConditions, RetryPolicy};

/// gRFC A44: attempts in all, whatever `num_retries` says.
const GRPC_MAX_RETRIES: u32 = 4;

/// What came of one attempt, as far as retries care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// A response head arrived.
    Response {
        /// Its status.
        status: StatusCode,
        /// `grpc-status`, when it is in the head (a trailers-only answer).
        grpc_status: Option<u16>,
        /// Whether the answer has `x-envoy-ratelimited`.
        rate_limited: bool,
    },
    /// No connection could be made; nothing was sent.
    ConnectFailure,
    /// The server refused the stream before it did anything (`REFUSED_STREAM`).
    Refused,
    /// The connection or stream broke without an answer.
    Reset {
        /// Whether the request's head may have been sent.
        sent: bool,
    },
    /// The attempt took longer than `per_try_timeout`.
    PerTryTimeout,
}

/// What to do after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryDecision {
    /// Take this outcome.
    Done,
    /// Try again after this long.
    After(Duration),
}

/// Whether `policy` retries after `retries` retries ended in `outcome`, and how long to wait.
///
/// Budgets and replayability are the caller's to check.
pub fn decide(
    policy: &RetryPolicy,
    outcome: Outcome,
    retries: u32,
    dialect: Dialect,
    random: u64,
) -> RetryDecision {
    let most = match dialect {
        Dialect::Http => policy.num_retries,
        Dialect::Grpc => policy.num_retries.min(GRPC_MAX_RETRIES),
    };
    if retries >= most || !is_retriable(policy, outcome, dialect) {
        return RetryDecision::Done;
    }
    RetryDecision::After(backoff(policy, retries + 1, dialect, random))
}

/// Whether `policy` names this outcome among its conditions.
pub fn is_retriable(policy: &RetryPolicy, outcome: Outcome, dialect: Dialect) -> bool {
    use RetryConditions as On;
    let conditions = policy.conditions;
    // A reset ends in a 5xx for the caller, so these count it too, as Envoy does.
    let broken = On::FIVE_XX | On::GATEWAY_ERROR | On::RESET;
    // To a gRPC caller every broken attempt is UNAVAILABLE (gRFC A44 looks at the status).
    let unavailable = if dialect == Dialect::Grpc { On::UNAVAILABLE } else { On::default() };
    let any = match outcome {
        Outcome::Response { status, grpc_status, rate_limited } => {
            return response(policy, status, grpc_status, rate_limited, dialect);
        }
        Outcome::ConnectFailure => {
            broken | On::CONNECT_FAILURE | On::RESET_BEFORE_REQUEST | unavailable
        }
        Outcome::Refused => broken | On::REFUSED_STREAM | unavailable,
        Outcome::Reset { sent: true } => broken | unavailable,
        Outcome::Reset { sent: false } => broken | On::RESET_BEFORE_REQUEST | unavailable,
        Outcome::PerTryTimeout => broken,
    };
    conditions.intersects(any)
}

fn response(
    policy: &RetryPolicy,
    status: StatusCode,
    grpc_status: Option<u16>,
    rate_limited: bool,
    dialect: Dialect,
) -> bool {
    use RetryConditions as On;
    // Envoy leaves what an Envoy upstream limited alone, whatever else the policy says.
    if rate_limited && dialect == Dialect::Http {
        return false;
    }
    let conditions = policy.conditions;
    let by_grpc = grpc_status.and_then(grpc_condition).unwrap_or_default();
    let by_list = conditions.intersects(On::RETRIABLE_STATUS_CODES)
        && policy.retriable_status_codes.contains(&status);
    let by_class = match status.as_u16() {
        502..=504 if !rate_limited => On::FIVE_XX | On::GATEWAY_ERROR,
        500..=599 if !rate_limited => On::FIVE_XX,
        409 => On::RETRIABLE_4XX,
        _ => On::default(),
    };
    // A gRPC caller sees UNAVAILABLE for these, by the standard map of HTTP statuses.
    let mapped = match status.as_u16() {
        429 | 502..=504 if dialect == Dialect::Grpc && grpc_status.is_none() => On::UNAVAILABLE,
        _ => On::default(),
    };
    by_list || conditions.intersects(by_grpc | by_class | mapped)
}

fn grpc_condition(status: u16) -> Option<RetryConditions> {
    Some(match status {
        1 => RetryConditions::CANCELLED,
        4 => RetryConditions::DEADLINE_EXCEEDED,
        8 => RetryConditions::RESOURCE_EXHAUSTED,
        13 => RetryConditions::INTERNAL,
        14 => RetryConditions::UNAVAILABLE,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16) -> Outcome {
        let status = StatusCode::from_u16(code).unwrap();
        Outcome::Response { status, grpc_status: None, rate_limited: false }
    }

    fn grpc(code: u16) -> Outcome {
        let grpc_status = Some(code);
        Outcome::Response { status: StatusCode::OK, grpc_status, rate_limited: false }
    }

    /// Which outcomes each `retry_on` word takes in the HTTP dialect (Envoy, measured).
    #[test]
    fn each_word_takes_its_outcomes() {
        let sent = Outcome::Reset { sent: true };
        let unsent = Outcome::Reset { sent: false };
        let all = [
            status(200),
            status(409),
            status(500),
            status(503),
            grpc(14),
            grpc(13),
            sent,
            unsent,
            Outcome::Refused,
            Outcome::ConnectFailure,
            Outcome::PerTryTimeout,
        ];
        let broken =
            [sent, unsent, Outcome::Refused, Outcome::ConnectFailure, Outcome::PerTryTimeout];
        let table: &[(&str, &[Outcome])] = &[
            ("5xx", &[&[status(500), status(503)][..], &broken].concat()),
            ("gateway-error", &[&[status(503)][..], &broken].concat()),
            ("reset", &broken),
            ("reset-before-request", &[unsent, Outcome::ConnectFailure]),
            ("connect-failure", &[Outcome::ConnectFailure]),
            ("refused-stream", &[Outcome::Refused]),
            ("retriable-4xx", &[status(409)]),
            ("unavailable", &[grpc(14)]),
            ("internal", &[grpc(13)]),
        ];
        for (word, want) in table {
            let policy = RetryPolicy::new(RetryConditions::of_name(word).unwrap());
            for outcome in all {
                let got = is_retriable(&policy, outcome, Dialect::Http);
                assert_eq!(got, want.contains(&outcome), "{word} with {outcome:?}");
            }
        }
    }

    #[test]
    fn grpc_counts_broken_attempts_as_unavailable() {
        let policy = RetryPolicy::new(RetryConditions::UNAVAILABLE);
        let broken = Outcome::Reset { sent: true };
        assert!(is_retriable(&policy, broken, Dialect::Grpc));
        assert!(!is_retriable(&policy, broken, Dialect::Http));
    }

    #[test]
    fn stops_after_num_retries_and_grpc_after_five_attempts() {
        let mut policy = RetryPolicy::new(RetryConditions::FIVE_XX);
        policy.num_retries = 9;
        let decide = |retries, dialect| decide(&policy, status(503), retries, dialect, 0);
        assert_eq!(decide(8, Dialect::Http), RetryDecision::After(Duration::ZERO));
        assert_eq!(decide(9, Dialect::Http), RetryDecision::Done);
        assert_ne!(decide(3, Dialect::Grpc), RetryDecision::Done);
        assert_eq!(decide(4, Dialect::Grpc), RetryDecision::Done);
    }

    /// Envoy looks at nothing else once an answer says that it was limited.
    #[test]
    fn rate_limited_answers_are_not_retried_in_http() {
        let mut policy = RetryPolicy::new(
            RetryConditions::FIVE_XX
                | RetryConditions::RETRIABLE_STATUS_CODES
                | RetryConditions::UNAVAILABLE,
        );
        policy.retriable_status_codes = vec![StatusCode::SERVICE_UNAVAILABLE];
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let limited = Outcome::Response { status, grpc_status: Some(14), rate_limited: true };
        assert!(!is_retriable(&policy, limited, Dialect::Http));
        assert!(is_retriable(&policy, limited, Dialect::Grpc));
        policy.conditions = RetryConditions::FIVE_XX;
        assert!(!is_retriable(&policy, limited, Dialect::Grpc));
    }
}

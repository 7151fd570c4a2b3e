//! Retries and hedges against a naive model: the conditions one by one, as Envoy and gRFC A44
//! describe them.

use std::time::{Duration, SystemTime};

use http::StatusCode;
use proptest::prelude::*;

use super::{Ended, Outcome, RetryDecision, RetryState};
use crate::dialect::Dialect;
use crate::resource::{RetryConditions as On, RetryPolicy};

/// Each condition, and what it takes in HTTP.
const CONDITIONS: [(On, fn(&RetryPolicy, Outcome) -> bool); 14] = [
    (On::FIVE_XX, |_, ended| is_broken(ended) || status(ended).is_some_and(|it| it / 100 == 5)),
    (On::GATEWAY_ERROR, |_, ended| is_broken(ended) || matches!(status(ended), Some(502..=504))),
    (On::RESET, |_, ended| is_broken(ended)),
    (On::RESET_BEFORE_REQUEST, |_, ended| {
        matches!(ended, Outcome::ConnectFailure | Outcome::Reset { sent: false })
    }),
    (On::CONNECT_FAILURE, |_, ended| ended == Outcome::ConnectFailure),
    (On::RETRIABLE_4XX, |_, ended| status(ended) == Some(409)),
    (On::REFUSED_STREAM, |_, ended| ended == Outcome::Refused),
    (On::RETRIABLE_STATUS_CODES, |policy, ended| {
        policy.retriable_status_codes.iter().any(|code| status(ended) == Some(code.as_u16()))
    }),
    (On::CANCELLED, |_, ended| grpc(ended) == Some(1)),
    (On::DEADLINE_EXCEEDED, |_, ended| grpc(ended) == Some(4)),
    (On::INTERNAL, |_, ended| grpc(ended) == Some(13)),
    (On::RESOURCE_EXHAUSTED, |_, ended| grpc(ended) == Some(8)),
    (On::UNAVAILABLE, |_, ended| grpc(ended) == Some(14)),
    (On::ENVOY_RATELIMITED, |_, ended| is_limited(ended)),
];

/// Those that gRPC knows.
const OF_GRPC: [(On, u16); 5] = [
    (On::CANCELLED, 1),
    (On::DEADLINE_EXCEEDED, 4),
    (On::RESOURCE_EXHAUSTED, 8),
    (On::INTERNAL, 13),
    (On::UNAVAILABLE, 14),
];

fn is_broken(ended: Outcome) -> bool {
    use Outcome::{ConnectFailure, PerTryTimeout, Refused, Reset};
    matches!(ended, ConnectFailure | Refused | Reset { .. } | PerTryTimeout)
}

fn status(ended: Outcome) -> Option<u16> {
    match ended {
        Outcome::Response { status, .. } => Some(status.as_u16()),
        _ => None,
    }
}

fn grpc(ended: Outcome) -> Option<u16> {
    match ended {
        Outcome::Response { grpc_status, .. } => grpc_status,
        _ => None,
    }
}

fn is_limited(ended: Outcome) -> bool {
    matches!(ended, Outcome::Response { rate_limited: true, .. })
}

fn takes(policy: &RetryPolicy, ended: Outcome, dialect: Dialect) -> bool {
    match dialect {
        Dialect::Http => CONDITIONS.iter().any(|(condition, takes)| {
            let is_about = *condition == On::ENVOY_RATELIMITED || !is_limited(ended);
            policy.conditions.intersects(*condition) && is_about && takes(policy, ended)
        }),
        Dialect::Grpc => {
            // What the caller would be told.
            let told = match (ended, grpc(ended), status(ended)) {
                (_, Some(told), _) => told,
                (_, None, Some(429 | 502 | 503 | 504)) => 14,
                (_, None, Some(400)) => 13,
                (Outcome::PerTryTimeout | Outcome::Dropped | Outcome::Local, ..) => return false,
                (_, None, None) => 14,
                _ => return false,
            };
            let known = |(condition, code): &(On, u16)| {
                policy.conditions.intersects(*condition) && *code == told
            };
            OF_GRPC.iter().any(known)
        }
    }
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let statuses = vec![200, 400, 404, 409, 418, 429, 500, 502, 503, 504, 599];
    let grpc = prop::option::of(prop::sample::select(vec![0_u16, 1, 2, 4, 8, 13, 14]));
    let answer = (prop::sample::select(statuses), grpc, prop::bool::weighted(0.2)).prop_map(
        |(status, grpc_status, rate_limited)| {
            let status = StatusCode::from_u16(status).unwrap();
            Outcome::Response { status, grpc_status, rate_limited }
        },
    );
    let broken = prop::sample::select(vec![
        Outcome::ConnectFailure,
        Outcome::Refused,
        Outcome::Reset { sent: true },
        Outcome::Reset { sent: false },
        Outcome::PerTryTimeout,
        Outcome::Dropped,
        Outcome::Local,
    ]);
    prop_oneof![2 => answer, 1 => broken]
}

fn policy() -> impl Strategy<Value = RetryPolicy> {
    let conditions = prop::sample::subsequence(CONDITIONS.map(|(on, _)| on).to_vec(), 0..6);
    let codes = prop::collection::vec(prop::sample::select(vec![404_u16, 418, 503]), 0..3);
    (conditions, codes, 0..7_u32, (1..50_u64, 1..500_u64)).prop_map(
        |(conditions, codes, retries, (base, max))| {
            let any = conditions.into_iter().fold(On::default(), |any, one| any | one);
            let mut made = RetryPolicy::new(any);
            made.retriable_status_codes =
                codes.into_iter().map(|code| StatusCode::from_u16(code).unwrap()).collect();
            made.num_retries = retries;
            made.base_interval = Duration::from_millis(base);
            made.max_interval = Duration::from_millis(base.max(max));
            made
        },
    )
}

/// The shortest and the longest wait before the next retry, in seconds.
fn waits(policy: &RetryPolicy, before: u32, dialect: Dialect) -> (f64, f64) {
    let mut cap = policy.base_interval;
    for _ in 0..before {
        cap *= 2;
    }
    let cap = cap.min(policy.max_interval).as_secs_f64();
    match dialect {
        Dialect::Http => (0.0, cap),
        Dialect::Grpc => (0.8 * cap, 1.2 * cap),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn retries_and_hedges_are_those_of_the_model(
        policy in policy(),
        is_grpc in any::<bool>(),
        attempts in prop::collection::vec(
            (outcome(), prop::bool::weighted(0.2), any::<u64>()), 1..10,
        ),
    ) {
        let dialect = if is_grpc { Dialect::Grpc } else { Dialect::Http };
        let most = if is_grpc { policy.num_retries.min(4) } else { policy.num_retries };
        let (mut state, mut retries) = (RetryState::default(), 0);
        for (outcome, takes_its_time, random) in attempts {
            // gRPC hedges nothing.
            let hedges = takes_its_time && !is_grpc;
            let ended = Ended::unanswered(outcome, SystemTime::UNIX_EPOCH);
            let found = match hedges {
                true => state.hedge(&policy, random),
                false => state.decide(&policy, &ended, dialect, random),
            };
            let (least, longest) = waits(&policy, retries, dialect);
            match found {
                RetryDecision::After(wait) => {
                    let wait = wait.as_secs_f64();
                    prop_assert!(least - 1e-6 <= wait && wait <= longest + 1e-6, "{wait}");
                    prop_assert!(hedges || takes(&policy, outcome, dialect), "{:?}", outcome);
                    prop_assert!(retries < most);
                    state.retried(found);
                    retries += 1;
                }
                RetryDecision::Exhausted => {
                    prop_assert!(hedges || takes(&policy, outcome, dialect), "{:?}", outcome);
                    prop_assert_eq!(retries, most);
                }
                RetryDecision::Done => {
                    prop_assert!(!hedges && !takes(&policy, outcome, dialect), "{:?}", outcome);
                }
                RetryDecision::AfterPushback(_) => prop_assert!(false, "nobody said a time"),
            }
            prop_assert_eq!(state.retries(), retries);
        }
    }
}

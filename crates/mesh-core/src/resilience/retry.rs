use std::time::{Duration, SystemTime};

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::{backoff, pushback, reset_interval};
use crate::dialect::Dialect;
use crate::head::Head;
use crate::resource::{HeaderMatcher, RetryConditions, RetryPolicy};
use crate::route::header_matches;

// Names, and not text, which each look-up parses anew: 160 instructions.
static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// A header of an answer that is not to be tried again, `x-mesh-retries-spent: true`: whoever gave it
/// had to ask others, and tried that as often as it was allowed to.
///
/// Servers of a mesh add it to failures, so that the retries of a chain do not multiply: the one next
/// to the failure tries again, and no other. Where a policy names it among its `retriable_headers`,
/// such an answer is tried again all the same. To gRPC clients `grpc-retry-pushback-ms: -1` says it.
pub static RETRIES_SPENT: HeaderName = HeaderName::from_static("x-mesh-retries-spent");
static RATE_LIMITED: HeaderName = HeaderName::from_static("x-envoy-ratelimited");

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
    /// The attempt took longer than `per_try_timeout` or `per_try_idle_timeout`.
    PerTryTimeout,
    /// It was dropped here, by a drop category or a circuit breaker. Never tried again (gRFC A6,
    /// and Envoy on overflow).
    Dropped,
    /// It failed by the caller's doing, or by ours: its body broke off, or it is none that can be
    /// sent. Says nothing of the endpoint, and would end the same way on another one.
    Local,
}

impl Outcome {
    /// Whether an answer with these headers is a gRPC one that states its status in its head, so
    /// that the HTTP one may not be its outcome. Other answers may hold that header for any reason.
    #[inline]
    pub fn states_grpc(headers: &HeaderMap) -> bool {
        let is_grpc = |kind: &HeaderValue| kind.as_bytes().starts_with(b"application/grpc");
        // In this order: few answers have such a status, and none is hashed to find that out.
        names(headers, &GRPC_STATUS) && headers.get(&CONTENT_TYPE).is_some_and(is_grpc)
    }

    /// The outcome of an answer.
    pub fn of_response(status: StatusCode, headers: &HeaderMap) -> Self {
        let grpc_status = headers.get(&GRPC_STATUS);
        Self::Response {
            status,
            grpc_status: grpc_status.and_then(|status| status.to_str().ok()?.parse().ok()),
            rate_limited: headers.contains_key(&RATE_LIMITED),
        }
    }
}

/// How one attempt ended, with all that a decision may look at.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Ended<'a> {
    /// What came of it.
    pub outcome: Outcome,
    /// The headers of the answer, where there was one.
    pub headers: Option<&'a HeaderMap>,
    /// The time, which an answer may have named for another attempt.
    pub time: SystemTime,
}

impl<'a> Ended<'a> {
    /// An attempt that was answered at `time`.
    pub fn answered(status: StatusCode, headers: &'a HeaderMap, time: SystemTime) -> Self {
        Self { outcome: Outcome::of_response(status, headers), headers: Some(headers), time }
    }

    /// An attempt without an answer.
    pub fn unanswered(outcome: Outcome, time: SystemTime) -> Self {
        Self { outcome, headers: None, time }
    }
}

/// What to do after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetryDecision {
    /// Take this outcome.
    Done,
    /// Take this outcome, although it is one to retry: all retries are used up (Envoy's flag URX).
    Exhausted,
    /// Try again after this long.
    After(Duration),
    /// Try again after this long, which the server said; waits begin anew after that.
    AfterPushback(Duration),
}

/// The retries of one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetryState {
    retries: u32,
    /// Retries since waits began anew.
    waits: u32,
}

impl RetryState {
    /// How many there were.
    pub fn retries(&self) -> u32 {
        self.retries
    }

    /// Whether `policy` retries after an attempt that ended like this, and how long to wait.
    ///
    /// Budgets and replayability are the caller's to check, who then says
    /// [`retried`](Self::retried).
    pub fn decide(
        &self,
        policy: &RetryPolicy,
        ended: &Ended<'_>,
        dialect: Dialect,
        random: u64,
    ) -> RetryDecision {
        let listed = || {
            dialect == Dialect::Http
                && !limited(ended.outcome)
                && ended.headers.is_some_and(|headers| header_listed(policy, headers))
        };
        let spent = || {
            dialect == Dialect::Http
                && ended.headers.is_some_and(|headers| headers.contains_key(&RETRIES_SPENT))
        };
        if (!is_retriable(policy, ended.outcome, dialect) || spent()) && !listed() {
            return RetryDecision::Done;
        }
        if self.retries >= most(policy, dialect) {
            return RetryDecision::Exhausted;
        }
        match (dialect, ended.headers) {
            (Dialect::Grpc, Some(headers)) => match pushback::of(headers) {
                Some(pushback::Pushback::Stop) => return RetryDecision::Done,
                Some(pushback::Pushback::After(wait)) => return RetryDecision::AfterPushback(wait),
                None => {}
            },
            (Dialect::Http, Some(headers)) => {
                let back_off = policy.rate_limited_back_off.as_ref();
                let wait = back_off.and_then(|it| reset_interval(it, headers, ended.time, random));
                if let Some(wait) = wait {
                    return RetryDecision::After(wait);
                }
            }
            (_, None) => {}
        }
        RetryDecision::After(backoff(policy, self.waits + 1, dialect, random))
    }

    /// Whether another attempt begins beside one that has taken its time, and after how long: for
    /// as long as there are retries, whatever the policy's conditions (Envoy).
    pub fn hedge(&self, policy: &RetryPolicy, random: u64) -> RetryDecision {
        if self.retries >= most(policy, Dialect::Http) {
            return RetryDecision::Exhausted;
        }
        RetryDecision::After(backoff(policy, self.waits + 1, Dialect::Http, random))
    }

    /// Counts the retry that was decided on.
    pub fn retried(&mut self, decision: RetryDecision) {
        self.retries += 1;
        match decision {
            RetryDecision::AfterPushback(_) => self.waits = 0,
            _ => self.waits += 1,
        }
    }
}

fn limited(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Response { rate_limited: true, .. })
}

/// Whether an answer has one of the policy's `retriable_headers`.
fn header_listed(policy: &RetryPolicy, headers: &HeaderMap) -> bool {
    policy.conditions.intersects(RetryConditions::RETRIABLE_HEADERS)
        && any_matches(
            &policy.retriable_headers,
            &Head::of_parts(&Method::GET, "", "", "", headers),
        )
}

fn any_matches(matchers: &[HeaderMatcher], head: &Head<'_>) -> bool {
    matchers.iter().any(|matcher| header_matches(matcher, head, Dialect::Http))
}

/// Whether a policy retries this request at all: `retriable_request_headers`, which gRPC does not
/// know.
#[inline]
pub fn takes_request(policy: &RetryPolicy, head: &Head<'_>, dialect: Dialect) -> bool {
    policy.retriable_request_headers.is_empty()
        || dialect == Dialect::Grpc
        || any_matches(&policy.retriable_request_headers, head)
}

/// Whether an answer in plain HTTP is seen at once to be none that `policy` retries: a success that
/// nothing else is said of. Where it is not, [`RetryState::decide`] finds out.
#[inline]
pub fn is_settled(policy: &RetryPolicy, status: StatusCode, headers: &HeaderMap) -> bool {
    use RetryConditions as On;
    let asks_headers = policy.conditions.intersects(On::RETRIABLE_HEADERS | On::ENVOY_RATELIMITED);
    if !status.is_success() || asks_headers || policy.retriable_status_codes.contains(&status) {
        return false;
    }
    !policy.conditions.intersects(On::GRPC) || !names(headers, &GRPC_STATUS)
}

/// Whether there is a header of that name: to compare the few names of an answer is less than to
/// hash one.
//
// A loop, and no closure, so that it becomes part of its caller.
#[inline(always)]
fn names(headers: &HeaderMap, name: &HeaderName) -> bool {
    for key in headers.keys() {
        if key == name {
            return true;
        }
    }
    false
}

fn most(policy: &RetryPolicy, dialect: Dialect) -> u32 {
    match dialect {
        Dialect::Http => policy.num_retries,
        Dialect::Grpc => policy.num_retries.min(GRPC_MAX_RETRIES),
    }
}

/// Whether `policy` names this outcome among its conditions, as far as that can be told without
/// headers.
fn is_retriable(policy: &RetryPolicy, outcome: Outcome, dialect: Dialect) -> bool {
    use RetryConditions as On;
    let conditions = match dialect {
        Dialect::Http => policy.conditions,
        // gRFC A44 knows these and passes over the others.
        Dialect::Grpc => policy.conditions.and(On::GRPC),
    };
    // A reset ends in a 5xx for the caller, so these count it too, as Envoy does.
    let broken = On::FIVE_XX | On::GATEWAY_ERROR | On::RESET;
    // To a gRPC caller every broken attempt is UNAVAILABLE (gRFC A44 looks at the status).
    let unavailable = if dialect == Dialect::Grpc { On::UNAVAILABLE } else { On::default() };
    let any = match outcome {
        Outcome::Response { status, grpc_status, rate_limited } => match dialect {
            Dialect::Http => return http_response(policy, status, grpc_status, rate_limited),
            Dialect::Grpc => grpc_response(status, grpc_status),
        },
        Outcome::ConnectFailure => {
            broken | On::CONNECT_FAILURE | On::RESET_BEFORE_REQUEST | unavailable
        }
        Outcome::Refused => broken | On::REFUSED_STREAM | unavailable,
        Outcome::Reset { sent: true } => broken | unavailable,
        Outcome::Reset { sent: false } => broken | On::RESET_BEFORE_REQUEST | unavailable,
        Outcome::PerTryTimeout => broken,
        Outcome::Dropped | Outcome::Local => On::default(),
    };
    conditions.intersects(any)
}

fn http_response(
    policy: &RetryPolicy,
    status: StatusCode,
    grpc_status: Option<u16>,
    rate_limited: bool,
) -> bool {
    use RetryConditions as On;
    let conditions = policy.conditions;
    // What an upstream Envoy limited is retried where that is asked for, whatever else is.
    if rate_limited {
        return conditions.intersects(On::ENVOY_RATELIMITED);
    }
    let by_list = conditions.intersects(On::RETRIABLE_STATUS_CODES)
        && policy.retriable_status_codes.contains(&status);
    let by_class = match status.as_u16() {
        502..=504 => On::FIVE_XX | On::GATEWAY_ERROR,
        500..=599 => On::FIVE_XX,
        409 => On::RETRIABLE_4XX,
        _ => On::default(),
    };
    let by_grpc = grpc_status.and_then(grpc_condition).unwrap_or_default();
    by_list || conditions.intersects(by_grpc | by_class)
}

/// What a gRPC caller sees of an answer: its status, or UNAVAILABLE for some HTTP statuses, by the
/// standard map.
fn grpc_response(status: StatusCode, grpc_status: Option<u16>) -> RetryConditions {
    match (grpc_status, status.as_u16()) {
        (Some(status), _) => grpc_condition(status).unwrap_or_default(),
        (None, 429 | 502..=504) => RetryConditions::UNAVAILABLE,
        (None, 400) => RetryConditions::INTERNAL,
        (None, _) => RetryConditions::default(),
    }
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
mod model;
#[cfg(test)]
mod tests;

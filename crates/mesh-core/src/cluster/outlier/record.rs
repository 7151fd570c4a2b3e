use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;

use crate::dialect::Dialect;
use crate::resilience::Outcome;
use crate::resource::OutlierDetection;

/// How an attempt ended, as far as outlier detection cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Observed {
    /// An answer with this status.
    Status(StatusCode),
    /// A gRPC call ended with this status.
    Call {
        /// The status, 0 for OK.
        status: u16,
    },
    /// No connection could be made.
    ConnectFailure,
    /// The connection or stream broke without an answer.
    Reset,
    /// No answer came in time.
    Timeout,
}

impl Observed {
    /// What an attempt says of its endpoint; `None` for one that never got there.
    pub fn of(outcome: Outcome) -> Option<Self> {
        Some(match outcome {
            Outcome::Response { grpc_status: Some(status), .. } => Self::Call { status },
            Outcome::Response { status, .. } => Self::Status(status),
            Outcome::ConnectFailure => Self::ConnectFailure,
            Outcome::Refused | Outcome::Reset { .. } => Self::Reset,
            Outcome::PerTryTimeout => Self::Timeout,
            Outcome::Dropped | Outcome::Local => return None,
        })
    }
}

/// What outlier detection knows of one endpoint in one dialect.
///
/// Relaxed throughout: the numbers are all that matters, and nothing is published through them.
///
/// In the order in which it is laid out: what every request touches is in front.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Record {
    /// When it was ejected, as the detector's clock counts; 0 while it is not.
    ejected_at: AtomicU64,
    /// What the endpoint answered in this interval.
    answers: Bucket,
    consecutive_5xx: AtomicU32,
    consecutive_gateway_failure: AtomicU32,
    consecutive_local_origin_failure: AtomicU32,
    /// Its place among the endpoints of the cluster.
    number: AtomicU32,
    /// Of few endpoints, made when it is first written to.
    rare: OnceLock<Box<Rare>>,
}

/// What is known of an endpoint that was ejected, or whose failures are split by origin.
#[derive(Debug, Default)]
struct Rare {
    /// How many times the base time an ejection lasts.
    multiplier: AtomicU32,
    /// Whether it could be reached in this interval; used when failures are split by origin.
    reached: Bucket,
    /// When it last returned; 0 when it never did.
    returned_at: AtomicU64,
    /// What is added to its ejection.
    jitter_ms: AtomicU64,
}

/// Successes in the high half, all in the low one, so that one addition counts both and one swap
/// takes both.
#[derive(Debug, Default)]
struct Bucket(AtomicU64);

/// What a bucket held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rate {
    pub(super) succeeded: u32,
    pub(super) total: u32,
}

impl Bucket {
    fn count(&self, success: bool) {
        self.0.fetch_add((u64::from(success) << 32) | 1, Ordering::Relaxed);
    }

    fn take(&self) -> Rate {
        let both = self.0.swap(0, Ordering::Relaxed);
        Rate { succeeded: (both >> 32) as u32, total: both as u32 }
    }
}

/// Which condition makes an ejection due at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Consecutive5xx,
    ConsecutiveGatewayFailure,
    ConsecutiveLocalOriginFailure,
}

impl Due {
    pub(super) fn enforcing(self, spec: &OutlierDetection) -> u32 {
        match self {
            Self::Consecutive5xx => spec.enforcing_consecutive_5xx,
            Self::ConsecutiveGatewayFailure => spec.enforcing_consecutive_gateway_failure,
            Self::ConsecutiveLocalOriginFailure => spec.enforcing_consecutive_local_origin_failure,
        }
    }
}

/// The conditions one attempt makes due, at most two.
pub(super) type Dues = [Option<Due>; 2];

impl Record {
    /// Whether the endpoint is out.
    #[inline]
    pub fn is_ejected(&self) -> bool {
        self.ejected_at.load(Ordering::Relaxed) != 0
    }

    /// How many times the base time its ejection lasts, or its next one less one.
    pub fn multiplier(&self) -> u32 {
        self.rare.get().map_or(0, |rare| rare.multiplier.load(Ordering::Relaxed))
    }

    fn rare(&self) -> &Rare {
        self.rare.get_or_init(Box::default)
    }

    /// Notes how an attempt ended.
    #[inline]
    pub(super) fn note(
        &self,
        spec: &OutlierDetection,
        dialect: Dialect,
        observed: Observed,
    ) -> Dues {
        if dialect == Dialect::Grpc {
            // A connection that was never made is no call (gRFC A50 counts calls).
            let ok = match observed {
                Observed::ConnectFailure => return [None; 2],
                Observed::Call { status } => status == 0,
                Observed::Status(status) => status == StatusCode::OK,
                Observed::Reset | Observed::Timeout => false,
            };
            self.answers.count(ok);
            return [None; 2];
        }
        let status = match observed {
            Observed::Status(status) => status.as_u16(),
            Observed::Call { status } => http_status(status),
            _ => return self.note_local(spec, observed),
        };
        if spec.split_external_local_origin_errors {
            self.reached();
        }
        self.note_answer(spec, status)
    }

    #[inline]
    fn note_answer(&self, spec: &OutlierDetection, status: u16) -> Dues {
        let failed = (500..600).contains(&status);
        self.answers.count(!failed);
        if !failed {
            reset(&self.consecutive_5xx);
            reset(&self.consecutive_gateway_failure);
            return [None; 2];
        }
        self.note_5xx(spec, (502..=504).contains(&status))
    }

    #[cold]
    fn note_5xx(&self, spec: &OutlierDetection, gateway: bool) -> Dues {
        let by_gateway = if gateway {
            reaches(&self.consecutive_gateway_failure, spec.consecutive_gateway_failure)
        } else {
            reset(&self.consecutive_gateway_failure);
            false
        };
        let by_5xx = reaches(&self.consecutive_5xx, spec.consecutive_5xx);
        [
            by_gateway.then_some(Due::ConsecutiveGatewayFailure),
            by_5xx.then_some(Due::Consecutive5xx),
        ]
    }

    /// A failure that arose here. Envoy counts a 504 for a timeout and a 503 for the others unless
    /// they are split, and then a connection that broke as one that had been made.
    #[cold]
    fn note_local(&self, spec: &OutlierDetection, observed: Observed) -> Dues {
        if !spec.split_external_local_origin_errors {
            let status = if observed == Observed::Timeout { 504 } else { 503 };
            return self.note_answer(spec, status);
        }
        if observed != Observed::ConnectFailure {
            self.reached();
        }
        self.rare().reached.count(false);
        let counter = &self.consecutive_local_origin_failure;
        let due = reaches(counter, spec.consecutive_local_origin_failure);
        [due.then_some(Due::ConsecutiveLocalOriginFailure), None]
    }

    fn reached(&self) {
        self.rare().reached.count(true);
        reset(&self.consecutive_local_origin_failure);
    }

    /// Begins the count of a condition anew, whether or not it led to an ejection.
    pub(super) fn settle(&self, due: Due) {
        reset(match due {
            Due::Consecutive5xx => &self.consecutive_5xx,
            Due::ConsecutiveGatewayFailure => &self.consecutive_gateway_failure,
            Due::ConsecutiveLocalOriginFailure => &self.consecutive_local_origin_failure,
        });
    }

    /// What was counted since the last time: answers, and whether it could be reached.
    pub(super) fn take(&self) -> (Rate, Rate) {
        let reached = self.rare.get().map_or(Rate::default(), |rare| rare.reached.take());
        (self.answers.take(), reached)
    }

    pub(super) fn set_number(&self, number: u32) {
        self.number.store(number, Ordering::Relaxed);
    }

    pub(crate) fn number(&self) -> u32 {
        self.number.load(Ordering::Relaxed)
    }

    /// Marks the endpoint as ejected at `at`; false when it already is.
    pub(super) fn eject(&self, at: u64, jitter_ms: u64) -> bool {
        let order = Ordering::Relaxed;
        let first = self.ejected_at.compare_exchange(0, at, order, order).is_ok();
        if first {
            self.rare().jitter_ms.store(jitter_ms, order);
        }
        first
    }

    pub(super) fn raise(&self) {
        self.rare().multiplier.fetch_add(1, Ordering::Relaxed);
    }

    /// Only the sweep lowers it, so what is read here is there still.
    pub(super) fn lower(&self) {
        if self.multiplier() > 0 {
            self.rare().multiplier.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Since when it is ejected, and what is added to that ejection.
    pub(super) fn ejection(&self) -> Option<(u64, Duration)> {
        let at = self.ejected_at.load(Ordering::Relaxed);
        let jitter = self.rare.get().map_or(0, |rare| rare.jitter_ms.load(Ordering::Relaxed));
        (at != 0).then_some((at, Duration::from_millis(jitter)))
    }

    /// When it last returned.
    pub(super) fn returned_at(&self) -> Option<u64> {
        let rare = self.rare.get()?;
        Some(rare.returned_at.load(Ordering::Relaxed)).filter(|at| *at != 0)
    }

    /// Lets the endpoint return; counts in a row begin anew, so that one more failure does not
    /// eject it again.
    pub(super) fn restore(&self, at: u64) {
        self.ejected_at.store(0, Ordering::Relaxed);
        if at != 0 || self.rare.get().is_some() {
            self.rare().returned_at.store(at, Ordering::Relaxed);
        }
        reset(&self.consecutive_5xx);
        reset(&self.consecutive_gateway_failure);
        reset(&self.consecutive_local_origin_failure);
    }

    /// As if nothing had ever been noted.
    pub(super) fn clear(&self) {
        self.restore(0);
        if let Some(rare) = self.rare.get() {
            rare.multiplier.store(0, Ordering::Relaxed);
        }
        self.take();
    }
}

/// As which HTTP status the one of a call counts, as in Envoy.
fn http_status(grpc_status: u16) -> u16 {
    match grpc_status {
        0 => 200,
        1 => 499,
        3 | 9 | 11 => 400,
        4 => 504,
        5 => 404,
        6 | 10 => 409,
        7 => 403,
        8 => 429,
        12 => 501,
        14 => 503,
        16 => 401,
        // Unknown, internal, data loss, and what is no status.
        _ => 500,
    }
}

/// A store only where there is something to reset: most of the time the line is only read.
#[inline]
fn reset(counter: &AtomicU32) {
    if counter.load(Ordering::Relaxed) != 0 {
        counter.store(0, Ordering::Relaxed);
    }
}

/// Counts one more and says whether that makes exactly `limit`: one thread sees it.
fn reaches(counter: &AtomicU32, limit: u32) -> bool {
    counter.fetch_add(1, Ordering::Relaxed).wrapping_add(1) == limit && limit != 0
}

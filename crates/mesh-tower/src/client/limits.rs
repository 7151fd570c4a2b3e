use std::time::Instant;

use mesh_core::Dialect;
use mesh_core::resilience::{Timeouts, attempt_deadline, total_deadline};
use mesh_core::route::Forwarding;

use super::now;

/// When a request must be over, and the attempt under way.
///
/// What a route allows counts from when something is first waited for, some hundred nanoseconds
/// after the request began: a look at the clock costs some 23 ns, and a request that is
/// answered at once has no use for it.
pub(super) struct Limits {
    /// The caller's deadline alone, until it is known what the route allows.
    total: Option<Instant>,
    /// The attempt's own limit, where it ends before the request's.
    own: Option<Instant>,
    known: Known,
}

#[derive(PartialEq, Eq)]
enum Known {
    Nothing,
    /// Of the request, but not of the attempt under way.
    Total,
    All,
}

impl Limits {
    /// The limits of a request whose caller waits no longer than `caller`.
    #[inline(always)]
    pub(super) fn new(forwarding: &Forwarding, dialect: Dialect, caller: Option<Instant>) -> Self {
        let none = match dialect {
            Dialect::Http => !forwarding.is_limited(),
            Dialect::Grpc => {
                forwarding.timeout(dialect).is_none() && forwarding.retry_policy().is_none()
            }
        };
        Self { total: caller, own: None, known: if none { Known::All } else { Known::Nothing } }
    }

    /// The limits of a request that has some of its own.
    pub(super) fn asked(caller: Option<Instant>) -> Self {
        Self { total: caller, own: None, known: Known::Nothing }
    }

    /// Whether the clock need not be looked at for the attempt under way.
    #[inline]
    pub(super) fn are_known(&self) -> bool {
        self.known == Known::All
    }

    /// Works out what is not known yet; `asked` counts in place of what the route says.
    #[cold]
    pub(super) fn begin(
        &mut self,
        forwarding: &Forwarding,
        dialect: Dialect,
        asked: Option<&Timeouts>,
    ) {
        let now = now();
        if self.known == Known::Nothing {
            let of_route = || forwarding.timeout(dialect);
            self.total =
                total_deadline(now, asked.map_or_else(of_route, Timeouts::longest), self.total);
        }
        let of_try = match (asked, forwarding.retry_policy()) {
            (Some(asked), _) => [asked.per_try, asked.per_try_idle],
            (None, Some(policy)) => [policy.per_try_timeout, policy.per_try_idle_timeout],
            (None, None) => [None; 2],
        };
        // Until the head of an answer both mean the same: not a byte of it.
        let per_try = of_try.into_iter().flatten().min();
        let limit = per_try.and_then(|limit| attempt_deadline(now, Some(limit), self.total));
        self.own = limit.and_then(|(deadline, own)| own.then_some(deadline));
        self.known = Known::All;
    }

    /// Another attempt begins.
    pub(super) fn next_attempt(&mut self) {
        self.own = None;
        if self.known == Known::All {
            self.known = Known::Total;
        }
    }

    /// When the request must be over, as far as it is known.
    #[inline]
    pub(super) fn total(&self) -> Option<Instant> {
        self.total
    }

    /// When the attempt under way must be over.
    #[inline]
    pub(super) fn attempt(&self) -> Option<Instant> {
        self.own.or(self.total)
    }

    /// Whether the attempt ends before the request.
    pub(super) fn has_own(&self) -> bool {
        self.own.is_some()
    }
}

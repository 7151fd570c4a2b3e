//! Whether another attempt follows, once it is decided that one should.

use std::net::SocketAddr;

use http::Request;
use mesh_core::Dialect;
use mesh_core::exchange::ResponseFlags;
use mesh_core::resilience::{Ended, Outcome, RetryDecision};

use super::{Again, Flight};
use crate::body::Body;
use crate::client::copy::Copy;
use crate::spent;

/// Whether an attempt that is not tried again was answered badly, although all was tried that may be,
/// or was answered by somebody who says so of another.
#[cold]
pub(super) fn is_spent(decision: RetryDecision, ended: &Ended<'_>, has_retried: bool) -> bool {
    let bad = matches!(ended.outcome, Outcome::Response { .. } | Outcome::PerTryTimeout);
    match decision {
        RetryDecision::Done => ended.headers.is_some_and(spent::is_told),
        _ => bad && has_retried,
    }
}

impl Flight {
    /// The request of another attempt, as decided, if it is admitted.
    pub(super) fn again(
        &mut self,
        decision: RetryDecision,
        last: Option<SocketAddr>,
        unsent: Option<Request<Body>>,
        copy: &mut Option<Box<Copy>>,
    ) -> Option<Again> {
        let (RetryDecision::After(after) | RetryDecision::AfterPushback(after)) = decision else {
            if decision == RetryDecision::Exhausted {
                self.flag(ResponseFlags::UPSTREAM_RETRY_LIMIT_EXCEEDED);
            }
            return None;
        };
        let priority = self.hold.forwarding(self.route)?.priority();
        let policy = self.policy()?;
        let (avoids_hosts, leaves) = (policy.avoid_previous_hosts, policy.previous_priorities);
        let history = self.history.get_or_insert_default();
        // The attempt before gives its place back first: it is over.
        (history.retry_permit, history.counted) = (None, None);
        let routed = self.hold.cluster(self.routed)?;
        let Ok(permit) = routed.admit_retry_as(priority) else {
            self.flag(ResponseFlags::UPSTREAM_OVERFLOW);
            return None;
        };
        // Only once it is admitted: the body of another attempt cuts off the one before.
        let request = match unsent {
            Some(request) => request,
            None => copy.as_mut()?.next()?,
        };
        let left = leaves.filter(|_| self.dialect == Dialect::Http).and_then(|often| {
            let state = self.hold.cluster(self.cluster)?;
            Some((state.tables_of(self.dialect).priority_of(last?)?, often))
        });
        let history = self.history.get_or_insert_default();
        history.retry_permit = Some(permit);
        history.retries.retried(decision);
        if avoids_hosts {
            history.tried.extend(last);
        }
        if let Some((priority, often)) = left {
            history.priorities.attempted(priority, often);
        }
        Some((after, request))
    }
}

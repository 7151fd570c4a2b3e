//! Attempts of one request that go on side by side.

use std::time::{Instant, SystemTime};

use http::{HeaderMap, StatusCode};
use mesh_core::cluster::outlier::Observed;
use mesh_core::cluster::{CountedRequest, Permit, Picked, RetryPermit};
use mesh_core::exchange::{Failure, ResponseFlags};
use mesh_core::resilience::{Ended, RetryDecision};

use super::{Again, Flight};
use crate::body::BoxError;
use crate::client::copy::Copy;
use crate::client::failing::failure_of;
use crate::client::transport::Failed;
use crate::error::Error;
use crate::mesh::Io;

/// What one attempt holds, while others are made.
#[derive(Default)]
pub(in crate::client) struct Held {
    endpoint: Option<Picked<Io>>,
    permit: Option<Permit>,
    retry_permit: Option<RetryPermit>,
    counted: Option<CountedRequest>,
    /// Whether another attempt was made beside it.
    pub(in crate::client) is_hedged: bool,
}

impl Flight {
    /// Whether attempts that take their time go on beside others.
    #[inline(always)]
    pub(in crate::client) fn hedges(&self) -> bool {
        self.history.as_ref().is_some_and(|history| history.hedges)
    }

    /// What the attempt that was just made holds.
    pub(in crate::client) fn release(&mut self) -> Held {
        let (endpoint, permit) = (self.endpoint.take(), self.permit.take());
        let history = self.history.get_or_insert_default();
        let (retry_permit, counted) = (history.retry_permit.take(), history.counted.take());
        Held { endpoint, permit, retry_permit, counted, is_hedged: false }
    }

    /// Takes back what an attempt held that is over.
    pub(in crate::client) fn take_up(&mut self, held: &mut Held) {
        self.endpoint = held.endpoint.take();
        self.permit = held.permit.take();
        let history = self.history.get_or_insert_default();
        history.counted = held.counted.take();
        // The place of one that was hedged is free: what retries hold now is the next one's.
        if !held.is_hedged {
            history.retry_permit = held.retry_permit.take();
        }
    }

    /// Lets go of an attempt that is over and brought nothing.
    pub(in crate::client) fn let_go(&mut self) {
        (self.endpoint, self.permit) = (None, None);
        self.history.get_or_insert_default().counted = None;
    }

    /// The request of another attempt beside one that has taken its time, if there is to be one.
    pub(in crate::client) fn hedge(
        &mut self,
        held: &mut Held,
        copy: &mut Option<Box<Copy>>,
    ) -> Option<Again> {
        held.is_hedged = true;
        self.endpoint = held.endpoint.take();
        self.observe(Observed::Timeout);
        held.endpoint = self.endpoint.take();
        let random = self.random.next();
        let retries = self.history.as_ref().map(|history| history.retries).unwrap_or_default();
        let decision = retries.hedge(self.policy()?, random);
        let last = held.endpoint.as_ref().map(|endpoint| endpoint.address());
        self.again(decision, last, None, copy)
    }

    /// Admits one more request to the cluster.
    pub(in crate::client) fn admit_another(&mut self) -> Result<(), Error> {
        let state = self.hold.cluster(self.cluster).expect("it was there when the flight began");
        let forwarding = self.hold.forwarding(self.route).expect("the decision was to forward");
        match state.admit_as(forwarding.priority()) {
            Ok(permit) => self.permit = Some(permit),
            Err(full) => {
                let error = self.failing().not_admitted(state, full);
                self.flag(ResponseFlags::UPSTREAM_OVERFLOW);
                return Err(error);
            }
        }
        Ok(())
    }

    /// When the attempt that was just made has taken its time.
    pub(in crate::client) fn own_deadline(&mut self) -> Option<Instant> {
        let limit = self.limits().attempt();
        limit.filter(|_| self.limits.has_own())
    }

    /// When the request is over, or was silent for too long.
    pub(in crate::client) fn silence_or_end(&mut self) -> Option<Instant> {
        let total = self.total_deadline();
        total.into_iter().chain(self.idle().and_then(|idle| idle.deadline())).min()
    }

    /// The error of a request for which that has come.
    pub(in crate::client) fn ended_by_time(&self) -> Error {
        match self.idle().filter(|idle| idle.is_over()) {
            Some(idle) => self.failed(Failure::StreamIdle { is_sent: idle.is_sent() }),
            None => self.failed(self.failing().over()),
        }
    }

    /// Whether the policy would have an answer tried again, if there were retries left.
    pub(in crate::client) fn is_retriable(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        let ended = Ended::answered(status, headers, SystemTime::now());
        let retries = self.history.as_ref().map(|history| history.retries).unwrap_or_default();
        let decide = |policy| retries.decide(policy, &ended, self.dialect, 0);
        self.policy().is_some_and(|policy| decide(policy) != RetryDecision::Done)
    }

    /// Why an attempt ended without an answer, which is not tried again.
    pub(in crate::client) fn gave_up(&mut self, failed: Box<Failed>) -> (Failure, BoxError) {
        if let Some(observed) = Observed::of(failed.outcome) {
            self.observe(observed);
        }
        (failure_of(&failed), failed.error)
    }
}

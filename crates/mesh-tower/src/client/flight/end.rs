//! How attempts end, and whether another one follows.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Request, StatusCode};
use mesh_core::Dialect;
use mesh_core::cluster::outlier::Observed;
use mesh_core::cluster::{ClusterState, EndpointState};
use mesh_core::exchange::{Failure, ResponseFlags};
use mesh_core::resilience::{Ended, Outcome, RetryDecision};
use mesh_core::resource::RetryPolicy;

use super::{Again, Flight, MAX_FREE_CONNECTS, policy};
use crate::body::Body;
use crate::client::asked::Asked;
use crate::client::copy::Copy;
use crate::client::failing::Failing;
use crate::client::outliers::{OpenCall, tell};
use crate::client::way::way;
use crate::client::{load, now};
use crate::error::{Error, ErrorKind};
use crate::mesh::Io;

/// Takes what an answer tells of its endpoint's load, or leaves that to its trailers.
#[cold]
fn weigh(
    state: &Arc<ClusterState<Io>>,
    endpoint: Option<&EndpointState<Io>>,
    headers: &HeaderMap,
) -> Option<Box<OpenCall>> {
    if let Some(report) = load::reported(headers) {
        state.report_load(endpoint?, &report, now());
        return None;
    }
    let mut call = OpenCall::default();
    call.weigh(state.clone());
    Some(Box::new(call))
}

impl Flight {
    /// Counts how an attempt ended.
    #[inline]
    pub(super) fn note(&self, success: bool) {
        if let Some(endpoint) = &self.endpoint {
            endpoint.observe(success);
        }
    }

    /// Tells outlier detection of an attempt without an answer.
    pub(super) fn observe(&mut self, observed: Observed) {
        self.note(false);
        if let (Some(state), Some(endpoint)) = (self.hold.cluster(self.cluster), &self.endpoint) {
            tell(state, endpoint, self.dialect, observed, || self.random.next());
        }
    }

    /// Tells outlier detection of an answer, where outliers are detected: of most of them just the
    /// status.
    #[inline(always)]
    pub(super) fn observe_answer(&mut self, status: StatusCode, headers: &HeaderMap) {
        let Some(state) = self.hold.cluster(self.cluster) else { return };
        if state.uses_load_reports() {
            self.call = weigh(state, self.endpoint.as_deref(), headers);
        }
        if !state.detector(self.dialect).is_on() {
            return;
        }
        if self.dialect == Dialect::Grpc || Outcome::states_grpc(headers) {
            return self.observe_call(status, headers);
        }
        if let Some(endpoint) = &self.endpoint {
            let observed = Observed::Status(status);
            tell(state, endpoint, Dialect::Http, observed, || self.random.next());
        }
    }

    /// The same of a call's answer; leaves it to its body where the status comes at its end.
    #[inline(never)]
    fn observe_call(&mut self, status: StatusCode, headers: &HeaderMap) {
        let random = self.random.next();
        let Some(state) = self.hold.cluster(self.cluster) else { return };
        let outcome = Outcome::of_response(status, headers);
        let ended = !matches!(outcome, Outcome::Response { grpc_status: None, .. });
        if self.dialect == Dialect::Grpc && status == StatusCode::OK && !ended {
            let state = state.clone();
            self.call.get_or_insert_default().detect(state, random);
        } else if let (Some(endpoint), Some(observed)) = (&self.endpoint, Observed::of(outcome)) {
            tell(state, endpoint, self.dialect, observed, || random);
        }
    }

    /// How many attempts were retries.
    pub(super) fn retries(&self) -> u32 {
        self.history.as_ref().map_or(0, |history| history.retries.retries())
    }

    /// The request of another attempt and how long to wait, if there is to be one.
    #[inline(never)]
    pub(super) fn retry(
        &mut self,
        ended: &Ended<'_>,
        unsent: Option<Request<Body>>,
        copy: &mut Option<Box<Copy>>,
    ) -> Option<Again> {
        let state = self.hold.cluster(self.cluster)?;
        let last = self.endpoint.as_ref().map(|endpoint| endpoint.address());
        let tried = self.history.as_ref().map_or(0, |history| history.tried.len());
        let free = self.dialect == Dialect::Grpc
            && ended.outcome == Outcome::ConnectFailure
            && tried < MAX_FREE_CONNECTS
            && state.tables_of(self.dialect).usable().len() > tried + 1;
        let unsent = match unsent {
            Some(request) if free => {
                self.history.get_or_insert_default().tried.extend(last);
                self.endpoint = None;
                return Some((Duration::ZERO, request));
            }
            unsent => unsent,
        };
        if !self.retries {
            return None;
        }
        let random = self.random.next();
        let priority = self.hold.forwarding(self.route)?.priority();
        let policy = self.policy()?;
        let retries = self.history.as_ref().map(|history| history.retries).unwrap_or_default();
        let decision = retries.decide(policy, ended, self.dialect, random);
        let (RetryDecision::After(after) | RetryDecision::AfterPushback(after)) = decision else {
            if decision == RetryDecision::Exhausted {
                self.flag(ResponseFlags::UPSTREAM_RETRY_LIMIT_EXCEEDED);
            }
            return None;
        };
        let (avoids_hosts, leaves) = (policy.avoid_previous_hosts, policy.previous_priorities);
        let history = self.history.get_or_insert_default();
        // The retry before gives its place back first: it is over.
        history.retry_permit = None;
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
        self.endpoint = None;
        Some((after, request))
    }

    /// Notes what is to be told of the request's end.
    #[cold]
    fn flag(&mut self, flags: ResponseFlags) {
        let history = self.history.get_or_insert_default();
        history.flags |= flags;
        if let Some(record) = &history.record {
            record.flagged(flags);
        }
    }

    /// What the request asks of its route.
    pub(super) fn asked(&self) -> Option<&Asked> {
        self.history.as_deref()?.asked.as_deref()
    }

    /// The retry policy in force.
    pub(super) fn policy(&self) -> Option<&RetryPolicy> {
        policy(self.asked(), self.hold.forwarding(self.route)?)
    }

    pub(super) fn failing(&self) -> Failing<'_> {
        let on = (self.route, self.dialect, self.random.first());
        Failing::new(&self.hold, on, self.history.as_deref())
    }

    pub(super) fn failed(&self, failure: Failure) -> Error {
        let view = self.hold.view(self.route);
        let state = self.hold.cluster(self.cluster);
        let mut way = state.map(|state| way(&view, state)).unwrap_or_default();
        if let Some(endpoint) = &self.endpoint {
            way.push_str(&format!(" → endpoint {}", endpoint.address()));
        }
        let attempts = self.retries() + 1;
        let times = if attempts == 1 { String::new() } else { format!(", {attempts} attempts") };
        let (kind, what) = match failure {
            Failure::Timeout | Failure::PerTryTimeout | Failure::Duration => {
                (ErrorKind::Deadline, "timed out")
            }
            Failure::Connect | Failure::ConnectTimeout => (ErrorKind::Connect, "not connected"),
            Failure::Overflow => (ErrorKind::Overloaded, "not admitted"),
            _ => (ErrorKind::Reset, "no answer"),
        };
        let error = Error::new(kind, format!("{what} ({way}{times})"));
        self.failing().tell(error, failure)
    }
}

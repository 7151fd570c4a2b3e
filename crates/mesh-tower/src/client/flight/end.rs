//! How attempts end, and whether another one follows.

use std::time::Duration;

use http::{HeaderMap, Request, StatusCode};
use mesh_core::Dialect;
use mesh_core::cluster::outlier::Observed;
use mesh_core::resilience::{Ended, Outcome, RetryDecision};

use super::{Again, Flight, MAX_FREE_CONNECTS};
use crate::body::Body;
use crate::client::copy::Copy;
use crate::client::outliers::{OpenCall, tell};
use crate::client::way::way;
use crate::error::{Error, ErrorKind};

impl Flight {
    /// Counts how an attempt ended.
    #[inline]
    pub(super) fn note(&self, success: bool) {
        if let Some(endpoint) = &self.endpoint {
            endpoint.observe(success);
        }
    }

    /// Whether outliers are detected in the cluster.
    #[inline]
    pub(super) fn detects(&self) -> bool {
        self.hold.cluster(self.cluster).is_some_and(|state| state.detector(self.dialect).is_on())
    }

    /// Tells outlier detection of an attempt without an answer.
    pub(super) fn observe(&mut self, observed: Observed) {
        self.note(false);
        let random = self.random.next();
        if let (Some(state), Some(endpoint)) = (self.hold.cluster(self.cluster), &self.endpoint) {
            tell(state, endpoint, self.dialect, observed, random);
        }
    }

    /// Tells outlier detection of an answer, or leaves that to its body: a call's status comes at
    /// its end.
    #[inline(never)]
    pub(super) fn observe_answer(&mut self, status: StatusCode, headers: &HeaderMap) {
        let random = self.random.next();
        let Some(state) = self.hold.cluster(self.cluster) else { return };
        let outcome = Outcome::of_response(status, headers);
        let ended = !matches!(outcome, Outcome::Response { grpc_status: None, .. });
        if self.dialect == Dialect::Grpc && status == StatusCode::OK && !ended {
            self.call = Some(Box::new(OpenCall::new(state.clone(), random)));
        } else if let (Some(endpoint), Some(observed)) = (&self.endpoint, Observed::of(outcome)) {
            tell(state, endpoint, self.dialect, observed, random);
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
        let forwarding = self.hold.forwarding(self.route)?;
        let policy = forwarding.retry_policy()?;
        let random = self.random.next();
        let retries = self.history.as_ref().map(|history| history.retries).unwrap_or_default();
        let decision = retries.decide(policy, ended, self.dialect, random);
        let (RetryDecision::After(after) | RetryDecision::AfterPushback(after)) = decision else {
            return None;
        };
        let history = self.history.get_or_insert_default();
        // The retry before gives its place back first: it is over.
        history.retry_permit = None;
        let routed = self.hold.cluster(self.routed)?;
        let permit = routed.admit_retry_as(forwarding.priority()).ok()?;
        // Only once it is admitted: the body of another attempt cuts off the one before.
        let request = match unsent {
            Some(request) => request,
            None => copy.as_mut()?.next()?,
        };
        history.retry_permit = Some(permit);
        history.retries.retried(decision);
        if policy.avoid_previous_hosts {
            history.tried.extend(last);
        }
        self.endpoint = None;
        Some((after, request))
    }

    pub(super) fn failed(&self, outcome: Outcome) -> Error {
        let view = self.hold.view(self.route);
        let state = self.hold.cluster(self.cluster);
        let mut way = state.map(|state| way(&view, state)).unwrap_or_default();
        if let Some(endpoint) = &self.endpoint {
            way.push_str(&format!(" → endpoint {}", endpoint.address()));
        }
        let attempts = self.retries() + 1;
        let times = if attempts == 1 { String::new() } else { format!(", {attempts} attempts") };
        let (kind, what) = match outcome {
            Outcome::PerTryTimeout => (ErrorKind::Deadline, "timed out"),
            Outcome::ConnectFailure => (ErrorKind::Connect, "not connected"),
            Outcome::Dropped => (ErrorKind::Overloaded, "not admitted"),
            _ => (ErrorKind::Reset, "no answer"),
        };
        Error::new(kind, format!("{what} ({way}{times})"))
    }
}

use std::time::Instant;

use super::membership::Membership;
use super::outlier::{Detector, Observed};
use super::{
    ClusterState, ConnectionPermit, EndpointState, Overloaded, PendingPermit, Permit, Remaining,
    RetryPermit,
};
use crate::dialect::Dialect;
use crate::resource::{Cluster, RoutingPriority};
use crate::snapshot::Attach;

/// Outlier detection of one cluster: a detector per dialect, each with records of its own.
#[derive(Debug)]
pub(super) struct Detectors {
    http: Detector,
    grpc: Detector,
    /// Whether endpoints are out whose health checks fail.
    checks: bool,
}

impl Detectors {
    pub(super) fn new(cluster: &Cluster, previous: Option<&Self>) -> Self {
        let spec = cluster.outlier_detection.as_ref();
        let http = previous.map(|previous| &previous.http);
        let grpc = previous.map(|previous| &previous.grpc);
        Self {
            http: Detector::new(Dialect::Http, spec, http),
            grpc: Detector::new(Dialect::Grpc, spec, grpc),
            checks: cluster.health_check.is_some(),
        }
    }

    pub(super) fn of(&self, dialect: Dialect) -> &Detector {
        match dialect {
            Dialect::Http => &self.http,
            Dialect::Grpc => &self.grpc,
        }
    }

    /// Whether outlier detection has an endpoint out.
    pub(super) fn has_ejected<A: Attach>(
        &self,
        endpoint: &EndpointState<A>,
        dialect: Dialect,
    ) -> bool {
        self.of(dialect).is_on() && endpoint.record(dialect).is_ejected()
    }

    /// Takes the endpoints as they are now.
    pub(super) fn adopt<A: Attach>(&self, membership: &Membership<A>) {
        for dialect in DIALECTS {
            let detector = self.of(dialect);
            if detector.is_on() {
                let records = membership.states().map(|endpoint| endpoint.record(dialect));
                detector.adopt(records);
            } else {
                // Nobody asks such a detector for numbers: what was never written to stays unmade.
                detector.adopt(membership.states().filter_map(|one| one.known_record(dialect)));
            }
        }
    }
}

/// The numbers of the endpoints that are ejected or fail their health checks, ascending, in HTTP and in gRPC.
pub(super) type Outs = [Vec<u32>; 2];

impl Detectors {
    /// Who is out of `membership`, which was adopted last.
    pub(super) fn outs<A: Attach>(&self, membership: &Membership<A>) -> Outs {
        DIALECTS.map(|dialect| {
            let state = |number: u32| membership.states.get(number as usize);
            let is_ejected = |number| {
                state(number).is_some_and(|endpoint| endpoint.record(dialect).is_ejected())
            };
            let mut out = self.of(dialect).out(is_ejected);
            if self.checks {
                let failing = (0..).zip(membership.states()).filter(|(_, one)| one.is_failing());
                out.extend(failing.map(|(number, _)| number));
                out.sort_unstable();
                out.dedup();
            }
            out
        })
    }
}

pub(super) const DIALECTS: [Dialect; 2] = [Dialect::Http, Dialect::Grpc];

impl<A: Attach> ClusterState<A> {
    /// Admits a request of priority DEFAULT.
    ///
    /// # Errors
    /// When `max_requests` are under way, or `max_pending_requests` is 0.
    #[inline]
    pub fn admit(&self) -> Result<Permit, Overloaded> {
        self.admit_as(RoutingPriority::Default)
    }

    /// Admits a request of that priority.
    ///
    /// # Errors
    /// As [`admit`](Self::admit).
    #[inline]
    pub fn admit_as(&self, priority: RoutingPriority) -> Result<Permit, Overloaded> {
        self.admission.admit(priority)
    }

    /// Admits a retry of priority DEFAULT.
    ///
    /// # Errors
    /// When the retry budget, or `max_retries` without one, is used up.
    pub fn admit_retry(&self) -> Result<RetryPermit, Overloaded> {
        self.admit_retry_as(RoutingPriority::Default)
    }

    /// Admits a retry of that priority.
    ///
    /// # Errors
    /// As [`admit_retry`](Self::admit_retry).
    pub fn admit_retry_as(&self, priority: RoutingPriority) -> Result<RetryPermit, Overloaded> {
        self.admission.admit_retry(priority, self.spec.circuit_breakers.of(priority))
    }

    /// Admits a request to wait for a connection.
    ///
    /// # Errors
    /// When `max_pending_requests` wait.
    pub fn admit_pending(&self, priority: RoutingPriority) -> Result<PendingPermit, Overloaded> {
        self.admission.admit_pending(priority, self.spec.circuit_breakers.of(priority))
    }

    /// Admits a connection.
    ///
    /// # Errors
    /// When `max_connections` are open.
    pub fn admit_connection(
        &self,
        priority: RoutingPriority,
    ) -> Result<ConnectionPermit, Overloaded> {
        self.admission.admit_connection(priority, self.spec.circuit_breakers.of(priority))
    }

    /// What may still begin; `None` unless `track_remaining` asks for it.
    pub fn remaining(&self, priority: RoutingPriority) -> Option<Remaining> {
        let thresholds = self.spec.circuit_breakers.of(priority);
        thresholds.track_remaining.then(|| self.admission.remaining(priority, thresholds))
    }

    /// Notes how an attempt ended; true when that ejected the endpoint, so that the tables want to
    /// be built anew.
    ///
    /// `now` and `random` are only asked for when an ejection is due.
    #[inline]
    pub fn observe(
        &self,
        endpoint: &EndpointState<A>,
        dialect: Dialect,
        observed: Observed,
        now: impl FnOnce() -> Instant,
        random: impl FnOnce() -> u64,
    ) -> bool {
        let detector = self.detectors.of(dialect);
        detector.is_on() && detector.observe(endpoint.record(dialect), observed, now, random)
    }

    /// Outlier detection in that dialect.
    #[inline]
    pub fn detector(&self, dialect: Dialect) -> &Detector {
        self.detectors.of(dialect)
    }

    /// When the next sweep is due; `None` when no outliers are detected, and no weights follow load
    /// reports.
    pub fn next_sweep(&self, now: Instant) -> Option<Instant> {
        let sweeps = DIALECTS.map(|dialect| self.detectors.of(dialect).next_sweep(now));
        sweeps.into_iter().chain([self.next_weights(now)]).flatten().min()
    }

    /// Does the sweeps that are due; true when an endpoint was ejected or returned, or weights
    /// changed, so that the tables want to be built anew.
    pub fn sweep(&self, now: Instant, random: u64) -> bool {
        let tables = self.tables();
        let mut changed = self.update_weights(now);
        for (dialect, random) in DIALECTS.into_iter().zip([random, !random]) {
            let detector = self.detectors.of(dialect);
            if detector.next_sweep(now).is_some_and(|due| due <= now) {
                let states = tables.membership.states();
                let records = states.map(|endpoint| endpoint.record(dialect));
                changed |= detector.sweep(records, now, random);
            }
        }
        changed
    }
}

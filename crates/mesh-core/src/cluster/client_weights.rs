//! Weights that follow from load reports: when they are due, and the tables they make.

use std::sync::{Arc, PoisonError};
use std::time::Instant;

use super::load_report::{LoadReport, whole};
use super::membership::Membership;
use super::{ClusterState, EndpointState};
use crate::snapshot::Attach;

impl<A: Attach> ClusterState<A> {
    /// Notes what an endpoint told of its load with an answer. Of use only where
    /// [`reads_answers`](Self::reads_answers) says so, and for no weight where load is told out of
    /// band.
    pub fn report_load(&self, endpoint: &EndpointState<A>, report: &LoadReport, now: Instant) {
        let weights = self.spec.balancing.client_weights.as_ref();
        if weights.is_some_and(|weights| weights.oob_reporting_period.is_none()) {
            self.report_load_out_of_band(endpoint, report, now);
        }
    }

    /// Notes what an endpoint told of its load over a stream of its own (gRFC A51).
    pub fn report_load_out_of_band(
        &self,
        endpoint: &EndpointState<A>,
        report: &LoadReport,
        now: Instant,
    ) {
        let spec = self.spec.balancing.client_weights.as_ref();
        if let Some(weight) = spec.and_then(|spec| report.weight(spec)) {
            endpoint.report(weight, now);
        }
    }

    /// When weights are to change next; a period from now at first.
    pub(super) fn next_weights(&self, now: Instant) -> Option<Instant> {
        let period = self.spec.balancing.client_weights.as_ref()?.weight_update_period;
        let mut due = self.weights_due.lock().unwrap_or_else(PoisonError::into_inner);
        Some(*due.get_or_insert(now + period))
    }

    /// Works the weights out, when that is due; true when they changed.
    pub(super) fn update_weights(&self, now: Instant) -> bool {
        let Some(spec) = &self.spec.balancing.client_weights else { return false };
        if self.next_weights(now).is_none_or(|due| due > now) {
            return false;
        }
        let mut due = self.weights_due.lock().unwrap_or_else(PoisonError::into_inner);
        *due = Some(now + spec.weight_update_period);
        let tables = self.tables();
        let states = || tables.membership.states();
        let weights: Vec<_> = states().map(|endpoint| endpoint.weight(spec, now)).collect();
        let mut changed = false;
        for (endpoint, weight) in states().zip(whole(&weights)) {
            changed |= endpoint.given_weight() != weight;
            endpoint.give_weight(weight);
        }
        changed
    }

    /// The endpoints with the weights of now, where these are others.
    pub(super) fn reweighted(&self, membership: &Membership<A>) -> Option<Arc<Membership<A>>> {
        self.spec.balancing.client_weights.as_ref()?;
        let weights: Vec<u32> = membership.states().map(|one| one.given_weight()).collect();
        membership.reweighted(&weights).map(Arc::new)
    }
}

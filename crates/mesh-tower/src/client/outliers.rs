//! What requests tell outlier detection.

use std::sync::Arc;
use std::task::{Context, Poll};

use http::{HeaderMap, StatusCode};
use mesh_core::Dialect;
use mesh_core::cluster::outlier::Observed;
use mesh_core::cluster::{ClusterState, CountedRequest, EndpointState, LoadReport};
use mesh_core::resilience::Outcome;
use mesh_core::resource::AdmissionControl;

use super::idle::{Idle, IdleTimer};
use super::{load, now};
use crate::faults::Faults;
use crate::mesh::Io;

/// Tells how an attempt ended; has the cluster's tables built anew when that ejects the endpoint.
/// `random` is only drawn when an ejection is due.
#[inline(always)]
pub(super) fn tell(
    state: &ClusterState<Io>,
    endpoint: &EndpointState<Io>,
    dialect: Dialect,
    observed: Observed,
    random: impl FnOnce() -> u64,
) {
    if state.observe(endpoint, dialect, observed, now, random) {
        state.attached().ejected();
    }
}

/// Notes what an endpoint told of its load, for the weights and the reports that follow from it.
pub(super) fn weigh(
    state: &ClusterState<Io>,
    endpoint: &EndpointState<Io>,
    report: &LoadReport,
    counted: Option<&CountedRequest>,
) {
    state.report_load(endpoint, report, now());
    if let (Some(counted), Some(spec)) = (counted, &state.spec().load_reporting) {
        counted.report(report, spec);
    }
}

fn status_of(headers: &HeaderMap) -> Option<u16> {
    headers.get("grpc-status").and_then(|status| status.to_str().ok()?.parse().ok())
}

const OK: u16 = 0;
/// What a call counts as that ends without a status.
const UNKNOWN: u16 = 2;

/// What few answers have to do with until they end: a gRPC call whose status is still to come, in its
/// trailers, and faults that are active.
#[derive(Default)]
pub(super) struct OpenCall {
    state: Option<Arc<ClusterState<Io>>>,
    random: u64,
    faults: Faults,
    /// Who wants to know what the trailers tell of the endpoint's load.
    weighs: Option<Arc<ClusterState<Io>>>,
    /// Counts as under way until the answer ends.
    counted: Option<CountedRequest>,
    /// Whether how it ended is in the trailers.
    awaits_status: bool,
    /// Whose counts its status is for.
    admits: Option<Arc<AdmissionControl>>,
    /// How long it may be silent.
    idle: Option<IdleTimer>,
}

impl OpenCall {
    /// Has outlier detection learn of the call's status.
    pub(super) fn detect(&mut self, state: Arc<ClusterState<Io>>, random: u64) {
        (self.state, self.random) = (Some(state), random);
    }

    /// Has trailers asked for load reports.
    pub(super) fn weigh(&mut self, state: Arc<ClusterState<Io>>) {
        self.weighs = Some(state);
    }

    /// Has the attempt count as under way until the answer ends, and then as its head says, or by
    /// gRPC its trailers.
    pub(super) fn count(
        &mut self,
        mut counted: CountedRequest,
        dialect: Dialect,
        (status, headers): (StatusCode, &HeaderMap),
    ) {
        let is_call = dialect == Dialect::Grpc || Outcome::states_grpc(headers);
        let told = status_of(headers);
        self.awaits_status = is_call && told.is_none();
        let is_well = !is_call || told == Some(OK);
        counted.set_succeeded(is_well && !status.is_server_error());
        self.counted = Some(counted);
    }

    /// Has its status count for the admission of others.
    pub(super) fn admit_by(&mut self, control: Arc<AdmissionControl>) {
        self.admits = Some(control);
    }

    /// Has it end when it is silent for too long.
    pub(super) fn watch(&mut self, idle: Idle) {
        self.idle = Some(IdleTimer::new(idle));
    }

    /// Something came.
    pub(super) fn active(&self) {
        if let Some(idle) = &self.idle {
            idle.active();
        }
    }

    /// Whether it has been silent for too long.
    pub(super) fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.idle.as_mut().map_or(Poll::Pending, |idle| idle.poll_over(cx))
    }

    /// Has faults count until the answer ends.
    pub(super) fn hold(&mut self, faults: Faults) {
        self.faults.extend(faults);
    }

    /// The call ended with those trailers; `None` when it broke. A call that its caller gives up
    /// says nothing of the endpoint.
    pub(super) fn ended(&mut self, endpoint: &EndpointState<Io>, trailers: Option<&HeaderMap>) {
        if let (Some(state), Some(trailers)) = (&self.weighs, trailers)
            && let Some(report) = load::reported(trailers)
        {
            weigh(state, endpoint, &report, self.counted.as_ref());
        }
        if let (Some(counted), true) = (&mut self.counted, self.awaits_status) {
            counted.set_succeeded(trailers.and_then(status_of) == Some(OK));
        }
        if let Some(control) = self.admits.take() {
            control.call_ended(now(), trailers.and_then(status_of));
        }
        let Some(state) = &self.state else { return };
        let observed = match trailers {
            Some(trailers) => Observed::Call { status: status_of(trailers).unwrap_or(UNKNOWN) },
            None => Observed::Reset,
        };
        tell(state, endpoint, Dialect::Grpc, observed, || self.random);
    }
}

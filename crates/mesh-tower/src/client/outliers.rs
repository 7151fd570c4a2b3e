//! What requests tell outlier detection.

use std::sync::Arc;

use http::HeaderMap;
use mesh_core::Dialect;
use mesh_core::cluster::outlier::Observed;
use mesh_core::cluster::{ClusterState, EndpointState};
use mesh_core::resource::ActiveFault;

use super::{load, now};
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

/// What a call counts as that ends without a status.
const UNKNOWN: u16 = 2;

/// What few answers have to do with until they end: a gRPC call whose status is still to come, in its
/// trailers, and faults that are active.
#[derive(Default)]
pub(super) struct OpenCall {
    state: Option<Arc<ClusterState<Io>>>,
    random: u64,
    faults: Vec<ActiveFault>,
    /// Who weighs endpoints by what the trailers tell of their load.
    weighs: Option<Arc<ClusterState<Io>>>,
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

    /// Has faults count until the answer ends.
    pub(super) fn hold(&mut self, faults: Vec<ActiveFault>) {
        self.faults.extend(faults);
    }

    /// The call ended with those trailers; `None` when it broke. A call that its caller gives up
    /// says nothing of the endpoint.
    pub(super) fn ended(&self, endpoint: &EndpointState<Io>, trailers: Option<&HeaderMap>) {
        if let (Some(state), Some(trailers)) = (&self.weighs, trailers)
            && let Some(report) = load::reported(trailers)
        {
            state.report_load(endpoint, &report, now());
        }
        let Some(state) = &self.state else { return };
        let observed = match trailers {
            Some(trailers) => {
                let status =
                    trailers.get("grpc-status").and_then(|s| s.to_str().ok()?.parse().ok());
                Observed::Call { status: status.unwrap_or(UNKNOWN) }
            }
            None => Observed::Reset,
        };
        tell(state, endpoint, Dialect::Grpc, observed, || self.random);
    }
}

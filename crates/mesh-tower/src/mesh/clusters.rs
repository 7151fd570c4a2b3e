//! How the clusters of a mesh stand.

use mesh_core::cluster::Remaining;
use mesh_core::resource::{Name, RoutingPriority};

use super::Mesh;

/// A cluster at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterStatus {
    /// Its name.
    pub name: Name,
    /// Its endpoints.
    pub endpoints: usize,
    /// Those that requests in plain HTTP may go to.
    pub usable: usize,
    /// Requests under way.
    pub requests: u64,
    /// Retries under way.
    pub retries: u64,
    /// What may still begin before its circuit breaker opens, of requests of priority DEFAULT;
    /// `None` unless configuration asks for it (`track_remaining`).
    pub remaining: Option<Remaining>,
    /// The same of priority HIGH.
    pub remaining_high: Option<Remaining>,
}

impl Mesh {
    /// The clusters in use, by name. Counts them all; meant for metrics and people.
    pub fn clusters(&self) -> Vec<ClusterStatus> {
        let hold = self.inner.hold();
        let status = |state: &std::sync::Arc<mesh_core::cluster::ClusterState<super::Io>>| {
            let tables = state.tables();
            ClusterStatus {
                name: state.spec().name.clone(),
                endpoints: tables.all().count(),
                usable: tables.usable().len(),
                requests: state.requests(),
                retries: state.retries(),
                remaining: state.remaining(RoutingPriority::Default),
                remaining_high: state.remaining(RoutingPriority::High),
            }
        };
        let mut clusters: Vec<_> = hold.clusters().map(status).collect();
        clusters.sort_by(|a, b| a.name.cmp(&b.name));
        clusters
    }
}

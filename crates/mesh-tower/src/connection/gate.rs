use std::sync::Arc;

use mesh_core::cluster::{ClusterState, ConnectionPermit, Overloaded, PendingPermit};
use mesh_core::resource::RoutingPriority;

use crate::mesh::Io;

/// What a request's cluster allows: how many requests may wait for a connection, and how many
/// connections there may be.
#[derive(Clone)]
pub(crate) struct Gate {
    state: Arc<ClusterState<Io>>,
    priority: RoutingPriority,
}

impl Gate {
    pub(crate) fn new(state: &Arc<ClusterState<Io>>, priority: RoutingPriority) -> Self {
        Self { state: state.clone(), priority }
    }

    /// The cluster, whose connections it guards.
    pub(crate) fn cluster(&self) -> &Arc<ClusterState<Io>> {
        &self.state
    }

    /// A place to wait for a connection.
    pub(super) fn wait(&self) -> Result<PendingPermit, Overloaded> {
        self.state.admit_pending(self.priority)
    }

    /// A connection's place among those of the cluster; `None` when all are taken.
    pub(super) fn connect(&self) -> Option<ConnectionPermit> {
        self.admit().ok()
    }

    /// The same for who does not wait.
    pub(super) fn admit(&self) -> Result<ConnectionPermit, Overloaded> {
        self.state.admit_connection(self.priority)
    }
}

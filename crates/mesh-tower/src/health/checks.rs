use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use mesh_core::Snapshot;
use mesh_core::cluster::{CheckedHealth, ClusterState, EndpointState};
use mesh_core::resource::{HealthCheck, Name};
use tokio::task::AbortHandle;

use super::session::Session;
use crate::mesh::Io;

/// The sessions of all clusters that are checked. Dropping it ends them.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    clusters: HashMap<Name, Checked>,
}

#[derive(Debug)]
struct Checked {
    cluster: Arc<ClusterState<Io>>,
    sessions: HashMap<SocketAddr, Running>,
}

/// A session that runs. Dropping it ends it.
#[derive(Debug)]
struct Running {
    endpoint: Arc<EndpointState<Io>>,
    health: Arc<Mutex<CheckedHealth>>,
    task: AbortHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Checks {
    /// Has the endpoints checked that are there now, and no others.
    pub(crate) fn follow(&mut self, snapshot: &Snapshot<Io>, io: &Io) {
        let mut earlier = std::mem::take(&mut self.clusters);
        for cluster in snapshot.clusters() {
            let Some(spec) = &cluster.spec().health_check else { continue };
            let name = cluster.spec().name.clone();
            let known = earlier.remove(&name);
            self.clusters.insert(name, Checked::follow(known, cluster, spec, io));
        }
    }
}

impl Checked {
    /// The sessions of a cluster. Those of an earlier state of it end, but what they found counts
    /// on.
    fn follow(
        earlier: Option<Self>,
        cluster: &Arc<ClusterState<Io>>,
        spec: &Arc<HealthCheck>,
        io: &Io,
    ) -> Self {
        let same = earlier.as_ref().is_some_and(|known| Arc::ptr_eq(&known.cluster, cluster));
        let mut running = earlier.map(|known| known.sessions).unwrap_or_default();
        let mut sessions = HashMap::with_capacity(running.len());
        for (endpoint, state) in cluster.tables().endpoints() {
            let address = endpoint.address();
            let session = match running.remove(&address) {
                // One that is reached in another way has another state.
                Some(running) if same && Arc::ptr_eq(&running.endpoint, state) => running,
                known => {
                    let health = known.map(|known| known.health.clone()).unwrap_or_default();
                    let session = Session::new(cluster, state, endpoint, spec, &health);
                    session.adopt();
                    let task = io.runtime.spawn(session.run()).abort_handle();
                    Running { endpoint: state.clone(), health, task }
                }
            };
            sessions.insert(address, session);
        }
        Self { cluster: cluster.clone(), sessions }
    }
}

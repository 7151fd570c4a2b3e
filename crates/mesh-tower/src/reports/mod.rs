//! Load reports out of band: endpoints tell how loaded they are over a stream of their own (ORCA,
//! gRFC A51), for clusters whose weights follow from that (gRFC A58).
//!
//! ```text
//! task ──Snapshot──▶ LoadReports: one stream per endpoint of such a cluster
//!                       stream: ask ─▶ report, report, … ─▶ ended: wait, ask again
//!                                         └─▶ weight of the endpoint
//! ```
//!
//! A stream is a call over the connection that requests to the endpoint take, in a task on the
//! mesh's runtime, which ends when its endpoint or cluster goes.

mod stream;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use mesh_core::Snapshot;
use mesh_core::cluster::ClusterState;
use mesh_core::resource::Name;
use tokio::task::AbortHandle;

use crate::mesh::Io;

/// The streams of all clusters that want them. Dropping it ends them.
#[derive(Debug, Default)]
pub(crate) struct LoadReports {
    clusters: HashMap<Name, Followed>,
}

#[derive(Debug)]
struct Followed {
    cluster: Arc<ClusterState<Io>>,
    streams: HashMap<SocketAddr, Running>,
}

/// A stream that runs. Dropping it ends it.
#[derive(Debug)]
struct Running(AbortHandle);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl LoadReports {
    /// Has the endpoints asked that are there now, and no others.
    pub(crate) fn follow(&mut self, snapshot: &Snapshot<Io>, io: &Io) {
        let mut earlier = std::mem::take(&mut self.clusters);
        for cluster in snapshot.clusters() {
            let weights = cluster.spec().balancing.client_weights.as_ref();
            let Some(period) = weights.and_then(|weights| weights.oob_reporting_period) else {
                continue;
            };
            let name = &cluster.spec().name;
            // What an earlier state of a cluster is told does not reach a later one.
            let known = earlier.remove(name).filter(|known| Arc::ptr_eq(&known.cluster, cluster));
            let mut running = known.map(|known| known.streams).unwrap_or_default();
            let tables = cluster.tables();
            let streams = tables.endpoints().map(|(endpoint, state)| {
                let stream = running.remove(&endpoint.address).unwrap_or_else(|| {
                    let told = stream::run(cluster.clone(), state.clone(), period);
                    Running(io.runtime.spawn(told).abort_handle())
                });
                (endpoint.address, stream)
            });
            let streams = streams.collect();
            self.clusters.insert(name.clone(), Followed { cluster: cluster.clone(), streams });
        }
    }
}

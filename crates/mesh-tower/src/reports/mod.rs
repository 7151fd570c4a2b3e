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
use mesh_core::cluster::{ClusterState, EndpointState};
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
struct Running {
    endpoint: Arc<EndpointState<Io>>,
    task: AbortHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
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
                let known = running.remove(&endpoint.address());
                // One that is reached in another way has another state.
                let known = known.filter(|known| Arc::ptr_eq(&known.endpoint, state));
                let stream = known.unwrap_or_else(|| {
                    let told = stream::run(cluster.clone(), state.clone(), period);
                    let task = io.runtime.spawn(told).abort_handle();
                    Running { endpoint: state.clone(), task }
                });
                (endpoint.address(), stream)
            });
            let streams = streams.collect();
            self.clusters.insert(name.clone(), Followed { cluster: cluster.clone(), streams });
        }
    }
}

#[cfg(test)]
mod tests {
    use mesh_core::resource::{
        ClientWeights, Cluster, ClusterLoadAssignment, Discovery, Resource, Resources,
    };
    use tokio::net::TcpListener;

    use super::*;

    fn followed(address: SocketAddr, further: &[SocketAddr]) -> Resources {
        let mut cluster = Cluster::new("things");
        cluster.discovery = Discovery::Eds { service_name: "things".into() };
        let mut weights = ClientWeights::default();
        weights.oob_reporting_period = Some(std::time::Duration::from_secs(10));
        cluster.balancing.client_weights = Some(Arc::new(weights));
        let mut assignment = ClusterLoadAssignment::of_addresses("things", [address]);
        let endpoint = &mut assignment.localities[0].endpoints[0];
        endpoint.further_mut().additional_addresses = further.into();
        [Resource::from(cluster), assignment.into()].into_iter().collect()
    }

    #[tokio::test]
    async fn endpoint_that_is_reached_in_another_way_is_asked_in_that_way() {
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let io = Io::alone();
        let (snapshot, _) = Snapshot::compile(&followed(gone, &[]), None, &io);
        let mut reports = LoadReports::default();
        reports.follow(&snapshot, &io);
        let cluster = snapshot.clusters().next().unwrap();
        let earlier = Arc::downgrade(cluster.tables().all().next().unwrap());
        drop(snapshot.update_endpoints(&followed(gone, &[gone]), [&"things".into()], &io));
        reports.follow(&snapshot, &io);
        let asked = async {
            while earlier.strong_count() > 0 {
                tokio::task::yield_now().await;
            }
        };
        let patience = std::time::Duration::from_secs(10);
        tokio::time::timeout(patience, asked).await.expect("nobody asks as before");
    }
}

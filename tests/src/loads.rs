//! Reports of load (LRS), as a control plane gets them.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use mesh_pb::envoy::config::core::v3::Node;
use mesh_pb::envoy::config::endpoint::v3::{ClusterStats, UpstreamLocalityStats};
use mesh_pb::envoy::service::load_stats::v3::load_reporting_service_server::{
    LoadReportingService, LoadReportingServiceServer,
};
use mesh_pb::envoy::service::load_stats::v3::{LoadStatsRequest, LoadStatsResponse};
use mesh_pb::google::protobuf::Duration;
use mesh_test::eventually;
use tokio_stream::StreamExt as _;
use tonic::{Request, Response, Status, Streaming};

/// What clients reported so far, over all streams.
#[derive(Clone, Debug, Default)]
pub struct Loads(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    nodes: Mutex<Vec<Node>>,
    reports: Mutex<Vec<ClusterStats>>,
    open: AtomicUsize,
    /// The clusters to hear of; of all while it is empty.
    wanted: Mutex<Vec<String>>,
}

/// What was told of one locality of a cluster, over all reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Attempts that began.
    pub issued: u64,
    /// Those that ended well.
    pub succeeded: u64,
    /// Those that did not.
    pub failed: u64,
    /// Those under way, by the last report.
    pub in_progress: u64,
}

impl Loads {
    /// Has streams that begin from now on report those clusters alone.
    pub fn want(&self, clusters: &[&str]) {
        let mut wanted = self.0.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        *wanted = clusters.iter().map(ToString::to_string).collect();
    }

    /// The streams that are open.
    pub fn open(&self) -> usize {
        self.0.open.load(Ordering::SeqCst)
    }

    /// Who each stream so far was from.
    pub fn nodes(&self) -> Vec<Node> {
        self.0.nodes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Every report of a cluster so far.
    pub fn of(&self, cluster: &str) -> Vec<ClusterStats> {
        let reports = self.0.reports.lock().unwrap_or_else(PoisonError::into_inner);
        reports.iter().filter(|report| report.cluster_name == cluster).cloned().collect()
    }

    /// What was told of a cluster's locality in that region.
    pub fn totals(&self, cluster: &str, region: &str) -> Totals {
        let mut made = Totals::default();
        for report in self.of(cluster) {
            made.in_progress = 0;
            for stats in report.upstream_locality_stats.iter().filter(|stats| is_in(stats, region))
            {
                made.issued += stats.total_issued_requests;
                made.succeeded += stats.total_successful_requests;
                made.failed += stats.total_error_requests;
                made.in_progress = stats.total_requests_in_progress;
            }
        }
        made
    }

    /// Waits until so much was told.
    pub async fn reach(&self, cluster: &str, region: &str, expected: Totals) {
        let what = format!("{expected:?} of {cluster} in {region}");
        eventually(&what, || (self.totals(cluster, region) == expected).then_some(())).await;
    }

    pub(crate) fn service(&self) -> LoadReportingServiceServer<Self> {
        LoadReportingServiceServer::new(self.clone())
    }
}

fn is_in(stats: &UpstreamLocalityStats, region: &str) -> bool {
    stats.locality.as_ref().is_some_and(|locality| locality.region == region)
}

/// Counts a stream for as long as it is open.
struct Open(Arc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tonic::async_trait]
impl LoadReportingService for Loads {
    type StreamLoadStatsStream =
        Pin<Box<dyn tokio_stream::Stream<Item = Result<LoadStatsResponse, Status>> + Send>>;

    async fn stream_load_stats(
        &self,
        request: Request<Streaming<LoadStatsRequest>>,
    ) -> Result<Response<Self::StreamLoadStatsStream>, Status> {
        let clusters = self.0.wanted.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let wanted = LoadStatsResponse {
            send_all_clusters: clusters.is_empty(),
            clusters,
            // The least that clients take.
            load_reporting_interval: Some(Duration { seconds: 0, nanos: 500_000_000 }),
            ..Default::default()
        };
        self.0.open.fetch_add(1, Ordering::SeqCst);
        let (open, shared) = (Open(self.0.clone()), self.0.clone());
        let heard = request.into_inner().filter_map(move |report| {
            let _open = &open;
            let LoadStatsRequest { node, cluster_stats } = match report {
                Ok(report) => report,
                Err(status) => return Some(Err(status)),
            };
            shared.nodes.lock().unwrap_or_else(PoisonError::into_inner).extend(node);
            let mut reports = shared.reports.lock().unwrap_or_else(PoisonError::into_inner);
            reports.extend(cluster_stats);
            None
        });
        let answers = tokio_stream::once(Ok(wanted)).chain(heard);
        Ok(Response::new(Box::pin(answers)))
    }
}

//! Reporting the load of clusters to the server they came from (LRS, gRFC A27).
//!
//! While a cluster of a server asks for it, there is a stream for reports beside the ADS stream, on
//! the same connection. The server says which clusters it wants to hear of, and how often. Counts
//! are taken when there is room to send them, so that a server that does not read, and a stream that
//! is lost, lose none.

use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use mesh_core::cluster::{ClusterLoad, LoadMetric, LoadStats, LocalityLoad};
use mesh_core::resource::Name;
use mesh_pb::envoy::config::core::v3::Locality;
use mesh_pb::envoy::config::endpoint::v3 as pb;
use mesh_pb::envoy::service::load_stats::v3::load_reporting_service_client::LoadReportingServiceClient;
use mesh_pb::envoy::service::load_stats::v3::{LoadStatsRequest, LoadStatsResponse};
use mesh_pb::google::protobuf;
use tokio::sync::mpsc;
use tokio::time::{sleep, sleep_until};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Request, Status};

use super::core::Core;
use super::task::now;
use super::transport;
use crate::connecting::Connector;
use crate::session::{Backoff, FOREVER, ServerIndex};

/// No server is told more often, as in gRPC: what a report costs is bounded, whatever it says.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);
/// Reports between the client and the transport. What waits here is lost with the stream.
const REQUEST_BUFFER: usize = 1;

/// Tells one server of load, over any number of connections one after the other.
#[derive(Debug)]
pub(super) struct Reporter {
    core: Arc<Core>,
    server: ServerIndex,
    stats: Arc<LoadStats>,
    backoff: Backoff,
    /// When each cluster was last told of, or first asked for it.
    told: HashMap<Name, Instant>,
}

/// What the server wants to hear.
#[derive(Debug, PartialEq)]
struct Wanted {
    /// `None` for all.
    clusters: Option<HashSet<String>>,
    interval: Duration,
}

impl Reporter {
    pub(super) fn new(
        core: Arc<Core>,
        server: ServerIndex,
        stats: Arc<LoadStats>,
        backoff: Backoff,
    ) -> Self {
        Self { core, server, stats, backoff, told: HashMap::new() }
    }

    /// Reports for as long as it is polled.
    pub(super) async fn run(&mut self, connector: &Connector, channel: Channel) {
        loop {
            while !self.is_asked() {
                self.core.reporting_changed(self.server).await;
            }
            let started = now();
            let end = self.serve_once(connector, channel.clone()).await;
            let Err((text, answered)) = end else {
                tracing::info!("no cluster asks for load reports any more");
                continue;
            };
            tracing::info!("load reports: {text}");
            if answered {
                self.backoff.reset();
            }
            sleep(self.backoff.next_wait(now() - started, fastrand::f64())).await;
        }
    }

    /// One stream, until it ends or no cluster asks for one. The error tells why it ended, and
    /// whether the server had answered.
    async fn serve_once(
        &mut self,
        connector: &Connector,
        channel: Channel,
    ) -> Result<(), (String, bool)> {
        let metadata = connector.metadata().await.map_err(|error| (error, false))?;
        let (requests, receiver) = mpsc::channel(REQUEST_BUFFER);
        let first = LoadStatsRequest { node: Some(self.core.reporting_node()), ..<_>::default() };
        // There is room for one, which is there before the call.
        let _sent = requests.try_send(first);
        let mut request = Request::new(ReceiverStream::new(receiver));
        *request.metadata_mut() = metadata;
        let responses = pin!(open(channel, request));
        self.serve(requests, responses).await
    }

    async fn serve(
        &mut self,
        requests: mpsc::Sender<LoadStatsRequest>,
        mut responses: impl Stream<Item = Result<LoadStatsResponse, Status>> + Unpin,
    ) -> Result<(), (String, bool)> {
        let mut wanted: Option<Wanted> = None;
        let mut due = now();
        let (mut was_empty, mut is_over) = (false, false);
        loop {
            let is_due = async {
                if wanted.is_none() || is_over {
                    return std::future::pending().await;
                }
                sleep_until(due.into()).await;
                requests.reserve().await
            };
            tokio::select! {
                response = responses.next() => match response {
                    Some(Ok(response)) => {
                        let next = Wanted::of(response);
                        if wanted.as_ref() != Some(&next) {
                            due = now() + next.interval;
                            wanted = Some(next);
                        }
                    }
                    end => return Err((transport::end(end).text, wanted.is_some())),
                },
                permit = is_due => {
                    let (Ok(permit), Some(wanted)) = (permit, &wanted) else {
                        // The stream takes no more, and is to say why.
                        is_over = true;
                        continue;
                    };
                    let report = self.report(wanted);
                    // That nothing happened is told once.
                    let is_empty = report.cluster_stats.is_empty();
                    if !(is_empty && was_empty) {
                        permit.send(report);
                    }
                    was_empty = is_empty;
                    due = now() + wanted.interval;
                }
                () = self.core.reporting_changed(self.server) => {
                    if !self.is_asked() {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Whether a cluster of the server asks for reports.
    fn is_asked(&mut self) -> bool {
        let (own, now) = (self.core.reporting(self.server), now());
        let is_asked = !own.is_empty();
        for name in own {
            self.told.entry(name).or_insert(now);
        }
        is_asked
    }

    fn report(&mut self, wanted: &Wanted) -> LoadStatsRequest {
        let (own, now) = (self.core.reporting(self.server), now());
        // One that is gone is told of once more.
        let is_told = |cluster: &str| self.told.contains_key(cluster) && wanted.has(cluster);
        let taken = self.stats.take(is_told);
        let stats = taken.into_iter().map(|load| {
            let since = self.told.get(&load.cluster).copied().unwrap_or(now);
            encode(load, now.saturating_duration_since(since))
        });
        let cluster_stats = stats.collect();
        self.told.retain(|name, _| own.contains(name));
        for (_, told) in self.told.iter_mut().filter(|(name, _)| wanted.has(name)) {
            *told = now;
        }
        LoadStatsRequest { cluster_stats, ..LoadStatsRequest::default() }
    }
}

impl Wanted {
    fn of(response: LoadStatsResponse) -> Self {
        let interval = response.load_reporting_interval.unwrap_or_default();
        let seconds = u64::try_from(interval.seconds).unwrap_or(0);
        let interval = Duration::from_secs(seconds)
            .saturating_add(Duration::from_nanos(u64::try_from(interval.nanos).unwrap_or(0)));
        let clusters = response.clusters.into_iter().collect();
        Self {
            clusters: (!response.send_all_clusters).then_some(clusters),
            interval: interval.clamp(SHORTEST_INTERVAL, FOREVER),
        }
    }

    fn has(&self, cluster: &str) -> bool {
        self.clusters.as_ref().is_none_or(|clusters| clusters.contains(cluster))
    }
}

fn open(
    channel: Channel,
    request: Request<ReceiverStream<LoadStatsRequest>>,
) -> impl Stream<Item = Result<LoadStatsResponse, Status>> {
    let mut client = LoadReportingServiceClient::new(channel);
    let call =
        async move { Ok::<_, Status>(client.stream_load_stats(request).await?.into_inner()) };
    stream::once(call).try_flatten().fuse()
}

fn encode(load: ClusterLoad, interval: Duration) -> pb::ClusterStats {
    let drops = load.dropped_by_category.into_iter();
    let dropped = |(category, dropped_count): (Name, u64)| pb::cluster_stats::DroppedRequests {
        category: category.to_string(),
        dropped_count,
    };
    pb::ClusterStats {
        cluster_name: load.cluster.to_string(),
        cluster_service_name: load.service.to_string(),
        upstream_locality_stats: load.localities.into_iter().map(locality).collect(),
        total_dropped_requests: load.dropped,
        dropped_requests: drops.map(dropped).collect(),
        load_report_interval: Some(protobuf::Duration {
            seconds: i64::try_from(interval.as_secs()).unwrap_or(i64::MAX),
            nanos: i32::try_from(interval.subsec_nanos()).unwrap_or(0),
        }),
    }
}

fn locality(load: LocalityLoad) -> pb::UpstreamLocalityStats {
    let mut made = pb::UpstreamLocalityStats {
        locality: Some(Locality {
            region: load.locality.region.to_string(),
            zone: load.locality.zone.to_string(),
            sub_zone: load.locality.sub_zone.to_string(),
        }),
        priority: load.priority,
        total_issued_requests: load.issued,
        total_successful_requests: load.succeeded,
        total_error_requests: load.failed,
        total_requests_in_progress: load.in_progress,
        ..pb::UpstreamLocalityStats::default()
    };
    for (name, LoadMetric { count, total, .. }) in load.metrics {
        let unnamed = pb::UnnamedEndpointLoadMetricStats {
            num_requests_finished_with_metric: count,
            total_metric_value: total,
        };
        match &*name {
            // These have fields of their own (gRFC A85).
            "cpu_utilization" => made.cpu_utilization = Some(unnamed),
            "mem_utilization" => made.mem_utilization = Some(unnamed),
            "application_utilization" => made.application_utilization = Some(unnamed),
            _ => made.load_metric_stats.push(pb::EndpointLoadMetricStats {
                metric_name: name.to_string(),
                num_requests_finished_with_metric: count,
                total_metric_value: total,
            }),
        }
    }
    made
}

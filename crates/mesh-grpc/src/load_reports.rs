use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use futures_util::stream::unfold;
use mesh_core::cluster::LoadReport;
use mesh_pb::orca::{OrcaLoadReport, OrcaLoadReportRequest};
use tokio::sync::watch;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, ServerStreamingService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use tower_service::Service;

/// The service `xds.service.orca.v3.OpenRcaService`: tells clients the load of this process, for
/// weights that follow from it (gRFC A51, A58).
///
/// The application [tells](Self::set) its load whenever it knows better; clients are told at once,
/// and then as often as they asked for. Clones are one service.
///
/// ```
/// use std::time::Duration;
///
/// use mesh_grpc::{LoadReport, LoadReports};
///
/// let reports = LoadReports::new().with_least_interval(Duration::from_secs(1));
/// // tonic::transport::Server::builder().add_service(reports.clone())
/// let mut report = LoadReport::default();
/// report.application_utilization = 0.7;
/// reports.set(report);
/// ```
#[derive(Clone, Debug)]
pub struct LoadReports {
    report: Arc<watch::Sender<LoadReport>>,
    least_interval: Duration,
}

/// As gRPC's own servers have it: a report costs little, and says little that is new sooner.
const LEAST_INTERVAL: Duration = Duration::from_secs(30);

const STREAM_CORE_METRICS: &str = "/xds.service.orca.v3.OpenRcaService/StreamCoreMetrics";

impl Default for LoadReports {
    fn default() -> Self {
        Self { report: Arc::default(), least_interval: LEAST_INTERVAL }
    }
}

impl LoadReports {
    /// Reports of which all metrics are 0, until there is one.
    pub fn new() -> Self {
        Self::default()
    }

    /// How often a client is told at most; every 30 s unless said otherwise.
    #[must_use]
    pub fn with_least_interval(self, least_interval: Duration) -> Self {
        Self { least_interval, ..self }
    }

    /// What clients are told from now on.
    pub fn set(&self, report: LoadReport) {
        self.report.send_replace(report);
    }
}

impl NamedService for LoadReports {
    const NAME: &'static str = "xds.service.orca.v3.OpenRcaService";
}

type Answer = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

impl<B> Service<http::Request<B>> for LoadReports
where
    B: http_body::Body + Send + 'static,
    B::Error: Into<tonic::codegen::StdError> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Answer {
        let method = Method(self.clone());
        Box::pin(async move {
            if request.uri().path() != STREAM_CORE_METRICS {
                return Ok(Status::unimplemented("no such method").into_http());
            }
            let mut grpc = Grpc::new(ProstCodec::default());
            Ok(grpc.server_streaming(method, request).await)
        })
    }
}

/// `StreamCoreMetrics`.
struct Method(LoadReports);

type Told = Pin<Box<dyn Stream<Item = Result<OrcaLoadReport, Status>> + Send>>;

impl ServerStreamingService<OrcaLoadReportRequest> for Method {
    type Response = OrcaLoadReport;
    type ResponseStream = Told;
    type Future = std::future::Ready<Result<Response<Told>, Status>>;

    fn call(&mut self, request: Request<OrcaLoadReportRequest>) -> Self::Future {
        let asked = request.get_ref().report_interval;
        let asked = asked.and_then(|asked| Duration::try_from(asked).ok());
        let interval = asked.unwrap_or_default().max(self.0.least_interval);
        let told =
            unfold((self.0.report.subscribe(), false), move |(report, is_told)| async move {
                if is_told {
                    tokio::time::sleep(interval).await;
                }
                let message = message(&report.borrow());
                Some((Ok(message), (report, true)))
            });
        std::future::ready(Ok(Response::new(Box::pin(told))))
    }
}

fn message(report: &LoadReport) -> OrcaLoadReport {
    OrcaLoadReport {
        cpu_utilization: report.cpu_utilization,
        mem_utilization: report.mem_utilization,
        request_cost: report.request_cost.clone(),
        utilization: report.utilization.clone(),
        rps_fractional: report.rps_fractional,
        eps: report.eps,
        named_metrics: report.named_metrics.clone(),
        application_utilization: report.application_utilization,
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use mesh_core::resource::{
        Action, ClientWeights, Cluster, ClusterLoadAssignment, ClusterSpecifier, Forward,
        HttpConnectionManager, Listener, Resource, Route, RouteConfiguration, RouteMatch,
        RouteSpecifier, VirtualHost,
    };
    use mesh_tower::{Mesh, Server};
    use tonic_health::pb::health_client::HealthClient;
    use tonic_health::pb::health_server::{self, HealthServer};
    use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

    use super::*;
    use crate::Channel;

    /// Counts its calls.
    #[derive(Clone, Default)]
    struct Counted(Arc<AtomicUsize>);

    #[tonic::async_trait]
    impl health_server::Health for Counted {
        type WatchStream = futures_util::stream::Pending<Result<HealthCheckResponse, Status>>;

        async fn check(
            &self,
            _: Request<HealthCheckRequest>,
        ) -> Result<Response<HealthCheckResponse>, Status> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(Response::new(HealthCheckResponse { status: 1 }))
        }

        async fn watch(
            &self,
            _: Request<HealthCheckRequest>,
        ) -> Result<Response<Self::WatchStream>, Status> {
            Err(Status::unimplemented("not asked for"))
        }
    }

    /// A server that tells how much of it is used, and counts its calls.
    async fn server(mesh: &Mesh, reports: Option<&LoadReports>) -> (SocketAddr, Counted) {
        let counted = Counted::default();
        let mut routes = tonic::service::Routes::new(HealthServer::new(counted.clone()));
        if let Some(reports) = reports {
            routes = routes.add_service(reports.clone());
        }
        let server = Server::bind(mesh, "127.0.0.1:0").await.unwrap();
        let address = server.local_addr();
        tokio::spawn(server.serve(routes));
        (address, counted)
    }

    fn utilization(utilization: f64) -> LoadReports {
        let reports = LoadReports::new().with_least_interval(Duration::from_millis(10));
        let mut report = LoadReport::default();
        (report.application_utilization, report.rps_fractional) = (utilization, 100.0);
        reports.set(report);
        reports
    }

    /// A mesh whose endpoints have weights by what they tell out of band.
    fn client(addresses: [SocketAddr; 2]) -> Mesh {
        let to = ClusterSpecifier::Cluster("health".into());
        let forward = Action::Forward(Arc::new(Forward::new(to)));
        let host =
            VirtualHost::new("health", ["*"], vec![Route::new(RouteMatch::prefix("/"), forward)]);
        let manager = HttpConnectionManager::new(RouteSpecifier::Rds("health".into()));
        let mut weights = ClientWeights::default();
        weights.blackout_period = Duration::ZERO;
        weights.weight_update_period = Duration::from_millis(100);
        weights.oob_reporting_period = Some(Duration::from_millis(10));
        let mut cluster = Cluster::new("health");
        cluster.balancing.client_weights = Some(Arc::new(weights));
        let resources = [
            Resource::from(Listener::new("health:80", manager)),
            RouteConfiguration::new("health", vec![host]).into(),
            cluster.into(),
            ClusterLoadAssignment::of_addresses("health", addresses).into(),
        ];
        Mesh::builder().resources(resources.into_iter().collect()).build().unwrap()
    }

    /// Calls until the second endpoint gets that share of a hundred calls.
    async fn until_share(mesh: &Mesh, second: &Counted, range: std::ops::RangeInclusive<usize>) {
        let channel = Channel::new(mesh, "xds:///health:80").unwrap();
        let mut client = HealthClient::new(channel);
        let calls = async {
            loop {
                let before = second.0.load(Ordering::Relaxed);
                for _ in 0..100 {
                    client.check(HealthCheckRequest::default()).await.unwrap();
                }
                if range.contains(&(second.0.load(Ordering::Relaxed) - before)) {
                    return;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), calls).await.expect("no such share");
    }

    #[tokio::test]
    async fn calls_follow_the_load_that_endpoints_tell_out_of_band() {
        let mesh = Mesh::disabled().unwrap();
        let (busy, idle) = (utilization(0.9), utilization(0.1));
        let (first, _) = server(&mesh, Some(&busy)).await;
        let (second, counted) = server(&mesh, Some(&idle)).await;
        let client = client([first, second]);
        until_share(&client, &counted, 85..=95).await;
        // And when it is the other one that has nothing to do.
        let mut report = LoadReport::default();
        (report.application_utilization, report.rps_fractional) = (0.9, 100.0);
        idle.set(report.clone());
        report.application_utilization = 0.1;
        busy.set(report);
        until_share(&client, &counted, 5..=15).await;
    }

    #[tokio::test]
    async fn endpoint_that_knows_no_reports_gets_its_calls() {
        let mesh = Mesh::disabled().unwrap();
        let (first, _) = server(&mesh, Some(&utilization(0.5))).await;
        let (second, counted) = server(&mesh, None).await;
        // One without a weight gets the mean of the others.
        until_share(&client([first, second]), &counted, 45..=55).await;
    }
}

//! Active health checks: who fails them gets no requests, over real sockets.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use mesh_core::Dialect;
use mesh_core::resource::{
    Cluster, HealthCheck, HealthChecker, HttpHealthCheck, LbPolicy, TcpHealthCheck,
};
use mesh_test::{TestMesh, get, within};
use mesh_tests::serve::{Serving, any_port, serve};
use mesh_tests::written::{Written, call, endpoints};
use mesh_tower::{BoxError, Channel};
use serde_json::json;
use tower::util::BoxCloneSyncService;

const TARGET: &str = "things:80";
const TICK: Duration = Duration::from_millis(20);

type App = BoxCloneSyncService<Request<Incoming>, Response<Full<Bytes>>, BoxError>;

/// A server whose health and number of checks a test sees.
struct Server {
    name: &'static str,
    status: Arc<AtomicU16>,
    checks: Arc<AtomicUsize>,
}

impl Server {
    fn new(name: &'static str) -> Self {
        Self { name, status: Arc::new(AtomicU16::new(200)), checks: Arc::default() }
    }

    /// Answers with its name, and checks with its status.
    fn app(&self) -> App {
        let (name, status, checks) = (self.name, self.status.clone(), self.checks.clone());
        BoxCloneSyncService::new(tower::service_fn(move |request: Request<Incoming>| {
            let mut response = Response::new(Full::from(name));
            if request.uri().path() == "/healthz" {
                checks.fetch_add(1, Ordering::Relaxed);
                let status = StatusCode::from_u16(status.load(Ordering::Relaxed));
                *response.status_mut() = status.expect("a status");
            }
            async move { Ok::<_, BoxError>(response) }
        }))
    }

    fn set(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    fn checks(&self) -> usize {
        self.checks.load(Ordering::Relaxed)
    }
}

fn checked(checker: HealthChecker, unhealthy: u32, healthy: u32) -> impl FnOnce(&mut Cluster) {
    move |cluster| {
        let mut check = HealthCheck::new(checker, Duration::from_secs(5), TICK, unhealthy, healthy);
        check.no_traffic_interval = TICK;
        check.no_traffic_healthy_interval = TICK;
        cluster.health_check = Some(check.into());
        cluster.lb_policy = LbPolicy::RoundRobin;
        // So that one endpoint of two is enough.
        cluster.balancing.healthy_panic_threshold = 0;
    }
}

/// The servers that answer a round of requests.
async fn round(channel: &Channel) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    for _ in 0..6 {
        seen.insert(get(channel, "/").await.expect("an answer").text().to_owned());
    }
    seen
}

async fn until(channel: &Channel, expected: &[&str]) {
    let expected: BTreeSet<String> = expected.iter().map(|name| (*name).to_owned()).collect();
    within("endpoints in use", async { while round(channel).await != expected {} }).await;
}

async fn mesh_of(servers: &[Server], checker: HealthChecker, thresholds: (u32, u32)) -> TestMesh {
    let mut builder = TestMesh::fixed();
    for server in servers {
        builder = builder.service(TARGET, server.name, server.app());
    }
    builder.cluster(TARGET, checked(checker, thresholds.0, thresholds.1)).start().await
}

#[tokio::test]
async fn endpoint_whose_checks_fail_gets_no_requests_until_they_pass() {
    let servers = [Server::new("a"), Server::new("b")];
    let checker = HealthChecker::Http(HttpHealthCheck::new("/healthz"));
    let test = mesh_of(&servers, checker, (3, 2)).await;
    let channel = test.channel(TARGET);
    until(&channel, &["a", "b"]).await;
    servers[0].set(503);
    until(&channel, &["b"]).await;
    let failed_at = servers[0].checks();
    servers[0].set(200);
    until(&channel, &["a", "b"]).await;
    assert!(servers[0].checks() >= failed_at + 2, "it returned before its threshold");
}

#[tokio::test]
async fn endpoint_that_is_killed_leaves_by_tcp_checks_and_returns() {
    let servers = [Server::new("a"), Server::new("b")];
    let checker = HealthChecker::Tcp(TcpHealthCheck::default());
    let test = mesh_of(&servers, checker, (2, 1)).await;
    let channel = test.channel(TARGET);
    until(&channel, &["a", "b"]).await;
    let endpoint = test.endpoint(TARGET, "b");
    endpoint.kill().await;
    // Requests may still fail meanwhile: nothing is retried here.
    within("the endpoint to leave", async {
        let mut in_a_row = 0;
        while in_a_row < 6 {
            in_a_row = if get(&channel, "/").await.is_ok() { in_a_row + 1 } else { 0 };
        }
    })
    .await;
    until(&channel, &["a"]).await;
    endpoint.heal().await;
    until(&channel, &["a", "b"]).await;
}

#[tokio::test]
async fn cluster_without_traffic_is_checked_at_its_own_interval() {
    let quiet = Server::new("a");
    let busy = Server::new("a");
    let checker = || {
        let mut check = HealthCheck::new(
            HealthChecker::Http(HttpHealthCheck::new("/healthz")),
            Duration::from_secs(5),
            TICK,
            1,
            1,
        );
        check.no_traffic_interval = Duration::from_secs(3600);
        check.no_traffic_healthy_interval = TICK * 25;
        move |cluster: &mut Cluster| cluster.health_check = Some(check.into())
    };
    let start = |server: &Server| {
        TestMesh::fixed().service(TARGET, "a", server.app()).cluster(TARGET, checker()).start()
    };
    let (_quiet_mesh, busy_mesh) = (start(&quiet).await, start(&busy).await);
    let channel = busy_mesh.channel(TARGET);
    within("checks", async {
        while busy.checks() < 40 {
            get(&channel, "/").await.expect("an answer");
        }
    })
    .await;
    assert!((1..busy.checks() / 3).contains(&quiet.checks()), "{}", quiet.checks());
}

/// A gRPC server whose health is that of the `serving` of its health service.
async fn checked_by_calls(serving: Arc<AtomicU16>, calls: Arc<AtomicUsize>) -> Serving {
    let service = tower::service_fn(move |request: Request<Incoming>| {
        let (serving, calls) = (serving.clone(), calls.clone());
        async move {
            let message = match request.uri().path() {
                "/grpc.health.v1.Health/Check" => {
                    vec![0, 0, 0, 0, 2, 8, serving.load(Ordering::Relaxed).to_le_bytes()[0]]
                }
                _ => {
                    calls.fetch_add(1, Ordering::Relaxed);
                    vec![0; 5]
                }
            };
            let trailers = HeaderMap::from_iter([(
                HeaderName::from_static("grpc-status"),
                HeaderValue::from_static("0"),
            )]);
            let body = Full::<Bytes>::from(message).with_trailers(async { Some(Ok(trailers)) });
            let answer = Response::builder().header("content-type", "application/grpc");
            Ok::<_, BoxError>(answer.body(body)?)
        }
    });
    serve(any_port(), service).await
}

#[tokio::test]
async fn endpoint_that_says_it_does_not_serve_gets_no_calls() {
    const SERVING: u16 = 1;
    const NOT_SERVING: u16 = 2;
    let check = json!({
        "timeout": "5s", "interval": "0.02s", "unhealthy_threshold": 1, "healthy_threshold": 1,
        "no_traffic_interval": "0.02s", "no_traffic_healthy_interval": "0.02s",
        "grpc_health_check": {"service_name": "things"},
    });
    let cluster = json!({
        "health_checks": [check], "http2_protocol_options": {},
        "common_lb_config": {"healthy_panic_threshold": {"value": 0.0}},
    });
    for dialect in [Dialect::Http, Dialect::Grpc] {
        let health = [SERVING, SERVING].map(|status| Arc::new(AtomicU16::new(status)));
        let calls: [Arc<AtomicUsize>; 2] = Default::default();
        let [one, other] = [0, 1].map(|at| checked_by_calls(health[at].clone(), calls[at].clone()));
        let servers = [one.await, other.await];
        let addresses = servers.each_ref().map(Serving::address);
        let written = Written::new(&[]).with_cluster("things", &cluster, &[endpoints(&addresses)]);
        let live = written.channel_of(dialect).await;
        let until = async |expected: [bool; 2]| {
            let used = async || {
                let before = calls.each_ref().map(|calls| calls.load(Ordering::Relaxed));
                for _ in 0..6 {
                    let answer = mesh_tests::send(&live.channel, call("/a/b", &[])).await;
                    assert_eq!(answer.unwrap().status, 200);
                }
                [0, 1].map(|at| calls[at].load(Ordering::Relaxed) > before[at])
            };
            within("endpoints in use", async { while used().await != expected {} }).await;
        };
        until([true, true]).await;
        health[0].store(NOT_SERVING, Ordering::Relaxed);
        until([false, true]).await;
        health[0].store(SERVING, Ordering::Relaxed);
        until([true, true]).await;
    }
}

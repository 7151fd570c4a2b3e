//! A mesh over clients that answer by script.

use std::collections::VecDeque;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use mesh_core::resource::{
    Action, Cluster, ClusterLoadAssignment, ClusterSpecifier, Forward, HttpConnectionManager,
    Listener, Resource, Resources, RetryConditions, RetryPolicy, Route, RouteConfiguration,
    RouteMatch, RouteSpecifier, VirtualHost,
};
use tower::ServiceExt;
use tower_service::Service;

use crate::client::{Endpoint, ResponseBody};
use crate::{Body, BoxError, ClientLayer, Error, Mesh};

/// What an endpoint does with one request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Answer(u16),
    /// Answers after a while.
    Slow(Duration, u16),
    /// A connection that is refused.
    Refuse,
    /// A connection that breaks.
    Break,
    /// No answer, ever.
    Hang,
}

/// One request as an endpoint saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) endpoint: SocketAddr,
    pub(super) path: String,
    pub(super) body: Bytes,
    pub(super) at: Duration,
}

/// The script all endpoints share, and what they saw.
#[derive(Clone)]
pub(super) struct Script {
    steps: Arc<Mutex<VecDeque<Step>>>,
    pub(super) seen: Arc<Mutex<Vec<Seen>>>,
    started: tokio::time::Instant,
}

impl Script {
    /// Does `steps` in order, then answers 200.
    pub(super) fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self {
            steps: Arc::new(Mutex::new(steps.into_iter().collect())),
            seen: Arc::default(),
            started: tokio::time::Instant::now(),
        }
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Has more done after what is still to be done.
    pub(super) fn push(&self, steps: impl IntoIterator<Item = Step>) {
        self.steps.lock().unwrap().extend(steps);
    }

    /// Keeps no longer what was seen so far.
    pub(super) fn forget(&self) {
        self.seen.lock().unwrap().clear();
    }

    fn client(&self, endpoint: &Endpoint) -> Client {
        Client { script: self.clone(), endpoint: endpoint.address() }
    }
}

/// The client of one endpoint.
#[derive(Clone)]
pub(super) struct Client {
    script: Script,
    endpoint: SocketAddr,
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<Full<Bytes>>, BoxError>> + Send>>;

impl Service<Request<Body>> for Client {
    type Response = Response<Full<Bytes>>;
    type Error = BoxError;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Answer {
        let Self { script, endpoint } = self.clone();
        Box::pin(async move {
            let path = request.uri().path().to_owned();
            let at = script.started.elapsed();
            let body = request.into_body().collect().await?.to_bytes();
            script.seen.lock().unwrap().push(Seen { endpoint, path, body, at });
            let step = script.steps.lock().unwrap().pop_front().unwrap_or(Step::Answer(200));
            let answer = |code: u16| {
                let mut response = Response::new(Full::from("answer"));
                *response.status_mut() = StatusCode::from_u16(code).unwrap();
                Ok(response)
            };
            match step {
                Step::Answer(code) => answer(code),
                Step::Slow(wait, code) => {
                    tokio::time::sleep(wait).await;
                    answer(code)
                }
                Step::Refuse => {
                    Err(std::io::Error::from(std::io::ErrorKind::ConnectionRefused).into())
                }
                Step::Break => Err("connection reset".into()),
                Step::Hang => std::future::pending().await,
            }
        })
    }
}

/// A mesh of one route to one cluster.
pub(super) struct Fixture {
    pub(super) mesh: Mesh,
    pub(super) script: Script,
}

/// What a test changes of the configuration.
pub(super) struct Options {
    pub(super) timeout: Option<Duration>,
    pub(super) retry: Option<RetryPolicy>,
    pub(super) endpoints: u8,
    pub(super) cluster: fn(&mut Cluster),
}

impl Default for Options {
    fn default() -> Self {
        Self { timeout: None, retry: None, endpoints: 3, cluster: |_| {} }
    }
}

/// A policy of that many retries on `retry_on`.
pub(super) fn retry(on: RetryConditions, num_retries: u32) -> RetryPolicy {
    let mut policy = RetryPolicy::new(on);
    policy.num_retries = num_retries;
    policy
}

impl Fixture {
    pub(super) fn new(steps: impl IntoIterator<Item = Step>, options: Options) -> Self {
        let mesh = Mesh::builder().resources(resources(options)).seed(7).build().unwrap();
        Self { mesh, script: Script::new(steps) }
    }

    /// Sends a request with that body and takes the response.
    pub(super) async fn send(
        &self,
        body: &'static str,
    ) -> Result<Response<ResponseBody<Full<Bytes>>>, Error> {
        let request = Request::post("/things?x=1").body(Body::from(body)).unwrap();
        self.call(request).await
    }

    pub(super) async fn call(
        &self,
        request: Request<Body>,
    ) -> Result<Response<ResponseBody<Full<Bytes>>>, Error> {
        let script = self.script.clone();
        let layer = ClientLayer::new(&self.mesh, "things:80").unwrap();
        layer.layer(move |endpoint: &Endpoint| script.client(endpoint)).oneshot(request).await
    }

    /// Requests and retries the cluster counts as under way.
    pub(super) fn under_way(&self) -> (u64, u64, u32) {
        let snapshot = self.mesh.inner().hold();
        let cluster = snapshot.cluster_named("things").unwrap();
        let load = cluster.tables().all().map(|endpoint| endpoint.load()).sum();
        (cluster.requests(), cluster.retries(), load)
    }
}

pub(super) fn resources(options: Options) -> Resources {
    let mut forward = Forward::new(ClusterSpecifier::Cluster("things".into()));
    forward.timeout = options.timeout;
    forward.retry_policy = options.retry.map(Into::into);
    let route = Route::new(RouteMatch::prefix("/"), Action::Forward(Arc::new(forward)));
    let host = VirtualHost::new("things", ["*"], vec![route.with_name("all")]);
    let routes = RouteConfiguration::new("things-routes", vec![host]);
    let manager = HttpConnectionManager::new(RouteSpecifier::Rds("things-routes".into()));
    let mut cluster = Cluster::new("things");
    (options.cluster)(&mut cluster);
    let addresses = (1..=options.endpoints).map(|at| SocketAddr::from(([127, 0, 0, at], 80)));
    let all: [Resource; 4] = [
        Listener::new("things:80", manager).into(),
        routes.into(),
        cluster.into(),
        ClusterLoadAssignment::of_addresses("things", addresses).into(),
    ];
    all.into_iter().collect()
}

//! What the benches share: a client pipeline on a stub that is always ready.
//!
//! The stub is the same on both sides of every comparison: a request with four headers is built
//! and answered at once, so that the difference is what the mesh adds.

pub mod paired;
pub mod tables;
pub mod updates;

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::hint::black_box;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::Empty;
use mesh_core::resource::{
    Action, Cluster, ClusterLoadAssignment, ClusterSpecifier, Forward, HeaderMatcher,
    HttpConnectionManager, LbPolicy, Listener, OutlierDetection, Resource, Resources, RetryBudget,
    RetryConditions, RetryPolicy, Route, RouteConfiguration, RouteMatch, RouteSpecifier,
    StringMatcher, UpstreamProtocol, ValueMatch, VirtualHost, WeightedCluster,
};
use mesh_tower::{Body, ClientLayer, Mesh};
use tower_service::Service;

/// The target of all benches.
pub const TARGET: &str = "reviews.default.svc.cluster.local:9080";

/// Answers every request at once.
#[derive(Clone, Copy, Debug)]
pub struct Stub;

impl<B> Service<Request<B>> for Stub {
    type Response = Response<Empty<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        ready(Ok(Response::new(Empty::new())))
    }
}

/// A request as an application builds it: a path, an authority and four headers, all constants.
pub fn request() -> Request<Body> {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = uri();
    put_headers(request.headers_mut());
    request
}

/// The URI of all requests.
pub fn uri() -> Uri {
    Uri::from_static("http://reviews.default.svc.cluster.local:9080/reviews/0")
}

/// The four headers of an application's request.
pub fn put_headers(headers: &mut HeaderMap) {
    headers.insert(header::USER_AGENT, HeaderValue::from_static("bench/1.0"));
    headers.insert(HeaderName::from_static("end-user"), HeaderValue::from_static("jason"));
    let id = HeaderValue::from_static("6a1f8e3c-54a2-4f0d-9f5e-1f8f0d3a7b11");
    headers.insert(HeaderName::from_static("x-request-id"), id);
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
}

/// Options of the configuration under test.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Routes in the virtual host; requests match the last one.
    pub routes: usize,
    /// Endpoints of each cluster.
    pub endpoints: u16,
    /// Whether the route has a retry policy that needs a copy of each request.
    pub retries: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self { routes: 1, endpoints: 10, retries: false }
    }
}

/// Two header matchers, a 90/10 split, least request, a breaker with a retry budget, outlier
/// detection and the default timeout.
pub fn resources(config: Config) -> Resources {
    let clusters = ["reviews-v1", "reviews-v2"];
    let retries = config.retries.then(|| RetryPolicy::new(RetryConditions::FIVE_XX));
    let mut all = Vec::from(routes(matcher(), config.routes, clusters, retries));
    for name in clusters {
        all.push(cluster(name).into());
        let addresses =
            (0..config.endpoints).map(|at| SocketAddr::from(([127, 0, 0, 1], 9000 + at)));
        all.push(ClusterLoadAssignment::of_addresses(name, addresses).into());
    }
    all.into_iter().collect()
}

/// The same with one real endpoint, which both parts of the split lead to, behind that many routes;
/// with Istio's default retry policy, or without one.
pub fn one_endpoint(
    address: SocketAddr,
    protocol: UpstreamProtocol,
    count: usize,
    retries: bool,
) -> Resources {
    const NAME: &str = "reviews-v1";
    let mut cluster = cluster(NAME);
    cluster.protocol = protocol;
    let mut policy = RetryPolicy::new(
        RetryConditions::CONNECT_FAILURE
            | RetryConditions::REFUSED_STREAM
            | RetryConditions::UNAVAILABLE
            | RetryConditions::CANCELLED
            | RetryConditions::RETRIABLE_STATUS_CODES,
    );
    policy.num_retries = 2;
    policy.retriable_status_codes.push(StatusCode::SERVICE_UNAVAILABLE);
    policy.avoid_previous_hosts = true;
    policy.host_selection_retry_max_attempts = 5;
    let retries = retries.then_some(policy);
    let all = routes(matcher(), count, [NAME; 2], retries).into_iter();
    let assignment = ClusterLoadAssignment::of_addresses(NAME, [address]);
    all.chain([cluster.into(), assignment.into()]).collect()
}

/// The same for gRPC calls, without retries: what makes them calls is what the route looks at.
pub fn calls_to(address: SocketAddr) -> Resources {
    const NAME: &str = "reviews-v1";
    let mut cluster = cluster(NAME);
    cluster.protocol = UpstreamProtocol::Http2;
    let kind = ValueMatch::String(StringMatcher::exact("application/grpc"));
    let matcher = RouteMatch::prefix("/grpc.health.v1.Health/")
        .with_header(HeaderMatcher::new(header::CONTENT_TYPE, kind))
        .with_header(HeaderMatcher::new(header::TE, ValueMatch::Present(true)));
    let all = routes(matcher, 1, [NAME; 2], None).into_iter();
    let assignment = ClusterLoadAssignment::of_addresses(NAME, [address]);
    all.chain([cluster.into(), assignment.into()]).collect()
}

/// What requests match.
fn matcher() -> RouteMatch {
    RouteMatch::prefix("/reviews")
        .with_header(HeaderMatcher::new(
            HeaderName::from_static("end-user"),
            ValueMatch::String(StringMatcher::exact("jason")),
        ))
        .with_header(HeaderMatcher::new(
            HeaderName::from_static("accept"),
            ValueMatch::Present(true),
        ))
}

/// A listener and its routes, of which requests match the last.
fn routes(
    matcher: RouteMatch,
    count: usize,
    clusters: [&str; 2],
    retries: Option<RetryPolicy>,
) -> [Resource; 2] {
    let split = clusters.iter().zip([90, 10]).map(|(name, w)| WeightedCluster::new(*name, w));
    let mut forward = Forward::new(ClusterSpecifier::Weighted(split.collect::<Vec<_>>().into()));
    forward.retry_policy = retries.map(Arc::new);
    let others = (1..count).map(|number| {
        let action = Forward::new(ClusterSpecifier::Cluster("reviews-v1".into()));
        let matcher = RouteMatch::prefix(format!("/other/{number}/"));
        Route::new(matcher, Action::Forward(Arc::new(action)))
    });
    let last = Route::new(matcher, Action::Forward(Arc::new(forward)));
    let host = VirtualHost::new("reviews", [TARGET], others.chain([last]).collect::<Vec<_>>());
    let manager = HttpConnectionManager::new(RouteSpecifier::Rds("reviews".into()));
    let routes = RouteConfiguration::new("reviews", vec![host]);
    [Listener::new(TARGET, manager).into(), routes.into()]
}

fn cluster(name: &str) -> Cluster {
    let mut cluster = Cluster::new(name);
    cluster.lb_policy = LbPolicy::LeastRequest { choice_count: 2 };
    cluster.outlier_detection = Some(OutlierDetection::new().into());
    cluster.circuit_breakers.default.retry_budget = Some(RetryBudget::default());
    cluster
}

/// Nanoseconds this thread has run, by the scheduler's account: other work on the machine does not
/// count.
///
/// # Panics
/// Where there is no such account: it is Linux's.
pub fn cpu_time() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("this is Linux");
    let first = text.split_whitespace().next().expect("it holds three numbers");
    first.parse().expect("they are numbers")
}

/// The client under test: the mesh over the stub.
///
/// # Panics
/// Outside a tokio runtime.
pub fn meshed(
    config: Config,
) -> impl Service<Request<Body>, Response = Response<impl Send>, Error = mesh_tower::Error> + Clone + Send
{
    let mesh = Mesh::builder().resources(resources(config)).build().expect("in a runtime");
    ClientLayer::new(&mesh, TARGET).expect("a valid target").layer(|_| Stub)
}

/// Sends one request and looks at the answer, which is there at once, where it lies: to move it
/// would cost the mesh what it does not cost the stub, whose answer is a constant.
///
/// # Panics
/// When the answer is an error, or is not there.
// On its own, for the stub as well: it would become part of the loop that calls it, and the mesh
// would be charged for a frame.
#[inline(never)]
pub fn once<S>(service: &mut S)
where
    S: Service<Request<Body>>,
{
    let future = pin!(service.call(request()));
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(ref response)) => {
            black_box(response);
        }
        Poll::Ready(Err(_)) => panic!("the stub does not fail"),
        Poll::Pending => panic!("the stub is ready at once"),
    }
}

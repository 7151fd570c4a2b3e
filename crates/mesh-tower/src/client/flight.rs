use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http::uri::Authority;
use http::{HeaderValue, Request, Response, Uri, header};
use mesh_core::cluster::{Avoid, ClusterState, Permit, Picked, RetryPermit};
use mesh_core::resilience::{
    Outcome, RetryDecision, attempt_deadline, decide, grpc_timeout, total_deadline,
};
use mesh_core::resource::{RetryConditions, RetryPolicy, UpstreamProtocol};
use mesh_core::snapshot::{ClusterIndex, RouteRef, RouteView};
use mesh_core::Dialect;

use super::body::{ResponseBody, UnderWay};
use super::record::Record;
use super::transport::{Failed, Transport};
use crate::body::{Body, Replay};
use crate::error::{Error, ErrorKind};
use crate::mesh::{Hold, Io, Random};

/// How many endpoints a gRPC call whose connection is refused goes on to without it counting as a
/// retry. A gRPC channel only picks endpoints it is connected to; we find out by trying.
const MAX_FREE_CONNECTS: usize = 5;

/// A request that has been routed, until its response head has arrived.
pub(super) struct Flight {
    hold: Hold,
    route: RouteRef,
    cluster: ClusterIndex,
    dialect: Dialect,
    random: Random,
    permit: Permit,
    endpoint: Option<Picked<Io>>,
    retries: u32,
    retry_permit: Option<RetryPermit>,
    tried: Vec<SocketAddr>,
    caller: Option<Instant>,
    total: Option<Instant>,
    /// When this attempt must be over, and whether that is its own limit.
    attempt: Option<(Instant, bool)>,
    record: Option<Record>,
}

/// What a further attempt needs of a request that may have been sent.
pub(super) struct Copy {
    head: Request<()>,
    body: Replay,
}

/// What to do after an attempt.
pub(super) enum Next<B> {
    /// This is the result.
    Return(Result<Response<ResponseBody<B>>, Error>),
    /// Another attempt with this request, after waiting.
    Again(Duration, Request<Body>),
}

/// What a flight starts from.
pub(super) struct Routed {
    pub(super) hold: Hold,
    pub(super) route: RouteRef,
    pub(super) cluster: ClusterIndex,
    pub(super) dialect: Dialect,
    pub(super) random: Random,
    pub(super) caller: Option<Instant>,
    pub(super) record: Option<Record>,
}

impl Flight {
    /// Admits a routed request and makes it ready for its first attempt.
    pub(super) fn begin(
        routed: Routed,
        request: &mut Request<Body>,
        gives_back: bool,
        copy: &mut Option<Copy>,
    ) -> Result<Self, Error> {
        let Routed { hold, route, cluster, dialect, random, caller, record } = routed;
        let view = hold.view(route);
        let Some(state) = hold.cluster(cluster) else {
            return Err(no_cluster(&hold, &view, cluster));
        };
        let permit = state.admit().map_err(|overloaded| {
            Error::new(ErrorKind::Overloaded, format!("not admitted ({})", way(&view, state)))
                .because(overloaded)
        })?;
        let timeout = view.timeout(dialect);
        let total = match timeout {
            None => caller,
            Some(_) => total_deadline(Instant::now(), timeout, caller),
        };
        view.change_request_headers(request.headers_mut());
        if let Some(host) = view.host_rewrite() {
            rewrite_host(request, host);
        }
        // HTTP/1.1 has no way to refuse a request that was sent.
        let http2 = dialect == Dialect::Grpc || state.spec().protocol == UpstreamProtocol::Http2;
        let copies = view.retry_policy().is_some_and(|policy| {
            needs_copy(policy, dialect, gives_back, http2, request.headers())
        });
        if copies {
            *copy = Some(Copy::of(request));
        }
        Ok(Self {
            route,
            cluster,
            dialect,
            random,
            permit,
            endpoint: None,
            retries: 0,
            retry_permit: None,
            tried: Vec::new(),
            caller,
            total,
            attempt: None,
            record,
            hold,
        })
    }

    /// Picks an endpoint and sends the request there.
    pub(super) fn send<T: Transport>(
        &mut self,
        transport: &T,
        mut request: Request<Body>,
    ) -> Result<T::Future, Error> {
        let hold = self.hold.clone();
        let view = hold.view(self.route);
        let state = hold.cluster(self.cluster).expect("it was there when the flight began");
        let policy = view.retry_policy();
        let avoid = match policy {
            Some(policy) if policy.avoid_previous_hosts || !self.tried.is_empty() => Avoid {
                tried: &self.tried,
                max_attempts: policy.host_selection_retry_max_attempts,
            },
            _ => Avoid { tried: &self.tried, max_attempts: self.tried.len() as u32 },
        };
        let endpoint = state.pick(avoid, self.random.next()).map_err(|none| {
            Error::new(ErrorKind::NoEndpoints, format!("not sent ({})", way(&view, state)))
                .because(none)
        })?;
        if let Some(record) = &self.record {
            record.attempt(endpoint.address());
        }
        let per_try = policy.and_then(|policy| policy.per_try_timeout);
        self.attempt = match (per_try, self.total) {
            (None, total) => total.map(|total| (total, false)),
            (Some(_), total) => attempt_deadline(Instant::now(), per_try, total),
        };
        if self.dialect == Dialect::Grpc {
            self.write_grpc_timeout(&mut request);
        }
        let future = transport.send(&endpoint, self.dialect, request);
        self.endpoint = Some(endpoint);
        Ok(future)
    }

    /// Tells the server how long is left, unless the caller's own header still says so.
    fn write_grpc_timeout(&self, request: &mut Request<Body>) {
        let Some(total) = self.total else { return };
        if self.retries == 0 && self.caller == Some(total) && request.headers().contains_key(GRPC_TIMEOUT)
        {
            return;
        }
        let left = total.saturating_duration_since(Instant::now());
        request.headers_mut().insert(GRPC_TIMEOUT, grpc_timeout::format(left));
    }

    /// When the attempt under way must be over.
    pub(super) fn attempt_deadline(&self) -> Option<Instant> {
        self.attempt.map(|(deadline, _)| deadline)
    }

    /// When the request must be over.
    pub(super) fn total_deadline(&self) -> Option<Instant> {
        self.total
    }

    /// The attempt ended.
    pub(super) fn finish<B: http_body::Body>(
        this: &mut Option<Self>,
        copy: &mut Option<Copy>,
        result: Result<Response<B>, Failed>,
    ) -> Next<B> {
        let flight = this.as_mut().expect("an attempt was under way");
        match result {
            Ok(response) => {
                let success = !response.status().is_server_error();
                flight.observe(success);
                if copy.is_some() {
                    let outcome = of_response(&response);
                    if let Some((after, request)) = flight.retry(outcome, None, copy) {
                        return Next::Again(after, request);
                    }
                }
                let flight = this.take().expect("it was there");
                Next::Return(Ok(flight.respond(response)))
            }
            Err(failed) => {
                flight.observe(false);
                match flight.retry(failed.outcome, failed.request, copy) {
                    Some((after, request)) => Next::Again(after, request),
                    None => Next::Return(Err(flight.failed(failed.outcome).because(failed.error))),
                }
            }
        }
    }

    /// The attempt's time is over.
    pub(super) fn time_out<B>(&mut self, copy: &mut Option<Copy>) -> Next<B> {
        let own = self.attempt.is_some_and(|(_, own)| own);
        self.observe(false);
        if own {
            if let Some((after, request)) = self.retry(Outcome::PerTryTimeout, None, copy) {
                return Next::Again(after, request);
            }
        }
        Next::Return(Err(self.failed(Outcome::PerTryTimeout)))
    }

    fn observe(&self, success: bool) {
        if let Some(endpoint) = &self.endpoint {
            endpoint.observe(success);
        }
    }

    /// The request of another attempt and how long to wait, if there is to be one.
    fn retry(
        &mut self,
        outcome: Outcome,
        unsent: Option<Request<Body>>,
        copy: &mut Option<Copy>,
    ) -> Option<(Duration, Request<Body>)> {
        let hold = self.hold.clone();
        let state = hold.cluster(self.cluster)?;
        let tried = self.endpoint.as_ref().map(|endpoint| endpoint.address());
        let untried = state.tables().usable().len() > self.tried.len() + 1;
        let free = self.dialect == Dialect::Grpc
            && outcome == Outcome::ConnectFailure
            && untried
            && self.tried.len() < MAX_FREE_CONNECTS;
        if free && unsent.is_some() {
            self.tried.extend(tried);
            return unsent.map(|request| (Duration::ZERO, request));
        }
        let policy = hold.view(self.route).retry_policy()?;
        let random = self.random.next();
        let RetryDecision::After(after) =
            decide(policy, outcome, self.retries, self.dialect, random)
        else {
            return None;
        };
        let request = match unsent {
            Some(request) => request,
            None => copy.as_mut()?.next()?,
        };
        // The retry before gives its place back first: it is over.
        self.retry_permit = None;
        self.retry_permit = Some(state.admit_retry().ok()?);
        self.retries += 1;
        if policy.avoid_previous_hosts {
            self.tried.extend(tried);
        }
        self.endpoint = None;
        Some((after, request))
    }

    fn respond<B: http_body::Body>(self, response: Response<B>) -> Response<ResponseBody<B>> {
        let (mut head, body) = response.into_parts();
        let view = self.hold.view(self.route);
        if view.changes_response_headers() {
            view.change_response_headers(&mut head.headers);
        }
        let under_way = UnderWay { _permit: self.permit, _endpoint: self.endpoint };
        let body = ResponseBody::upstream(body, under_way, self.total.map(Into::into));
        Response::from_parts(head, body)
    }

    fn failed(&self, outcome: Outcome) -> Error {
        let view = self.hold.view(self.route);
        let state = self.hold.cluster(self.cluster);
        let mut way = state.map(|state| way(&view, state)).unwrap_or_default();
        if let Some(endpoint) = &self.endpoint {
            way.push_str(&format!(" → endpoint {}", endpoint.address()));
        }
        let attempts = self.retries + 1;
        let times = if attempts == 1 { String::new() } else { format!(", {attempts} attempts") };
        let (kind, what) = match outcome {
            Outcome::PerTryTimeout => (ErrorKind::Deadline, "timed out"),
            Outcome::ConnectFailure => (ErrorKind::Connect, "not connected"),
            _ => (ErrorKind::Reset, "no answer"),
        };
        Error::new(kind, format!("{what} ({way}{times})"))
    }
}

const GRPC_TIMEOUT: &str = "grpc-timeout";

impl Copy {
    fn of(request: &mut Request<Body>) -> Self {
        let (body, replay) = Replay::split(std::mem::take(request.body_mut()));
        *request.body_mut() = body;
        let mut head = Request::new(());
        *head.method_mut() = request.method().clone();
        *head.uri_mut() = request.uri().clone();
        *head.version_mut() = request.version();
        *head.headers_mut() = request.headers().clone();
        *head.extensions_mut() = request.extensions().clone();
        Self { head, body: replay }
    }

    /// The request again; `None` when too much of its body has been sent.
    fn next(&mut self) -> Option<Request<Body>> {
        let body = self.body.again()?;
        Some(self.head.clone().map(|()| body))
    }
}

/// Whether a condition can arise after the request has left. Those on a gRPC status can only for
/// gRPC content, and a connection that was never made gives the request back.
fn needs_copy(
    policy: &RetryPolicy,
    dialect: Dialect,
    gives_back: bool,
    http2: bool,
    headers: &http::HeaderMap,
) -> bool {
    if policy.num_retries == 0 {
        return false;
    }
    let grpc = dialect == Dialect::Grpc
        || headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    let statuses = !policy.retriable_status_codes.is_empty();
    let mut conditions = policy.conditions;
    if !grpc {
        conditions = conditions.without(RetryConditions::GRPC);
    }
    if !statuses {
        conditions = conditions.without(RetryConditions::RETRIABLE_STATUS_CODES);
    }
    if gives_back {
        conditions = conditions.without(RetryConditions::CONNECT_FAILURE);
        if !http2 {
            conditions = conditions.without(RetryConditions::REFUSED_STREAM);
        }
    }
    !conditions.is_empty()
}

fn of_response<B>(response: &Response<B>) -> Outcome {
    let grpc_status = response.headers().get("grpc-status");
    Outcome::Response {
        status: response.status(),
        grpc_status: grpc_status.and_then(|status| status.to_str().ok()?.parse().ok()),
        rate_limited: response.headers().contains_key("x-envoy-ratelimited"),
    }
}

fn rewrite_host(request: &mut Request<Body>, host: &HeaderValue) {
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    match Authority::try_from(host.as_bytes()) {
        Ok(authority) if parts.authority.is_some() => parts.authority = Some(authority),
        _ => {
            request.headers_mut().insert(header::HOST, host.clone());
        }
    }
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
}

fn no_cluster(hold: &Hold, view: &RouteView<'_>, cluster: ClusterIndex) -> Error {
    let name = hold.cluster_name(cluster);
    let text = format!("cluster {name:?} does not exist ({})", route_way(view));
    let error = Error::new(ErrorKind::NoCluster, text);
    match hold.cluster_failure(cluster) {
        Some(failure) => error.because(failure.clone()),
        None => error,
    }
}

/// The way to a cluster, in resource names.
fn way(view: &RouteView<'_>, state: &ClusterState<Io>) -> String {
    format!("{} → cluster {:?}", route_way(view), state.name())
}

fn route_way(view: &RouteView<'_>) -> String {
    format!(
        "listener {:?} → route configuration {:?} → virtual host {:?} → route {:?}",
        view.listener, view.configuration.name, view.host.name, view.route.name
    )
}

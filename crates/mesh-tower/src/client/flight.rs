use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http::uri::Authority;
use http::{HeaderValue, Request, Response, Uri, header};
use mesh_core::Dialect;
use mesh_core::cluster::{
    Avoid, ClusterState, NoEndpoints, Overloaded, Permit, Picked, RetryPermit,
};
use mesh_core::resilience::{
    Outcome, RetryDecision, attempt_deadline, decide, grpc_timeout, total_deadline,
};
use mesh_core::resource::{RetryConditions, RetryPolicy, UpstreamProtocol};
use mesh_core::snapshot::{ClusterIndex, RouteRef, RouteView};

use super::body::{ResponseBody, UnderWay};
use super::now;
use super::record::Record;
use super::transport::Failed;
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
    /// Whether the route changes response headers.
    changes_response: bool,
    random: Random,
    /// Taken by the response body.
    permit: Option<Permit>,
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

/// Another attempt: how long to wait, and with what.
pub(super) type Again = (Duration, Request<Body>);

/// Where a request goes, with what came along.
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
    /// Admits a routed request, changes its head, keeps a copy where a retry may need one, and picks
    /// an endpoint.
    #[inline]
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
        let permit = state.admit().map_err(|overloaded| not_admitted(&view, state, overloaded))?;
        let timeout = view.timeout(dialect);
        let total = match timeout {
            None => caller,
            Some(_) => total_deadline(now(), timeout, caller),
        };
        if view.changes_headers() {
            view.change_request_headers(request.headers_mut());
        }
        if let Some(host) = view.host_rewrite() {
            rewrite_host(request, host);
        }
        if let Some(policy) = view.retry_policy() {
            // HTTP/1.1 has no way to refuse a request that was sent.
            let http2 =
                dialect == Dialect::Grpc || state.spec().protocol == UpstreamProtocol::Http2;
            if needs_copy(policy, dialect, gives_back, http2, request.headers()) {
                *copy = Some(Copy::of(request));
            }
        }
        let mut random = random;
        let endpoint = pick(&view, state, &[], &mut random)?;
        let changes_response = view.changes_headers();
        let attempt = attempt_limit(view.retry_policy(), total);
        let mut flight = Self {
            route,
            cluster,
            dialect,
            changes_response,
            random,
            permit: Some(permit),
            endpoint: Some(endpoint),
            retries: 0,
            retry_permit: None,
            tried: Vec::new(),
            caller,
            total,
            attempt,
            record,
            hold,
        };
        flight.picked(request);
        Ok(flight)
    }

    /// Picks an endpoint for another attempt, and makes the request ready for it.
    pub(super) fn pick(&mut self, request: &mut Request<Body>) -> Result<(), Error> {
        let view = self.hold.view(self.route);
        let state = self.hold.cluster(self.cluster).expect("it was there when the flight began");
        self.endpoint = Some(pick(&view, state, &self.tried, &mut self.random)?);
        self.attempt = attempt_limit(view.retry_policy(), self.total);
        self.picked(request);
        Ok(())
    }

    fn picked(&mut self, request: &mut Request<Body>) {
        if let Some(record) = &self.record {
            record.attempt(self.endpoint().address());
        }
        if self.dialect == Dialect::Grpc {
            self.write_grpc_timeout(request);
        }
    }

    /// The endpoint of the attempt under way.
    pub(super) fn endpoint(&self) -> &Picked<Io> {
        self.endpoint.as_ref().expect("an attempt has an endpoint")
    }

    /// Tells the server how long is left, unless the caller's own header still says so.
    fn write_grpc_timeout(&self, request: &mut Request<Body>) {
        let Some(total) = self.total else { return };
        let told = request.headers().contains_key(GRPC_TIMEOUT);
        if told && self.retries == 0 && self.caller == Some(total) {
            return;
        }
        let left = total.saturating_duration_since(now());
        request.headers_mut().insert(GRPC_TIMEOUT, grpc_timeout::format(left));
    }

    pub(super) fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// When the attempt under way must be over.
    pub(super) fn attempt_deadline(&self) -> Option<Instant> {
        self.attempt.map(|(deadline, _)| deadline)
    }

    /// When the request must be over.
    pub(super) fn total_deadline(&self) -> Option<Instant> {
        self.total
    }

    /// Whether a response is not to be taken but tried again.
    pub(super) fn answered<B>(
        &mut self,
        response: &Response<B>,
        copy: &mut Option<Copy>,
    ) -> Option<Again> {
        self.observe(!response.status().is_server_error());
        copy.as_ref()?;
        self.retry(of_response(response), None, copy)
    }

    /// The response, which from now on holds what the request held.
    pub(super) fn respond<B: http_body::Body>(
        &mut self,
        mut response: Response<B>,
    ) -> Response<ResponseBody<B>> {
        if self.changes_response {
            self.hold.view(self.route).change_response_headers(response.headers_mut());
        }
        let under_way = UnderWay { _permit: self.permit.take(), _endpoint: self.endpoint.take() };
        let deadline = self.total;
        response.map(|body| ResponseBody::upstream(body, under_way, deadline))
    }

    /// What to do about an attempt without an answer.
    pub(super) fn broke(
        &mut self,
        failed: Failed,
        copy: &mut Option<Copy>,
    ) -> Result<Again, Error> {
        self.observe(false);
        let again = self.retry(failed.outcome, failed.request, copy);
        again.ok_or_else(|| self.failed(failed.outcome).because(failed.error))
    }

    /// What to do when the attempt's time is over.
    pub(super) fn timed_out(&mut self, copy: &mut Option<Copy>) -> Result<Again, Error> {
        self.observe(false);
        let own = self.attempt.is_some_and(|(_, own)| own);
        let again = if own { self.retry(Outcome::PerTryTimeout, None, copy) } else { None };
        again.ok_or_else(|| self.failed(Outcome::PerTryTimeout))
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
    ) -> Option<Again> {
        let state = self.hold.cluster(self.cluster)?;
        let tried = self.endpoint.as_ref().map(|endpoint| endpoint.address());
        let free = self.dialect == Dialect::Grpc
            && outcome == Outcome::ConnectFailure
            && self.tried.len() < MAX_FREE_CONNECTS
            && state.tables().usable().len() > self.tried.len() + 1;
        let unsent = match unsent {
            Some(request) if free => {
                self.tried.extend(tried);
                self.endpoint = None;
                return Some((Duration::ZERO, request));
            }
            unsent => unsent,
        };
        let policy = self.hold.view(self.route).retry_policy()?;
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

fn pick(
    view: &RouteView<'_>,
    state: &ClusterState<Io>,
    tried: &[SocketAddr],
    random: &mut Random,
) -> Result<Picked<Io>, Error> {
    // Endpoints whose connection was refused are avoided as far as there are others.
    let draws = tried.len() as u32;
    let max_attempts =
        view.retry_policy().map_or(draws, |policy| policy.host_selection_retry_max_attempts);
    let avoid = Avoid { tried, max_attempts };
    state.pick(avoid, random.next()).map_err(|none| no_endpoints(view, state, none))
}

/// When an attempt that begins now must be over, and whether that is its own limit.
fn attempt_limit(policy: Option<&RetryPolicy>, total: Option<Instant>) -> Option<(Instant, bool)> {
    match policy.and_then(|policy| policy.per_try_timeout) {
        None => total.map(|total| (total, false)),
        per_try => attempt_deadline(now(), per_try, total),
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

fn not_admitted(view: &RouteView<'_>, state: &ClusterState<Io>, why: Overloaded) -> Error {
    let text = format!("not admitted ({})", way(view, state));
    Error::new(ErrorKind::Overloaded, text).because(why)
}

fn no_endpoints(view: &RouteView<'_>, state: &ClusterState<Io>, why: NoEndpoints) -> Error {
    Error::new(ErrorKind::NoEndpoints, format!("not sent ({})", way(view, state))).because(why)
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

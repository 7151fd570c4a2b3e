use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http::response::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, header};
use mesh_core::Dialect;
use mesh_core::cluster::{Avoid, ClusterState, Permit, Picked, RetryPermit};
use mesh_core::resilience::{
    Outcome, RetryDecision, attempt_deadline, decide, grpc_timeout, total_deadline,
};
use mesh_core::resource::{RetryPolicy, UpstreamProtocol};
use mesh_core::snapshot::{ClusterIndex, RouteRef, RouteView};

use super::body::{ResponseBody, UnderWay};
use super::copy::{Copy, needs_copy};
use super::now;
use super::record::Record;
use super::transport::{Failed, Transport, Unsent};
use super::way::{no_cluster, no_endpoints, not_admitted, way};
use crate::body::Body;
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
    /// Whether the caller's deadline is the one that counts. Only known of gRPC calls.
    caller_decides: bool,
    random: Random,
    /// Taken by the response body.
    permit: Option<Permit>,
    endpoint: Option<Picked<Io>>,
    total: Option<Instant>,
    /// This attempt's own limit, where it ends before the request's.
    own: Option<Instant>,
    /// Made when a first attempt failed or all are recorded, so that the many others are small.
    history: Option<Box<History>>,
}

/// The attempts so far.
#[derive(Default)]
struct History {
    record: Option<Record>,
    retries: u32,
    retry_permit: Option<RetryPermit>,
    /// Endpoints to stay away from.
    tried: Vec<SocketAddr>,
}

impl History {
    #[cold]
    fn recorded(record: Record, first: SocketAddr) -> Box<Self> {
        record.attempt(first);
        Box::new(Self { record: Some(record), ..Self::default() })
    }
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
    /// Admits a routed request, changes its head, keeps a copy where a retry may need one, picks an
    /// endpoint, and sends it.
    //
    // Sends before the flight is made, so that the flight is never in the way of a panic there and
    // its fields are written once, where the call keeps them.
    #[inline(always)]
    pub(super) fn begin<T: Transport>(
        routed: Routed,
        unsent: &mut Unsent,
        transport: &T,
        copy: &mut Option<Box<Copy>>,
    ) -> Result<(Self, T::Future), Error> {
        let request = unsent.as_mut().expect("not sent yet");
        let Routed { hold, route, cluster, dialect, mut random, caller, record } = routed;
        let forwarding = hold.forwarding(route).expect("the decision was to forward");
        let Some(state) = hold.cluster(cluster) else {
            return Err(no_cluster(&hold, route, cluster));
        };
        let permit = match state.admit() {
            Ok(permit) => permit,
            Err(overloaded) => return Err(not_admitted(&hold.view(route), state, overloaded)),
        };
        let total = match forwarding.timeout(dialect) {
            None => caller,
            timeout => total_deadline(now(), timeout, caller),
        };
        let changes_response = forwarding.changes_headers();
        if changes_response || forwarding.rewrites_host() {
            change_head(&hold.view(route), request);
        }
        let mut own = None;
        if let Some(policy) = forwarding.retry_policy() {
            // HTTP/1.1 has no way to refuse a request that was sent.
            let http2 =
                dialect == Dialect::Grpc || state.spec().protocol == UpstreamProtocol::Http2;
            if needs_copy(policy, dialect, T::GIVES_BACK, http2, request.headers()) {
                *copy = Some(Box::new(Copy::of(request)));
            }
            own = own_limit(policy, total);
        }
        let endpoint = match state.pick(Avoid::default(), random.next()) {
            Ok(endpoint) => endpoint,
            Err(none) => return Err(no_endpoints(&hold.view(route), state, none)),
        };
        let history = record.map(|record| History::recorded(record, endpoint.address()));
        let mut caller_decides = false;
        if dialect == Dialect::Grpc {
            caller_decides = caller.is_some() && caller == total;
            write_grpc_timeout(request, total, caller_decides);
        }
        let future = transport.send(&endpoint, dialect, unsent);
        let flight = Self {
            hold,
            route,
            cluster,
            dialect,
            changes_response,
            caller_decides,
            random,
            permit: Some(permit),
            endpoint: Some(endpoint),
            total,
            own,
            history,
        };
        Ok((flight, future))
    }

    /// Picks an endpoint for another attempt, and makes the request ready for it.
    pub(super) fn pick(&mut self, request: &mut Request<Body>) -> Result<(), Error> {
        let view = self.hold.view(self.route);
        let state = self.hold.cluster(self.cluster).expect("it was there when the flight began");
        let tried = self.history.as_ref().map_or(&[][..], |history| &history.tried);
        let endpoint = self.endpoint.insert(pick(&view, state, tried, &mut self.random)?);
        self.own = view.retry_policy().and_then(|policy| own_limit(policy, self.total));
        if let Some(record) = self.history.as_ref().and_then(|history| history.record.as_ref()) {
            record.attempt(endpoint.address());
        }
        if self.dialect == Dialect::Grpc {
            let still = self.caller_decides && self.retries() == 0;
            write_grpc_timeout(request, self.total, still);
        }
        Ok(())
    }

    /// The endpoint of the attempt under way.
    pub(super) fn endpoint(&self) -> &Picked<Io> {
        self.endpoint.as_ref().expect("an attempt has an endpoint")
    }

    pub(super) fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// When the attempt under way must be over.
    pub(super) fn attempt_deadline(&self) -> Option<Instant> {
        self.own.or(self.total)
    }

    /// The error of a request whose time ended while it waited for another attempt.
    pub(super) fn expired(&self) -> Option<Error> {
        let over = self.total.is_some_and(|total| total <= now());
        over.then(|| self.failed(Outcome::PerTryTimeout))
    }

    /// When the request must be over.
    pub(super) fn total_deadline(&self) -> Option<Instant> {
        self.total
    }

    /// Whether a response is not to be taken but tried again.
    #[inline]
    pub(super) fn answered(
        &mut self,
        status: StatusCode,
        headers: &HeaderMap,
        copy: &mut Option<Box<Copy>>,
    ) -> Option<Again> {
        self.observe(!status.is_server_error());
        copy.as_ref()?;
        self.retry(of_response(status, headers), None, copy)
    }

    /// The response, which from now on holds what the request held.
    #[inline]
    pub(super) fn respond<B: http_body::Body>(
        &mut self,
        response: Response<B>,
    ) -> Response<ResponseBody<B>> {
        let (head, body) = response.into_parts();
        let (permit, endpoint) = (self.permit.take(), self.endpoint.take());
        // A response without a body is over with its head.
        let over = body.is_end_stream();
        let under_way = (!over).then(|| UnderWay::new(permit, endpoint, self.total));
        let body = ResponseBody::upstream(body, under_way);
        if self.changes_response {
            return Response::from_parts(self.changed(head), body);
        }
        Response::from_parts(head, body)
    }

    // Given the head and not lent it, so that it stays where it is on the way that is usual.
    #[cold]
    fn changed(&self, mut head: Parts) -> Parts {
        self.hold.view(self.route).change_response_headers(&mut head.headers);
        head
    }

    /// What to do about an attempt without an answer.
    #[cold]
    pub(super) fn broke(
        &mut self,
        failed: Failed,
        copy: &mut Option<Box<Copy>>,
    ) -> Result<Again, Error> {
        self.observe(false);
        let again = self.retry(failed.outcome, failed.request, copy);
        again.ok_or_else(|| self.failed(failed.outcome).because(failed.error))
    }

    /// What to do when the attempt's time is over.
    #[cold]
    pub(super) fn timed_out(&mut self, copy: &mut Option<Box<Copy>>) -> Result<Again, Error> {
        self.observe(false);
        let again =
            if self.own.is_some() { self.retry(Outcome::PerTryTimeout, None, copy) } else { None };
        again.ok_or_else(|| self.failed(Outcome::PerTryTimeout))
    }

    fn observe(&self, success: bool) {
        if let Some(endpoint) = &self.endpoint {
            endpoint.observe(success);
        }
    }

    /// How many attempts were retries.
    fn retries(&self) -> u32 {
        self.history.as_ref().map_or(0, |history| history.retries)
    }

    /// The request of another attempt and how long to wait, if there is to be one.
    #[inline(never)]
    fn retry(
        &mut self,
        outcome: Outcome,
        unsent: Option<Request<Body>>,
        copy: &mut Option<Box<Copy>>,
    ) -> Option<Again> {
        let state = self.hold.cluster(self.cluster)?;
        let last = self.endpoint.as_ref().map(|endpoint| endpoint.address());
        let tried = self.history.as_ref().map_or(0, |history| history.tried.len());
        let free = self.dialect == Dialect::Grpc
            && outcome == Outcome::ConnectFailure
            && tried < MAX_FREE_CONNECTS
            && state.tables().usable().len() > tried + 1;
        let unsent = match unsent {
            Some(request) if free => {
                self.history.get_or_insert_default().tried.extend(last);
                self.endpoint = None;
                return Some((Duration::ZERO, request));
            }
            unsent => unsent,
        };
        let policy = self.hold.view(self.route).retry_policy()?;
        let random = self.random.next();
        let RetryDecision::After(after) =
            decide(policy, outcome, self.retries(), self.dialect, random)
        else {
            return None;
        };
        let history = self.history.get_or_insert_default();
        // The retry before gives its place back first: it is over.
        history.retry_permit = None;
        let permit = state.admit_retry().ok()?;
        // Only once it is admitted: the body of another attempt cuts off the one before.
        let request = match unsent {
            Some(request) => request,
            None => copy.as_mut()?.next()?,
        };
        history.retry_permit = Some(permit);
        history.retries += 1;
        if policy.avoid_previous_hosts {
            history.tried.extend(last);
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
        let attempts = self.retries() + 1;
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

/// The limit of an attempt that begins now, where it ends before the request's.
fn own_limit(policy: &RetryPolicy, total: Option<Instant>) -> Option<Instant> {
    let per_try = policy.per_try_timeout?;
    let limit = attempt_deadline(now(), Some(per_try), total);
    limit.and_then(|(deadline, own)| own.then_some(deadline))
}

/// Tells the server how long is left, unless the caller's own header still says so.
fn write_grpc_timeout(request: &mut Request<Body>, total: Option<Instant>, callers: bool) {
    let Some(total) = total else { return };
    if callers && request.headers().contains_key(GRPC_TIMEOUT) {
        return;
    }
    let left = total.saturating_duration_since(now());
    request.headers_mut().insert(GRPC_TIMEOUT, grpc_timeout::format(left));
}

#[inline(never)]
fn of_response(status: StatusCode, headers: &HeaderMap) -> Outcome {
    static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
    static RATE_LIMITED: HeaderName = HeaderName::from_static("x-envoy-ratelimited");
    let grpc_status = headers.get(&GRPC_STATUS);
    Outcome::Response {
        status,
        grpc_status: grpc_status.and_then(|status| status.to_str().ok()?.parse().ok()),
        rate_limited: headers.contains_key(&RATE_LIMITED),
    }
}

/// Makes the route's changes of a request's head.
#[inline(never)]
fn change_head(view: &RouteView<'_>, request: &mut Request<Body>) {
    view.change_request_headers(request.headers_mut());
    if let Some(host) = view.host_rewrite() {
        rewrite_host(request, host);
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

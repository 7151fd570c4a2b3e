use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use http::header::HOST;
use http::{Request, Response};
use mesh_core::resilience::grpc_timeout;
use mesh_core::snapshot::{Decision, NoRoute, RouteRef};
use mesh_core::{Dialect, Head};
use pin_project_lite::pin_project;
use tokio::time::Sleep;

use super::body::ResponseBody;
use super::flight::{Copy, Flight, Next, Routed};
use super::record::{Deadline, Record};
use super::transport::Transport;
use crate::body::Body;
use crate::error::{Error, ErrorKind};
use crate::mesh::{Hold, Inner, Mesh, Subscribed};

type Resolving = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

pin_project! {
    /// One request through the mesh.
    ///
    /// The route is decided when it is made, by the Snapshot in force then; all else happens when
    /// it is polled. Dropping it gives up the request: its attempt, its permits and its wait.
    //
    // Large parts are written once, where they stay: moving them costs more than deciding.
    pub(crate) struct Call<T: Transport> {
        #[pin]
        state: State<T>,
        transport: T,
        flight: Option<Flight>,
        copy: Option<Copy>,
        // One timer for all waits, armed when something is really waited for.
        #[pin]
        timer: Option<Sleep>,
    }
}

pin_project! {
    #[project = StateProject]
    enum State<T: Transport> {
        // The target's first resolution.
        Resolving { future: Resolving, start: Option<Start> },
        Routed { routed: Option<Routed>, request: Option<Request<Body>> },
        Attempt { #[pin] future: T::Future },
        // The wait before a retry.
        Backoff { until: Instant, request: Option<Request<Body>> },
        // Decided without I/O.
        Ended { result: Option<Result<Response<ResponseBody<T::Body>>, Error>> },
    }
}

/// A request before it is routed.
pub(super) struct Start {
    pub(super) mesh: Arc<Inner>,
    pub(super) target: Arc<Subscribed>,
    pub(super) dialect: Dialect,
    pub(super) request: Request<Body>,
}

impl<T: Transport> Call<T> {
    pub(crate) fn new(
        mesh: &Mesh,
        target: &Arc<Subscribed>,
        dialect: Dialect,
        transport: T,
        request: Request<Body>,
    ) -> Self {
        let hold = mesh.inner().hold();
        let state = if hold.root(target.listener(), target.hint()).is_some() {
            begin(mesh.inner(), target, dialect, hold, request)
        } else {
            let (mesh, target) = (mesh.inner().clone(), target.clone());
            let start = Start { mesh, target, dialect, request };
            State::Resolving { future: resolve(&start), start: Some(start) }
        };
        Self { state, transport, flight: None, copy: None, timer: None }
    }
}

/// Waits for a target no longer than its request may take.
fn resolve(start: &Start) -> Resolving {
    let (mesh, target) = (start.mesh.clone(), start.target.clone());
    let caller = caller_deadline(&start.request, start.dialect);
    Box::pin(async move {
        let own = tokio::time::Instant::now() + crate::mesh::RESOLUTION_TIMEOUT;
        let deadline = caller.map_or(own, |caller| own.min(caller.into()));
        mesh.resolved_by(&target, deadline).await
    })
}

/// Routes a request.
fn begin<T: Transport>(
    mesh: &Inner,
    target: &Subscribed,
    dialect: Dialect,
    hold: Hold,
    mut request: Request<Body>,
) -> State<T> {
    let named = request.uri().authority().is_some() || request.headers().contains_key(HOST);
    if !named {
        request.headers_mut().insert(HOST, target.host().clone());
    }
    match route(mesh, target, dialect, hold, &request) {
        Ok(Ok(routed)) => State::Routed { routed: Some(routed), request: Some(request) },
        Ok(Err(response)) => State::Ended { result: Some(Ok(response)) },
        Err(error) => State::Ended { result: Some(Err(error)) },
    }
}

type Answer<B> = Response<ResponseBody<B>>;

/// Where a request goes, or the answer that configuration gives it.
fn route<B: http_body::Body>(
    mesh: &Inner,
    target: &Subscribed,
    dialect: Dialect,
    hold: Hold,
    request: &Request<Body>,
) -> Result<Result<Routed, Answer<B>>, Error> {
    let not_ready = || mesh.not_ready(target);
    let root = hold.root(target.listener(), target.hint()).ok_or_else(not_ready)?;
    let mut head = Head::of(request);
    if dialect == Dialect::Grpc {
        head.authority = target.authority();
    }
    let mut random = mesh.random();
    let record = request.extensions().get::<Record>().cloned();
    match hold.route(root, &head, dialect, random.next()) {
        Decision::Forward { route, cluster } => {
            if let Some(record) = &record {
                record.routed(&hold.view(route).route.name, hold.cluster_name(cluster));
            }
            let caller = caller_deadline(request, dialect);
            Ok(Ok(Routed { hold, route, cluster, dialect, random, caller, record }))
        }
        Decision::Respond { route } => {
            if let Some(record) = &record {
                record.routed(&hold.view(route).route.name, "");
            }
            Ok(Err(direct_response(&hold, route)))
        }
        Decision::Fail(NoRoute::Configuration) => {
            let error = not_ready();
            Err(match hold.failure(root) {
                Some(failure) => error.because(failure.clone()),
                None => error,
            })
        }
        Decision::Fail(why) => Err(unrouted(why, target, &head)),
        decision => Err(Error::new(ErrorKind::Unsupported, format!("{decision:?}"))),
    }
}

fn direct_response<B: http_body::Body>(hold: &Hold, route: RouteRef) -> Answer<B> {
    let view = hold.view(route);
    let (status, body) = view.direct_response().expect("the decision was to respond");
    let mut response = Response::new(ResponseBody::local(body.clone()));
    *response.status_mut() = status;
    view.change_response_headers(response.headers_mut());
    response
}

fn unrouted(why: NoRoute, target: &Subscribed, head: &Head<'_>) -> Error {
    let kind = match why {
        NoRoute::Unsupported(_) | NoRoute::NonForwarding(_) => ErrorKind::Unsupported,
        _ => ErrorKind::NoRoute,
    };
    let listener = target.listener();
    let Head { method, authority, path_and_query, .. } = head;
    let text = format!("{why}: {method} {path_and_query} for {authority:?} (listener {listener:?})");
    Error::new(kind, text)
}

/// The caller's deadline: an extension, or gRPC's own header.
fn caller_deadline(request: &Request<Body>, dialect: Dialect) -> Option<Instant> {
    if let Some(Deadline(deadline)) = request.extensions().get() {
        return Some(*deadline);
    }
    if dialect == Dialect::Http {
        return None;
    }
    let timeout = grpc_timeout::parse(request.headers().get("grpc-timeout")?)?;
    Instant::now().checked_add(timeout)
}

impl<T: Transport> State<T> {
    fn sent(sent: Result<T::Future, Error>) -> Self {
        match sent {
            Ok(future) => Self::Attempt { future },
            Err(error) => Self::Ended { result: Some(Err(error)) },
        }
    }
}

impl<T: Transport> Future for Call<T> {
    type Output = Result<Response<ResponseBody<T::Body>>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProject::Ended { result } => {
                    return Poll::Ready(result.take().expect("polled after it ended"));
                }
                StateProject::Resolving { future, start } => {
                    let resolved = ready!(future.as_mut().poll(cx));
                    let start = start.take().expect("taken when resolved, once");
                    let state = match resolved {
                        Ok(()) => {
                            let Start { mesh, target, dialect, request } = start;
                            begin(&mesh, &target, dialect, mesh.hold(), request)
                        }
                        Err(error) => State::Ended { result: Some(Err(error)) },
                    };
                    this.state.set(state);
                    continue;
                }
                StateProject::Routed { routed, request } => {
                    let routed = routed.take().expect("taken at the first poll, once");
                    let mut request = request.take().expect("taken with it");
                    let begun = Flight::begin(routed, &mut request, T::GIVES_BACK, this.copy);
                    let sent = begun.and_then(|flight| {
                        this.flight.insert(flight).send(this.transport, request)
                    });
                    this.state.set(State::sent(sent));
                    continue;
                }
                StateProject::Attempt { future } => match future.poll(cx) {
                    Poll::Ready(result) => Flight::finish(this.flight, this.copy, result),
                    Poll::Pending => {
                        let flight = this.flight.as_mut().expect("an attempt has a flight");
                        let Some(deadline) = flight.attempt_deadline() else {
                            return Poll::Pending;
                        };
                        ready!(poll_until(this.timer.as_mut(), deadline, cx));
                        flight.time_out(this.copy)
                    }
                },
                StateProject::Backoff { until, request } => {
                    ready!(poll_until(this.timer.as_mut(), *until, cx));
                    let request = request.take().expect("taken when the wait is over, once");
                    let flight = this.flight.as_mut().expect("a retry has a flight");
                    let sent = flight.send(this.transport, request);
                    this.state.set(State::sent(sent));
                    continue;
                }
            };
            match next {
                Next::Return(result) => {
                    // Gives back permits now, not when the caller drops this.
                    *this.flight = None;
                    this.state.set(State::Ended { result: None });
                    return Poll::Ready(result);
                }
                Next::Again(after, request) => {
                    let until = wait_until(after, this.flight.as_ref());
                    this.state.set(State::Backoff { until, request: Some(request) });
                }
            }
        }
    }
}

/// When a wait of `after` ends: no later than the request's own end, which the next attempt then
/// reports.
fn wait_until(after: Duration, flight: Option<&Flight>) -> Instant {
    let until = Instant::now() + after;
    flight.and_then(Flight::total_deadline).map_or(until, |total| until.min(total))
}

/// Waits on the one timer, which is armed, or set anew, when it does not stand there already.
fn poll_until(
    mut timer: Pin<&mut Option<Sleep>>,
    deadline: Instant,
    cx: &mut Context<'_>,
) -> Poll<()> {
    let deadline = tokio::time::Instant::from_std(deadline);
    match timer.as_mut().as_pin_mut() {
        None => timer.set(Some(tokio::time::sleep_until(deadline))),
        Some(sleep) if sleep.deadline() != deadline => sleep.reset(deadline),
        Some(_) => {}
    }
    timer.as_pin_mut().map_or(Poll::Ready(()), |sleep| sleep.poll(cx))
}

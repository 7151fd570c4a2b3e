use std::any::{Any, TypeId};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use mesh_core::Dialect;
use pin_project_lite::pin_project;
use tokio::time::Sleep;

use super::begin::{Beginning, Begun, Delayed, Halt, begin, fix_deadline};
use super::body::ResponseBody;
use super::copy::Copy;
use super::flight::{Again, Flight};
use super::now;
use super::routing::{Answer, Place, caller_deadline};
use super::transport::{Transport, Unsent};
use crate::body::{Body, BoxError};
use crate::error::Error;
use crate::mesh::{Inner, Subscribed};

type Resolving = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

pin_project! {
    /// One request through the mesh.
    ///
    /// It is routed and sent for the first time when it is made, by the Snapshot in force then, so
    /// that a request which is answered at once needs no further poll. Dropping it gives up the
    /// request: its attempt, its permits and its wait.
    //
    // What is rare is boxed, so that what is common is small: moving it costs more than deciding.
    pub(crate) struct Call<T: Transport> {
        #[pin]
        state: State<T>,
        // Kept where another attempt may follow: a clone is two counts on a line all requests share.
        transport: Option<T>,
        flight: Option<Flight>,
        copy: Option<Box<Copy>>,
        // One timer for all waits, armed when something is really waited for.
        #[pin]
        timer: Option<Sleep>,
    }
}

pin_project! {
    #[project = StateProject]
    enum State<T: Transport> {
        // The target's first resolution.
        Resolving { future: Resolving, start: Option<Box<Start>> },
        Attempt { #[pin] future: T::Future },
        // The wait before a retry.
        Backoff { until: Instant, request: Option<Box<Request<Body>>> },
        // A wait before the first attempt.
        Delay { until: Instant, delayed: Option<Box<Delayed>> },
        // Decided without I/O.
        Ended { result: Option<Box<Result<Answer<T::Body>, Error>>> },
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
    // On its own, and made by one expression at its end, so that a call is built where its caller
    // keeps it: moving one costs as much as a good part of deciding.
    #[inline(never)]
    pub(crate) fn new<B>(place: Place<'_>, transport: &T, request: Request<B>) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (mut given, mut converted) = (Some(request), None);
        let request = unsent(&mut given, &mut converted);
        let hold = place.mesh.hold();
        let Some(root) = hold.root(place.target.listener(), place.target.hint()) else {
            let start = Start::new(place, request);
            return Self::without_flight(start.resolving(), Some(transport.clone()));
        };
        let (mut copy, mut kept) = (None, None);
        let beginning = Beginning { place, request, transport, copy: &mut copy, kept: &mut kept };
        match begin(beginning, hold, root) {
            Ok((flight, future)) => {
                let state = State::Attempt { future };
                Self { state, transport: kept, flight: Some(flight), copy, timer: None }
            }
            Err(halt) => Self::without_flight(State::halted(*halt), Some(transport.clone())),
        }
    }

    #[cold]
    fn without_flight(state: State<T>, transport: Option<T>) -> Self {
        Self { state, transport, flight: None, copy: None, timer: None }
    }
}

/// The request with a body of our own type: where it lies, when that is what it has.
#[inline(always)]
fn unsent<'r, B>(given: &'r mut Option<Request<B>>, converted: &'r mut Unsent) -> &'r mut Unsent
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    if TypeId::of::<B>() == TypeId::of::<Body>() {
        return (given as &mut dyn Any).downcast_mut().expect("the types are the same");
    }
    *converted = given.take().map(|request| request.map(Body::new));
    converted
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

/// Sends a request another time.
fn attempt<T: Transport>(
    flight: &mut Flight,
    transport: &Option<T>,
    mut request: Request<Body>,
) -> State<T> {
    match flight.pick(&mut request) {
        Ok(()) => {
            let transport = transport.as_ref().expect("kept where another attempt may follow");
            let future = flight.send(transport, request);
            State::Attempt { future }
        }
        Err(error) => State::ended(Err(error)),
    }
}

impl<T: Transport> State<T> {
    #[cold]
    fn ended(result: Result<Answer<T::Body>, Error>) -> Self {
        Self::Ended { result: Some(Box::new(result)) }
    }

    #[cold]
    fn halted(halt: Halt<T::Body>) -> Self {
        match halt {
            Halt::Ended(result) => Self::ended(result),
            Halt::Delayed(delayed) => Self::Delay { until: delayed.until, delayed: Some(delayed) },
        }
    }
}

impl<T: Transport> Future for Call<T> {
    type Output = Result<Response<ResponseBody<T::Body>>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let mut this = self.as_mut().project();
            let again = match this.state.as_mut().project() {
                StateProject::Attempt { future } => {
                    let flight = this.flight.as_mut().expect("an attempt has a flight");
                    match future.poll(cx) {
                        Poll::Ready(Ok(response)) => {
                            match flight.answered(response.status(), response.headers(), this.copy)
                            {
                                None => return Poll::Ready(Ok(flight.respond(response))),
                                Some(again) => Ok(again),
                            }
                        }
                        Poll::Ready(Err(failed)) => flight.broke(failed, this.copy),
                        Poll::Pending => {
                            let Some(deadline) = flight.attempt_deadline() else {
                                return Poll::Pending;
                            };
                            ready!(poll_until(this.timer.as_mut(), deadline, cx));
                            flight.timed_out(this.copy)
                        }
                    }
                }
                StateProject::Ended { result } => {
                    // Gives back what the request held now, not when the caller drops this.
                    *this.flight = None;
                    return Poll::Ready(*result.take().expect("polled after it ended"));
                }
                _ => {
                    ready!(self.as_mut().poll_wait(cx));
                    continue;
                }
            };
            self.as_mut().wait(again);
        }
    }
}

// Apart from `poll`, which is for the many requests that are answered at their first attempt: what
// is below would take registers there.
impl<T: Transport> Call<T> {
    /// Waits until another attempt may begin.
    #[inline(never)]
    fn wait(self: Pin<&mut Self>, again: Result<Again, Error>) {
        let mut this = self.project();
        let state = match again {
            Ok((after, request)) => {
                let until = wait_until(after, this.flight.as_mut());
                State::Backoff { until, request: Some(Box::new(request)) }
            }
            Err(error) => State::ended(Err(error)),
        };
        this.state.set(state);
    }

    /// Waits for what has to come before an attempt, and begins it.
    #[inline(never)]
    fn poll_wait(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let state = match this.state.as_mut().project() {
            StateProject::Backoff { until, request } => {
                ready!(poll_until(this.timer.as_mut(), *until, cx));
                let request = request.take().expect("taken when the wait is over, once");
                let flight = this.flight.as_mut().expect("a retry has a flight");
                match flight.expired() {
                    Some(error) => State::ended(Err(error)),
                    None => attempt(flight, this.transport, *request),
                }
            }
            StateProject::Resolving { future, start } => {
                let resolved = ready!(future.as_mut().poll(cx));
                let start = start.take().expect("taken when resolved, once");
                let begun = resolved.map_err(Into::into);
                let begun = begun.and_then(|()| start.begin(this.transport, this.copy));
                begun_later(begun, this.flight)
            }
            StateProject::Delay { until, delayed } => {
                ready!(poll_until(this.timer.as_mut(), *until, cx));
                let delayed = delayed.take().expect("taken when the wait is over, once");
                let by = this.transport.take().expect("kept while a request waits");
                let begun = delayed.go_on(&by, this.copy, this.transport);
                if matches!(&begun, Err(halt) if matches!(**halt, Halt::Delayed(_))) {
                    *this.transport = Some(by);
                }
                begun_later(begun, this.flight)
            }
            StateProject::Attempt { .. } | StateProject::Ended { .. } => return Poll::Ready(()),
        };
        this.state.set(state);
        Poll::Ready(())
    }
}

impl Start {
    #[cold]
    fn new(place: Place<'_>, request: &mut Unsent) -> Box<Self> {
        let Place { mesh, target, dialect } = place;
        let request = request.take().expect("not sent yet");
        Box::new(Self { mesh: mesh.clone(), target: target.clone(), dialect, request })
    }

    fn resolving<T: Transport>(mut self: Box<Self>) -> State<T> {
        fix_deadline(&mut self.request, self.dialect);
        State::Resolving { future: resolve(&self), start: Some(self) }
    }

    /// Goes on once the target is resolved.
    fn begin<T: Transport>(
        self: Box<Self>,
        transport: &mut Option<T>,
        copy: &mut Option<Box<Copy>>,
    ) -> Begun<T> {
        let Self { mesh, target, dialect, request } = *self;
        let place = Place { mesh: &mesh, target: &target, dialect };
        let hold = mesh.hold();
        match hold.root(target.listener(), target.hint()) {
            Some(root) => {
                let by = transport.clone().expect("kept while a target is resolved");
                let request = &mut Some(request);
                let beginning = Beginning { place, request, transport: &by, copy, kept: transport };
                begin(beginning, hold, root)
            }
            None => Err(mesh.not_ready(&target).into()),
        }
    }
}

/// The state of a request that began after a wait.
fn begun_later<T: Transport>(begun: Begun<T>, flight: &mut Option<Flight>) -> State<T> {
    match begun {
        Ok((begun, future)) => {
            *flight = Some(begun);
            State::Attempt { future }
        }
        Err(halt) => State::halted(*halt),
    }
}

/// When a wait of `after` ends: no later than the request's own end, which the next attempt then
/// reports.
fn wait_until(after: Duration, flight: Option<&mut Flight>) -> Instant {
    let until = now() + after;
    flight.and_then(Flight::total_deadline).map_or(until, |total| until.min(total))
}

/// Waits on the one timer, which is armed, or set anew, when it does not stand there already.
#[inline(never)]
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

//! What a request waits for when no attempt is under way.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use http::Request;
use mesh_core::Dialect;

use super::begin::{Beginning, Begun, Delayed, Halt, begin, fix_deadline};
use super::call::{Call, State, begun_later};
use super::copy::Copy;
use super::flight::{Again, Flight};
use super::hedge::{Finished, Hedged};
use super::now;
use super::routing::{Answer, Place, caller_deadline};
use super::transport::{Transport, Unsent};
use crate::body::Body;
use crate::error::Error;
use crate::mesh::{Inner, Subscribed};

type Resolving = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// What comes before an attempt, or instead of one.
pub(super) enum Step<T: Transport> {
    /// The target's first resolution.
    Resolving { future: Resolving, start: Option<Box<Start>> },
    /// The wait before a retry.
    Backoff { until: Instant, request: Option<Request<Body>> },
    /// A wait before the first attempt.
    Delay { until: Instant, delayed: Option<Box<Delayed>> },
    /// Attempts side by side.
    Hedged { hedged: Box<Hedged<T>> },
    /// Decided without I/O.
    Ended { result: Option<Result<Answer<T::Body>, Error>> },
}

impl<T: Transport> Step<T> {
    #[cold]
    fn ended(result: Result<Answer<T::Body>, Error>) -> Box<Self> {
        Box::new(Self::Ended { result: Some(result) })
    }

    #[cold]
    pub(super) fn hedged(flight: &mut Flight, future: T::Future) -> Box<Self> {
        Box::new(Self::Hedged { hedged: Box::new(Hedged::new(flight, future)) })
    }

    #[cold]
    pub(super) fn halted(halt: Halt<T::Body>) -> Box<Self> {
        match halt {
            Halt::Ended(result) => Self::ended(result),
            Halt::Delayed(delayed) => {
                Box::new(Self::Delay { until: delayed.until, delayed: Some(delayed) })
            }
        }
    }
}

/// A request before it is routed.
pub(super) struct Start {
    mesh: Arc<Inner>,
    target: Arc<Subscribed>,
    dialect: Dialect,
    request: Request<Body>,
}

impl Start {
    #[cold]
    pub(super) fn new(place: Place<'_>, request: &mut Unsent) -> Box<Self> {
        let Place { mesh, target, dialect } = place;
        let request = request.take().expect("not sent yet");
        Box::new(Self { mesh: mesh.clone(), target: target.clone(), dialect, request })
    }

    /// One that follows from another's answer.
    pub(super) fn anew(
        mesh: Arc<Inner>,
        target: Arc<Subscribed>,
        request: Request<Body>,
    ) -> Box<Self> {
        Box::new(Self { mesh, target, dialect: Dialect::Http, request })
    }

    pub(super) fn resolving<T: Transport>(mut self: Box<Self>) -> Box<Step<T>> {
        fix_deadline(&mut self.request, self.dialect);
        Box::new(Step::Resolving { future: resolve(&self), start: Some(self) })
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
                begin(beginning, hold, root, mesh.random())
            }
            None => Err(mesh.not_ready(&target).into()),
        }
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

// Apart from `poll`, which is for the many requests that are answered at their first attempt: what
// is below would take registers there.
impl<T: Transport> Call<T> {
    /// Begins the request anew that an answer led to.
    #[inline(never)]
    pub(super) fn redirect(self: Pin<&mut Self>, start: Box<Start>) {
        let mut this = self.project();
        *this.copy = None;
        // Gives back what the request before held.
        *this.flight = None;
        let begun = start.begin(this.transport, this.copy);
        let state = begun_later(begun, this.flight);
        this.state.set(state);
    }

    /// Waits until another attempt may begin.
    #[inline(never)]
    pub(super) fn wait(self: Pin<&mut Self>, again: Result<Again, Error>) {
        let mut this = self.project();
        let step = match again {
            Ok((after, request)) => {
                let until = wait_until(after, this.flight.as_mut());
                Box::new(Step::Backoff { until, request: Some(request) })
            }
            Err(error) => Step::ended(Err(error)),
        };
        this.state.set(State::Step { step });
    }

    /// Waits for what has to come before an attempt, and begins it; what the request ends with
    /// when it does.
    #[inline(never)]
    pub(super) fn poll_step(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Answer<T::Body>, Error>>> {
        let mut this = self.project();
        let state = match this.state.as_mut().step() {
            None => return Poll::Ready(None),
            Some(Step::Ended { result }) => {
                // Gives back what the request held now, not when the caller drops this.
                *this.flight = None;
                return Poll::Ready(Some(result.take().expect("polled after it ended")));
            }
            Some(Step::Backoff { until, request }) => {
                let timers = this.flight.as_ref().map(Flight::timers);
                ready!(this.alarm.poll(timers, *until, cx));
                let request = request.take().expect("taken when the wait is over, once");
                let flight = this.flight.as_mut().expect("a retry has a flight");
                match flight.expired() {
                    Some(error) => State::Step { step: Step::ended(Err(error)) },
                    None => attempt(flight, this.transport, request),
                }
            }
            Some(Step::Hedged { hedged }) => {
                let flight = this.flight.as_mut().expect("attempts have a flight");
                let transport = this.transport.as_ref().expect("kept where others may follow");
                match ready!(hedged.poll(flight, this.copy, transport, this.alarm, cx)) {
                    Finished::Ended(Ok(answer)) => return Poll::Ready(Some(Ok(answer))),
                    // With it goes what the attempts hold.
                    Finished::Ended(error) => State::Step { step: Step::ended(error) },
                    Finished::Redirected(start) => {
                        (*this.copy, *this.flight) = (None, None);
                        begun_later(start.begin(this.transport, this.copy), this.flight)
                    }
                }
            }
            Some(Step::Resolving { future, start }) => {
                let resolved = ready!(future.as_mut().poll(cx));
                let start = start.take().expect("taken when resolved, once");
                let begun = resolved.map_err(Into::into);
                let begun = begun.and_then(|()| start.begin(this.transport, this.copy));
                begun_later(begun, this.flight)
            }
            Some(Step::Delay { until, delayed }) => {
                ready!(this.alarm.poll(None, *until, cx));
                let delayed = delayed.take().expect("taken when the wait is over, once");
                let by = this.transport.take().expect("kept while a request waits");
                let begun = delayed.go_on(&by, this.copy, this.transport);
                if matches!(&begun, Err(halt) if matches!(**halt, Halt::Delayed(_))) {
                    *this.transport = Some(by);
                }
                begun_later(begun, this.flight)
            }
        };
        this.state.set(state);
        Poll::Ready(None)
    }
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
        Err(error) => State::Step { step: Step::ended(Err(error)) },
    }
}

/// When a wait of `after` ends: no later than the request's own end, which the next attempt then
/// reports.
fn wait_until(after: Duration, flight: Option<&mut Flight>) -> Instant {
    let until = now() + after;
    flight.and_then(Flight::total_deadline).map_or(until, |total| until.min(total))
}

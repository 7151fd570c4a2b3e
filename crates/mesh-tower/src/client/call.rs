use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use mesh_core::Dialect;
use mesh_core::cluster::EndpointState;
use mesh_core::resource::RetryPolicy;
use pin_project_lite::pin_project;

use super::begin::{Beginning, Begun, begin};
use super::body::{ResponseBody, UnderWay};
use super::copy::{Copy, keep};
use super::express::{self, Taken};
use super::flight::{Answered, Flight, write_grpc_timeout};
use super::limits::Limits;
use super::routing::Place;
use super::step::{Start, Step};
use super::transport::{To, Transport, Unsent};
use crate::body::{Body, BoxError};
use crate::error::Error;
use crate::mesh::{Hold, Io, Random};
use crate::timers::Alarm;

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
        pub(super) state: State<T>,
        // Kept where another attempt may follow: a clone is two counts on a line all requests share.
        pub(super) transport: Option<T>,
        pub(super) flight: Option<Flight>,
        pub(super) copy: Option<Box<Copy>>,
        // One for all waits, set when something is really waited for.
        pub(super) alarm: Alarm,
    }
}

pin_project! {
    // Two variants, of which all but the usual is behind one pointer: each look at it is one
    // comparison.
    #[project = StateProject]
    pub(super) enum State<T: Transport> {
        Attempt { #[pin] future: T::Future },
        Step { step: Box<Step<T>> },
    }
}

impl<T: Transport> State<T> {
    /// What is waited for while no attempt is under way.
    pub(super) fn step(self: Pin<&mut Self>) -> Option<&mut Step<T>> {
        match self.project() {
            StateProject::Attempt { .. } => None,
            StateProject::Step { step } => Some(step),
        }
    }
}

impl<T: Transport> Call<T> {
    // On its own, and made by one expression at its end, so that a call is built where its caller
    // keeps it: moving one costs as much as a good part of deciding.
    #[inline(never)]
    pub(crate) fn new<B>(place: Place<'_>, transport: &T, mut request: Request<B>) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (hold, random) = (place.mesh.hold(), place.mesh.random());
        if place.dialect == Dialect::Grpc {
            return Self::grpc(place, transport, request, (hold, random));
        }
        let Some(taken) = express::take(place, &hold, random, &mut request) else {
            return Self::long(place, transport, ours(request), hold, random);
        };
        let Taken { to, permit, endpoint, random } = taken;
        let way =
            To { state: to.state, priority: to.forwarding.priority(), dialect: place.dialect };
        let limits = Limits::new(to.forwarding, place.dialect, None);
        let at = (to.route, to.cluster);
        // Each way makes its own call: an attempt that both made would lie where a function writes it,
        // and be copied from there.
        match to.forwarding.retry_policy() {
            None => {
                let future = transport.send(way, &endpoint, ours(request));
                let held = (permit, endpoint);
                let flight =
                    Flight::express((hold, Dialect::Http), at, random, held, (limits, false));
                Self::under_way(future, flight, (None, None))
            }
            Some(policy) => {
                let (mut copy, mut kept) = (None, None);
                let first = First { policy, copy: &mut copy, kept: &mut kept };
                let future = first.send(transport, way, &endpoint, ours(request));
                let (held, retries) = ((permit, endpoint), kept.is_some());
                let flight =
                    Flight::express((hold, Dialect::Http), at, random, held, (limits, retries));
                Self::under_way(future, flight, (kept, copy))
            }
        }
    }

    #[inline(always)]
    fn under_way(
        future: T::Future,
        flight: Flight,
        (transport, copy): (Option<T>, Option<Box<Copy>>),
    ) -> Self {
        let state = State::Attempt { future };
        Self { state, transport, flight: Some(flight), copy, alarm: Alarm::default() }
    }

    /// The same of a gRPC call.
    #[inline(never)]
    fn grpc<B>(
        place: Place<'_>,
        transport: &T,
        mut request: Request<B>,
        (hold, random): (Hold, Random),
    ) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let dialect = Dialect::Grpc;
        let Some(taken) = express::take_call(place, &hold, random, &mut request) else {
            return Self::long(place, transport, ours(request), hold, random);
        };
        let Taken { to, permit, endpoint, random } = taken;
        let mut request = ours(request);
        let mut copy = None;
        let retries = to
            .forwarding
            .retry_policy()
            .is_some_and(|policy| keep::<T>(policy, to.state, dialect, &mut request, &mut copy));
        let mut limits = Limits::new(to.forwarding, dialect, None);
        if !limits.are_known() {
            limits.begin(to.forwarding, dialect, None);
            write_grpc_timeout(&mut request, limits.total(), false);
        }
        let way = To { state: to.state, priority: to.forwarding.priority(), dialect };
        let future = transport.send(way, &endpoint, request);
        let at = (to.route, to.cluster);
        let held = (permit, endpoint);
        let flight = Flight::express((hold, dialect), at, random, held, (limits, retries));
        let state = State::Attempt { future };
        // Where a connection is refused, another endpoint is tried.
        let transport = Some(transport.clone());
        Self { state, transport, flight: Some(flight), copy, alarm: Alarm::default() }
    }

    /// The same of a request of which more is to be decided than its route.
    #[inline(never)]
    fn long(
        place: Place<'_>,
        transport: &T,
        request: Request<Body>,
        hold: Hold,
        random: Random,
    ) -> Self {
        let request: &mut Unsent = &mut Some(request);
        let Some(root) = hold.root(place.target.listener(), place.target.hint()) else {
            let step = Start::new(place, request).resolving();
            return Self::without_flight(step, Some(transport.clone()));
        };
        let (mut copy, mut kept) = (None, None);
        let beginning = Beginning { place, request, transport, copy: &mut copy, kept: &mut kept };
        match begin(beginning, hold, root, random) {
            Ok((mut flight, future)) => {
                let state = attempting(&mut flight, future);
                Self { state, transport: kept, flight: Some(flight), copy, alarm: Alarm::default() }
            }
            Err(halt) => Self::without_flight(Step::halted(*halt), Some(transport.clone())),
        }
    }

    #[cold]
    fn without_flight(step: Box<Step<T>>, transport: Option<T>) -> Self {
        Self {
            state: State::Step { step },
            transport,
            flight: None,
            copy: None,
            alarm: Alarm::default(),
        }
    }
}

/// The first attempt of a request that may be sent again.
struct First<'a, T> {
    policy: &'a RetryPolicy,
    copy: &'a mut Option<Box<Copy>>,
    kept: &'a mut Option<T>,
}

impl<T: Transport> First<'_, T> {
    #[inline(never)]
    fn send(
        self,
        transport: &T,
        to: To<'_>,
        endpoint: &EndpointState<Io>,
        mut request: Request<Body>,
    ) -> T::Future {
        if keep::<T>(self.policy, to.state, to.dialect, &mut request, self.copy) {
            *self.kept = Some(transport.clone());
        }
        transport.send(to, endpoint, request)
    }
}

/// The same request, whose body is ours.
//
// By its parts, of which only the body is looked at: a request is moved in one piece only where it
// is sent.
#[inline(always)]
fn ours<B>(request: Request<B>) -> Request<Body>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    request.map(Body::new)
}

/// A response that is over with its head.
//
// On their own, here and below: part of their caller, they move the response three times.
#[inline(never)]
fn ended<B>(response: Response<B>) -> Response<ResponseBody<B>>
where
    B: http_body::Body,
{
    response.map(|body| ResponseBody::upstream(body, None))
}

/// A response whose body holds what its request held.
#[inline(never)]
fn lasting<B>(response: Response<B>, rest: UnderWay) -> Response<ResponseBody<B>>
where
    B: http_body::Body,
{
    response.map(|body| ResponseBody::upstream(body, Some(rest)))
}

impl<T: Transport> Future for Call<T> {
    type Output = Result<Response<ResponseBody<T::Body>>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let mut this = self.as_mut().project();
            let again = match this.state.as_mut().project() {
                StateProject::Attempt { future } => {
                    let flight = this.flight.as_mut().expect("an attempt has a flight");
                    let polled = future.poll(cx);
                    // Looked at where it lies, and moved once.
                    let judged = match &polled {
                        Poll::Ready(Ok(response)) => {
                            flight.answered(response.status(), response.headers(), this.copy)
                        }
                        _ => Answered::Taken(None),
                    };
                    match polled {
                        Poll::Ready(Ok(response)) => match judged {
                            Answered::Again(again) => Ok(*again),
                            Answered::Redirected(start) => {
                                self.as_mut().redirect(start);
                                continue;
                            }
                            Answered::Taken(call) if flight.changes_response() => {
                                return Poll::Ready(Ok(flight.changed(response, call, this.alarm)));
                            }
                            Answered::Taken(call) => {
                                let rest = flight.rest(response.body(), call, this.alarm);
                                return Poll::Ready(Ok(match rest {
                                    None => ended(response),
                                    Some(rest) => lasting(response, rest),
                                }));
                            }
                        },
                        Poll::Ready(Err(failed)) => flight.broke(failed, this.copy),
                        Poll::Pending => {
                            let Some(deadline) = flight.attempt_deadline() else {
                                return Poll::Pending;
                            };
                            ready!(this.alarm.poll(Some(flight.timers()), deadline, cx));
                            flight.timed_out(this.copy)
                        }
                    }
                }
                StateProject::Step { .. } => match ready!(self.as_mut().poll_step(cx)) {
                    Some(result) => return Poll::Ready(result),
                    None => continue,
                },
            };
            self.as_mut().wait(again);
        }
    }
}

/// The state of a request whose first attempt was made.
#[inline(always)]
fn attempting<T: Transport>(flight: &mut Flight, future: T::Future) -> State<T> {
    match flight.hedges() {
        false => State::Attempt { future },
        true => State::Step { step: Step::hedged(flight, future) },
    }
}

/// The state of a request that began after a wait.
pub(super) fn begun_later<T: Transport>(begun: Begun<T>, flight: &mut Option<Flight>) -> State<T> {
    match begun {
        Ok((mut begun, future)) => {
            let state = attempting(&mut begun, future);
            *flight = Some(begun);
            state
        }
        Err(halt) => State::Step { step: Step::halted(*halt) },
    }
}

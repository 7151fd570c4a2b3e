use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONNECTION;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{Either, Full};
use mesh_core::exchange::Reply;
use mesh_core::resource::AdmissionControl;
use pin_project_lite::pin_project;
use tokio::time::Sleep;
use tower_service::Service;

use super::conn::Call;
use super::limits::end_of;
use super::policy::{Governed, Ruling};
use crate::body::BoxError;
use crate::client::now;
use crate::deadline::Deadline;
use crate::faults::Faults;
use crate::spent::{self, Spent};

pin_project! {
    /// The future of a [`ServerService`](super::ServerService)'s answer. Dropping it drops the
    /// application's.
    pub struct AnswerFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S, B>,
        deadline: Option<Deadline>,
        call: Option<Call>,
        governed: Option<Box<Governed>>,
        is_http1: bool,
        // Whether a call was in vain that the application made for its answer.
        spent: Spent,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, B>
    where
        S: Service<Request<B>>,
    {
        /// It is answered here.
        Answered { reply: Option<Box<Reply>> },
        /// A fault makes it wait.
        Waiting { waiting: Option<Box<Waiting<S, B>>> },
        /// The application answers.
        App { #[pin] future: S::Future },
    }
}

/// A request that waits to be handled.
struct Waiting<S, B> {
    timer: Pin<Box<Sleep>>,
    app: S,
    request: Request<B>,
    governed: Box<Governed>,
}

impl<S: Service<Request<B>>, B> AnswerFuture<S, B> {
    fn new(state: State<S, B>) -> Self {
        Self {
            state,
            deadline: None,
            call: None,
            governed: None,
            is_http1: false,
            spent: Spent::No,
        }
    }

    pub(super) fn of_app(future: S::Future) -> Self {
        Self::new(State::App { future })
    }

    pub(super) fn answered(reply: Box<Reply>) -> Self {
        Self::new(State::Answered { reply: Some(reply) })
    }

    /// Handled by `app` after a wait.
    pub(super) fn waiting(
        after: Duration,
        app: S,
        request: Request<B>,
        governed: Box<Governed>,
    ) -> Self {
        let timer = Box::pin(tokio::time::sleep(after));
        let waiting = Box::new(Waiting { timer, app, request, governed });
        Self::new(State::Waiting { waiting: Some(waiting) })
    }

    pub(super) fn with_call(self, call: Option<Call>, is_http1: bool) -> Self {
        Self { call, is_http1, ..self }
    }

    pub(super) fn with_deadline(self, deadline: Option<Deadline>) -> Self {
        Self { deadline, ..self }
    }

    /// What was decided may change the application's answer.
    pub(super) fn with_governed(self, governed: Option<Box<Governed>>) -> Self {
        Self { governed, ..self }
    }
}

impl<S: Service<Request<B>>, B> Waiting<S, B> {
    /// What becomes of the request when its wait is over.
    fn go_on(self, deadline: Option<Deadline>) -> Resumed<S, B> {
        let now = tokio::time::Instant::now().into_std();
        if deadline.is_some_and(|deadline| deadline.0 <= now) {
            let reply = Reply::new(StatusCode::GATEWAY_TIMEOUT, "deadline_in_injected_delay");
            return (State::Answered { reply: Some(Box::new(reply.with_grpc_status(4))) }, None);
        }
        let Self { mut timer, mut app, mut request, governed } = self;
        match governed.resume(&mut request) {
            Ruling::Serve(governed) => {
                let future = Deadline::within(deadline, || app.call(request));
                (State::App { future }, governed)
            }
            Ruling::Reply(reply) => (State::Answered { reply: Some(reply) }, None),
            Ruling::Wait(after, governed) => {
                timer.as_mut().reset(end_of(after));
                let waiting = Box::new(Waiting { timer, app, request, governed });
                (State::Waiting { waiting: Some(waiting) }, None)
            }
        }
    }
}

type Resumed<S, B> = (State<S, B>, Option<Box<Governed>>);

impl<S, B, R> Future for AnswerFuture<S, B>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: HttpBody<Data = Bytes>,
    R::Error: Into<BoxError>,
{
    type Output = Result<Response<AnswerBody<R>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let mut awaited = None;
        let answer = loop {
            match this.state.as_mut().project() {
                StateProjection::Answered { reply } => {
                    let reply = reply.take().expect("polled once more after it was ready");
                    break of_reply(*reply);
                }
                StateProjection::Waiting { waiting } => {
                    let timer = &mut waiting.as_mut().expect("it waits").timer;
                    ready!(timer.as_mut().poll(cx));
                    let waiting = waiting.take().expect("it waits");
                    let (state, governed) = waiting.go_on(*this.deadline);
                    *this.governed = governed;
                    this.state.set(state);
                }
                StateProjection::App { future } => {
                    let poll = || Deadline::within(*this.deadline, || future.poll(cx));
                    let answer = ready!(spent::within(this.spent, poll))?;
                    let (mut head, body) = answer.into_parts();
                    // First, so that the route may take it off again.
                    if *this.spent != Spent::No {
                        spent::tell(head.status, &mut head.headers);
                    }
                    if let Some(governed) = &this.governed {
                        awaited = governed.change(&mut head);
                    }
                    break Response::from_parts(head, Either::Left(body));
                }
            }
        };
        let (mut call, deadline) = (this.call.take(), *this.deadline);
        if let Some(call) = &mut call {
            call.answered(answer.status());
        }
        let is_closing = *this.is_http1 && call.as_ref().is_some_and(Call::is_closing);
        let faults = this.governed.take().map(|governed| governed.faults).unwrap_or_default();
        let held = Held { _call: call, _faults: faults, awaited };
        let mut answer = answer.map(|body| AnswerBody { body, deadline, held: Some(held) });
        if is_closing {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Poll::Ready(Ok(answer))
    }
}

fn of_reply<R>(reply: Reply) -> Response<Either<R, Full<Bytes>>> {
    let mut answer = Response::new(Either::Right(Full::new(reply.body)));
    *answer.status_mut() = reply.status;
    *answer.headers_mut() = reply.headers;
    answer
}

pin_project! {
    /// The body of an answer: the application's, or one that was made here.
    pub struct AnswerBody<R> {
        #[pin]
        body: Either<R, Full<Bytes>>,
        deadline: Option<Deadline>,
        // The call lasts until its answer has been sent, and so do faults that count.
        held: Option<Held>,
    }
}

/// What goes on until an answer has been sent.
struct Held {
    _call: Option<Call>,
    _faults: Faults,
    /// Who waits for the status of a gRPC call.
    awaited: Option<Arc<AdmissionControl>>,
}

impl Held {
    /// Tells who waits what came of the call.
    #[cold]
    fn told(&mut self, trailers: Option<&HeaderMap>) {
        if let Some(control) = self.awaited.take() {
            let status = trailers.and_then(|trailers| trailers.get("grpc-status"));
            let status = status.and_then(|status| status.to_str().ok()?.parse().ok());
            control.call_ended(now(), status);
        }
    }
}

impl<R> HttpBody for AnswerBody<R>
where
    R: HttpBody<Data = Bytes>,
    R::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.project();
        let frame = ready!(Deadline::within(*this.deadline, || this.body.poll_frame(cx)));
        if let Some(held) = this.held.as_mut().filter(|held| held.awaited.is_some()) {
            match &frame {
                Some(Ok(frame)) if !frame.is_trailers() => {}
                Some(Ok(frame)) => held.told(frame.trailers_ref()),
                _ => held.told(None),
            }
        }
        if !matches!(frame, Some(Ok(_))) {
            *this.held = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<S: Service<Request<B>>, B> fmt::Debug for AnswerFuture<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerFuture").finish_non_exhaustive()
    }
}

impl<R> fmt::Debug for AnswerBody<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerBody").finish_non_exhaustive()
    }
}

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{Either, Full};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::conn::Call;
use crate::body::BoxError;
use crate::deadline::Deadline;

pin_project! {
    /// The future of a [`ServerService`](super::ServerService)'s answer. Dropping it drops the
    /// application's.
    pub struct AnswerFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S::Future>,
        deadline: Option<Deadline>,
        call: Option<Call>,
        is_http1: bool,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F> {
        /// It is answered here.
        Answered { answer: Option<Response<Bytes>> },
        /// The application answers.
        App { #[pin] future: F },
    }
}

impl<S: Service<Request<B>>, B> AnswerFuture<S, B> {
    pub(super) fn of_app(future: S::Future) -> Self {
        Self { state: State::App { future }, deadline: None, call: None, is_http1: false }
    }

    pub(super) fn answered(status: StatusCode) -> Self {
        let mut answer = Response::new(Bytes::new());
        *answer.status_mut() = status;
        let state = State::Answered { answer: Some(answer) };
        Self { state, deadline: None, call: None, is_http1: false }
    }

    pub(super) fn with_call(self, call: Option<Call>, is_http1: bool) -> Self {
        Self { call, is_http1, ..self }
    }

    pub(super) fn with_deadline(self, deadline: Option<Deadline>) -> Self {
        Self { deadline, ..self }
    }
}

impl<S, B, R> Future for AnswerFuture<S, B>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: HttpBody<Data = Bytes>,
    R::Error: Into<BoxError>,
{
    type Output = Result<Response<AnswerBody<R>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = match this.state.project() {
            StateProjection::Answered { answer } => {
                let answer = answer.take().expect("polled once more after it was ready");
                answer.map(|bytes| Either::Right(Full::new(bytes)))
            }
            StateProjection::App { future } => {
                let answer = ready!(Deadline::within(*this.deadline, || future.poll(cx)))?;
                answer.map(Either::Left)
            }
        };
        let (call, deadline) = (this.call.take(), *this.deadline);
        let is_closing = *this.is_http1 && call.as_ref().is_some_and(Call::is_closing);
        let mut answer = answer.map(|body| AnswerBody { body, deadline, call });
        if is_closing {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Poll::Ready(Ok(answer))
    }
}

pin_project! {
    /// The body of an answer: the application's, or one that was made here.
    pub struct AnswerBody<R> {
        #[pin]
        body: Either<R, Full<Bytes>>,
        deadline: Option<Deadline>,
        // The call lasts until its answer has been sent.
        call: Option<Call>,
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
        if !matches!(frame, Some(Ok(_))) {
            *this.call = None;
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

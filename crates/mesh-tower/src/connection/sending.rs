use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use pin_project_lite::pin_project;

use super::error::SendError;
use super::gate::Gate;
use super::received::{Lease, Received};
use super::send::Connections;
use crate::body::Body;

/// A request on its way to its endpoint, until the head of its answer has come.
///
/// One that found a connection was handed to it already: what is left is to wait for the answer, and
/// one small box, because the future that hyper waits with has no name. Dropping it gives up the
/// request, as [`Connections::send`] says.
pub(crate) struct Sending(State);

enum State {
    Handed(Pin<Box<Handed<Answer>>>),
    /// It waits for a connection, is sent another time, or cannot be sent.
    Otherwise(Pin<Box<dyn Future<Output = Sent> + Send>>),
}

type Sent = Result<Response<Received>, SendError>;

type Answered = Result<Response<Incoming>, TrySendError<Request<Body>>>;

type Answer = dyn Future<Output = Answered> + Send;

pin_project! {
    struct Handed<F: ?Sized> {
        on: Option<Lease>,
        connections: Arc<Connections>,
        gate: Option<Gate>,
        #[pin]
        answer: F,
    }
}

impl Sending {
    /// A request that a connection has.
    #[inline]
    pub(super) fn handed(
        on: Lease,
        connections: &Arc<Connections>,
        gate: Option<Gate>,
        answer: impl Future<Output = Answered> + Send + 'static,
    ) -> Self {
        let connections = Arc::clone(connections);
        Self(State::Handed(Box::pin(Handed { on: Some(on), connections, gate, answer })))
    }

    /// A request that no connection has yet.
    #[cold]
    pub(super) fn otherwise(sent: impl Future<Output = Sent> + Send + 'static) -> Self {
        Self(State::Otherwise(Box::pin(sent)))
    }
}

impl Future for Sending {
    type Output = Sent;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Sent> {
        let handed = match &mut self.0 {
            State::Handed(handed) => handed.as_mut().project(),
            State::Otherwise(sent) => return sent.as_mut().poll(cx),
        };
        let error = match ready!(handed.answer.poll(cx)) {
            Ok(response) => {
                let on = handed.on.take().expect("polled after it was answered");
                let (head, body) = response.into_parts();
                return Poll::Ready(Ok(Response::from_parts(head, Received::over(body, on))));
            }
            Err(error) => error,
        };
        let (connections, gate) = (Arc::clone(handed.connections), handed.gate.take());
        match connections.given_back(handed.on.take(), error, 1) {
            Ok(request) => {
                let again = async move { connections.deliver(request, gate, 2).await };
                *self = Self::otherwise(again);
                self.poll(cx)
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

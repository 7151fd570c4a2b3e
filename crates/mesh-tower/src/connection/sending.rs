use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;

use super::error::SendError;
use super::gate::Gate;
use super::received::{Lease, Received};
use super::send::{Connections, Either};
use super::{http1, http2};
use crate::body::Body;

/// A request on its way to its endpoint, until the head of its answer has come.
///
/// One that found a connection was handed to it already: what is left is to wait for the answer. The
/// future that hyper waits with has no name: an HTTP/1.1 connection has one box for all of its
/// requests, and on an HTTP/2 one each has its own. Dropping it gives up the request, as
/// [`Connections::send`] says.
pub(crate) struct Sending(State);

enum State {
    /// On an HTTP/1.1 connection, which has a place to wait in for its one request.
    Alone { on: Option<Box<http1::Sender>>, again: Again },
    /// Beside others.
    Beside { on: Option<http2::Stream>, again: Again, answer: Pin<Box<Answer>> },
    /// It waits for a connection, is sent another time, or cannot be sent.
    Otherwise(Pin<Box<dyn Future<Output = Sent> + Send>>),
}

type Sent = Result<Response<Received>, SendError>;

pub(super) type Answered = Result<Response<Incoming>, TrySendError<Request<Body>>>;

pub(super) type Answer = dyn Future<Output = Answered> + Send;

/// What it takes to send a request another time.
struct Again {
    connections: Arc<Connections>,
    gate: Option<Gate>,
    /// Where the server chooses how it is sent.
    either: Option<Box<Either>>,
}

impl Sending {
    /// Whether a connection has it.
    pub(super) fn is_under_way(&self) -> bool {
        !matches!(self.0, State::Otherwise(_))
    }

    /// A request that an HTTP/1.1 connection has.
    #[inline]
    pub(super) fn alone(
        on: Box<http1::Sender>,
        connections: &Arc<Connections>,
        gate: Option<Gate>,
    ) -> Self {
        let connections = Arc::clone(connections);
        Self(State::Alone { on: Some(on), again: Again { connections, gate, either: None } })
    }

    /// A request that an HTTP/2 connection has.
    #[inline]
    pub(super) fn beside(
        on: http2::Stream,
        connections: &Arc<Connections>,
        gate: Option<Gate>,
        answer: Pin<Box<Answer>>,
    ) -> Self {
        let again = Again { connections: Arc::clone(connections), gate, either: None };
        Self(State::Beside { on: Some(on), again, answer })
    }

    /// The same request, which may have to be sent in the other version of HTTP.
    pub(super) fn with_either(mut self, either: Either) -> Self {
        match &mut self.0 {
            State::Alone { again, .. } | State::Beside { again, .. } => {
                again.either = Some(Box::new(either));
            }
            State::Otherwise(_) => {}
        }
        self
    }

    /// A request that no connection has yet.
    #[cold]
    pub(super) fn otherwise(sent: impl Future<Output = Sent> + Send + 'static) -> Self {
        Self(State::Otherwise(Box::pin(sent)))
    }
}

impl Future for Sending {
    type Output = Sent;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Sent> {
        let error = match &mut self.0 {
            State::Alone { on, again } => {
                let sender = on.as_mut().expect("polled after it was answered");
                match ready!(sender.poll_answer(cx)) {
                    Ok(response) => {
                        let sender = on.take().expect("it was there just now");
                        let pool = again.connections.http1().expect("it came from there");
                        return Poll::Ready(Ok(
                            response.map(|body| Received::alone(body, sender, pool))
                        ));
                    }
                    Err(error) => error,
                }
            }
            State::Beside { on, answer, .. } => match ready!(answer.as_mut().poll(cx)) {
                Ok(response) => {
                    let stream = on.take().expect("polled after it was answered");
                    let on = Lease::Http2 { stream };
                    return Poll::Ready(Ok(response.map(|body| Received::over(body, on))));
                }
                Err(error) => error,
            },
            State::Otherwise(sent) => return sent.as_mut().poll(cx),
        };
        self.again(error, cx)
    }
}

impl Sending {
    /// Goes on with a request that got no answer.
    #[cold]
    fn again(&mut self, error: TrySendError<Request<Body>>, cx: &mut Context<'_>) -> Poll<Sent> {
        let (on, again) = match &mut self.0 {
            State::Alone { on, again } => {
                let pool = again.connections.http1().expect("it came from there");
                let pool = Arc::clone(pool);
                (on.take().map(|sender| Lease::Http1 { sender, pool }), again)
            }
            State::Beside { on, again, .. } => {
                (on.take().map(|stream| Lease::Http2 { stream }), again)
            }
            State::Otherwise(sent) => return sent.as_mut().poll(cx),
        };
        let (connections, gate) = (Arc::clone(&again.connections), again.gate.take());
        let either = again.either.take();
        match connections.given_back(on, error, 1) {
            Ok(request) => {
                let for_either = gate.clone();
                let again = async move { connections.deliver(request, gate, 2).await };
                *self = match either {
                    None => Self::otherwise(again),
                    Some(either) => Self::otherwise(either.follow(again, for_either)),
                };
                Pin::new(self).poll(cx)
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use mesh_core::Dialect;
use mesh_core::cluster::{ClusterState, EndpointState};
use mesh_core::resilience::Outcome;
use mesh_core::resource::RoutingPriority;

use crate::Body;
use crate::body::BoxError;
use crate::connection::{Gate, Received, SendError, SendErrorKind, Sending};
use crate::mesh::Io;

/// How one attempt gets to its endpoint.
pub(crate) trait Transport: Clone {
    /// The body of a response.
    type Body: http_body::Body<Data = Bytes>;
    /// The attempt. Dropping it gives up the request.
    //
    // The failure is boxed, so that what carries the response is no larger than one.
    type Future: Future<Output = Result<Response<Self::Body>, Box<Failed>>>;

    /// Whether a request that was not sent comes back with the error, so that no copy of it is
    /// needed to try again.
    const GIVES_BACK: bool;

    /// Whether what arrives at the endpoint is the request, of which a copy may go to another.
    const CARRIES_REQUESTS: bool = true;

    /// Sends the request, which it takes.
    //
    // Part of its caller, so that the request is not copied on the way, all 256 bytes of it.
    fn send(
        &self,
        to: To<'_>,
        endpoint: &EndpointState<Io>,
        request: Request<Body>,
    ) -> Self::Future;
}

/// Where a request goes.
#[derive(Clone, Copy)]
pub(crate) struct To<'a> {
    pub(crate) state: &'a Arc<ClusterState<Io>>,
    pub(crate) priority: RoutingPriority,
    pub(crate) dialect: Dialect,
}

/// A request until it is sent. A request is large, so the whole way down it stays in one place and is
/// moved once, to whom it is for.
pub(crate) type Unsent = Option<Request<Body>>;

/// An attempt without an answer.
pub(crate) struct Failed {
    pub(crate) outcome: Outcome,
    pub(crate) error: BoxError,
    /// The request, when nothing of it was sent.
    pub(crate) request: Option<Request<Body>>,
}

impl fmt::Debug for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failed").field("outcome", &self.outcome).finish_non_exhaustive()
    }
}

/// Over the mesh's own connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Direct;

/// The attempt of [`Direct`].
//
// hyper's `send_request` future has no name: there is one box per attempt, in `Sending`.
pub(crate) struct Attempt(Sending);

impl Future for Attempt {
    type Output = Result<Response<Received>, Box<Failed>>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match ready!(Pin::new(&mut self.0).poll(cx)) {
            Ok(response) => Poll::Ready(Ok(response)),
            Err(error) => Poll::Ready(Err(failed(error))),
        }
    }
}

#[cold]
fn failed(error: SendError) -> Box<Failed> {
    Box::new(error.into())
}

impl Transport for Direct {
    type Body = Received;
    type Future = Attempt;

    const GIVES_BACK: bool = true;

    #[inline(always)]
    fn send(&self, to: To<'_>, endpoint: &EndpointState<Io>, request: Request<Body>) -> Attempt {
        let gate = Gate::new(to.state, to.priority);
        Attempt(endpoint.attached().send(to.dialect, request, gate))
    }
}

impl From<SendError> for Failed {
    fn from(mut error: SendError) -> Self {
        let request = error.take_request();
        let outcome = match error.kind() {
            SendErrorKind::Connect(_) => Outcome::ConnectFailure,
            SendErrorKind::NotProcessed => Outcome::Refused,
            SendErrorKind::Overflow => Outcome::Dropped,
            SendErrorKind::Reset | SendErrorKind::Protocol => {
                Outcome::Reset { sent: request.is_none() }
            }
            SendErrorKind::InvalidRequest
            | SendErrorKind::RequestBody
            | SendErrorKind::Shutdown => Outcome::Local,
        };
        Self { outcome, error: error.into(), request }
    }
}

//! What `axum::serve` wants.

use std::convert::Infallible;
use std::future::{Ready, pending, ready};
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use axum::extract::FromRequestParts;
use axum::response::Response;
use axum::serve::{IncomingStream, Listener};
use http::request::Parts;
use http::{Request, StatusCode};
use tower::util::MapResponse;
use tower::{Service, ServiceExt};

use super::accepted::Accepted;
use super::acceptor::Acceptor;
use super::answer::AnswerBody;
use super::conn::{Conn, Peer};
use super::service::{MakeService, ServerService};

/// Once the mesh shuts down there is no further connection: `axum::serve` ends by its own graceful
/// shutdown, for which there is [`Mesh::draining`](crate::Mesh::draining).
impl Listener for Acceptor {
    type Io = Accepted;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Accepted, SocketAddr) {
        match Self::accept(self).await {
            Some(accepted) => {
                let peer = accepted.conn().peer().address();
                (accepted, peer)
            }
            None => pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(Self::local_addr(self))
    }
}

type Body = axum::body::Body;

/// A [`ServerService`] whose answers are axum's.
type Served<S> = MapResponse<ServerService<S>, fn(http::Response<AnswerBody<Body>>) -> Response>;

impl<S> Service<IncomingStream<'_, Acceptor>> for MakeService<S>
where
    S: Service<Request<Body>, Response = Response, Error = Infallible> + Clone,
{
    type Response = Served<S>;
    type Error = Infallible;
    type Future = Ready<Result<Served<S>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, stream: IncomingStream<'_, Acceptor>) -> Self::Future {
        let answer: fn(http::Response<AnswerBody<Body>>) -> Response = |it| it.map(Body::new);
        ready(Ok(self.on(stream.io()).map_response(answer)))
    }
}

/// Refused with 500 where no layer of this crate has seen the request.
impl<S: Sync> FromRequestParts<S> for Conn {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        parts.extensions.get().cloned().ok_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// Refused with 500 where no layer of this crate has seen the request.
impl<S: Sync> FromRequestParts<S> for Peer {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        parts.extensions.get().cloned().ok_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

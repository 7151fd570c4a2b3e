use std::net::SocketAddr;
use std::task::{Context, Poll};

use http::Request;
use hyper::body::Incoming;
use tower_service::Service;

/// The connection a request came on; in the extensions of each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Conn {
    /// The other end's address. Behind a proxy, that is the proxy's.
    pub peer: SocketAddr,
    /// The address it came to.
    pub local: SocketAddr,
}

/// An application that tells each request its connection.
#[derive(Clone, Debug)]
pub(super) struct WithConn<S> {
    pub(super) app: S,
    pub(super) conn: Conn,
}

impl<S: Service<Request<Incoming>>> Service<Request<Incoming>> for WithConn<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.app.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Incoming>) -> S::Future {
        request.extensions_mut().insert(self.conn);
        self.app.call(request)
    }
}

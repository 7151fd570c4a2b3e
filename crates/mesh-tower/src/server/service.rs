use std::task::{Context, Poll};

use http::{Request, Response, StatusCode, Version};
use mesh_core::exchange::Reply;
use tower::Layer;
use tower_service::Service;

use super::accepted::Accepted;
use super::answer::{AnswerBody, AnswerFuture};
use super::conn::Conn;
use super::limits::Limits;
use super::policy::{Ruling, rule};
use crate::body::BoxError;
use crate::client::now;
use crate::deadline::Deadline;
use crate::mesh::Mesh;

/// What servers of a mesh do with each request, for any HTTP server: a Tower layer.
///
/// A [`Server`](super::Server) has it built in. Elsewhere it goes around the whole application,
/// outside of any router: [`make_service`](Self::make_service) for axum and hyper, and
/// `tonic::transport::Server::layer` for tonic, each over connections of an
/// [`Acceptor`](super::Acceptor). (`axum::Router::layer` runs after routing and misses what is added
/// later, which would be a hole in authorization.)
///
/// Where the mesh configures its servers, each request goes through the filters of its connection's
/// filter chain, and is served when its route is for the application. A request without connection
/// information is denied there: nobody could say what guards it.
///
/// The caller's deadline (`grpc-timeout`, `x-envoy-expected-rq-timeout-ms`, a [`Deadline`]
/// extension) is passed on to calls that the application makes meanwhile; the request's extensions
/// hold the [`Conn`], the [`Peer`](super::Peer) and that `Deadline`.
#[derive(Clone, Debug)]
pub struct ServerLayer {
    mesh: Mesh,
}

/// An application behind a [`ServerLayer`].
#[derive(Clone, Debug)]
pub struct ServerService<S> {
    app: S,
    mesh: Mesh,
    /// `None` when each request says its own.
    conn: Option<Conn>,
}

/// Makes a [`ServerService`] for each connection; see [`ServerLayer::make_service`].
#[derive(Clone, Debug)]
pub struct MakeService<S> {
    layer: ServerLayer,
    app: S,
}

impl ServerLayer {
    /// A layer of that mesh.
    pub fn new(mesh: &Mesh) -> Self {
        Self { mesh: mesh.clone() }
    }

    /// Wraps the whole application, for each connection of an [`Acceptor`](super::Acceptor): what
    /// `axum::serve` takes (feature `axum`), and with [`MakeService::on`] any accept loop.
    pub fn make_service<S>(self, app: S) -> MakeService<S> {
        MakeService { layer: self, app }
    }
}

impl<S> Layer<S> for ServerLayer {
    type Service = ServerService<S>;

    fn layer(&self, app: S) -> ServerService<S> {
        ServerService { app, mesh: self.mesh.clone(), conn: None }
    }
}

impl<S: Clone> MakeService<S> {
    /// The application as requests on that connection reach it.
    pub fn on(&self, accepted: &Accepted) -> ServerService<S> {
        let service = self.layer.layer(self.app.clone());
        ServerService { conn: Some(accepted.conn().clone()), ..service }
    }
}

impl<S, B, R> Service<Request<B>> for ServerService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    R: http_body::Body<Data = bytes::Bytes>,
    R::Error: Into<BoxError>,
{
    type Response = Response<AnswerBody<R>>;
    type Error = S::Error;
    type Future = AnswerFuture<S, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.app.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> AnswerFuture<S, B> {
        let own = || request.extensions().get().cloned();
        let conn: Option<Conn> = self.conn.clone().or_else(own);
        if conn.as_ref().is_some_and(Conn::is_governed) {
            // A layer further out did all this.
            return AnswerFuture::of_app(self.app.call(request));
        }
        // HTTP/2 has GOAWAY to say that a connection ends, and no header for it.
        let is_http1 = request.version() <= Version::HTTP_11;
        let call = conn.as_ref().map(|conn| conn.call(request.method()));
        let max_headers = conn.as_ref().map(Conn::max_headers);
        if request.headers().len() > max_headers.unwrap_or(Limits::default().max_headers) {
            let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            let reply = Reply::new(status, "too_many_headers");
            return AnswerFuture::answered(Box::new(reply)).with_call(call, is_http1);
        }
        let deadline = Deadline::told(&request, now);
        if let Some(deadline) = deadline {
            request.extensions_mut().insert(deadline);
        }
        let ruling = rule(self.mesh.inner(), conn.as_ref(), &mut request);
        if let Some(conn) = conn {
            let extensions = request.extensions_mut();
            extensions.insert(conn.peer().clone());
            extensions.insert(conn.governed());
        }
        let future = match ruling {
            Ruling::Serve(governed) => {
                let future = Deadline::within(deadline, || self.app.call(request));
                AnswerFuture::of_app(future).with_governed(governed)
            }
            Ruling::Wait(after, governed) => {
                // The one that was polled ready is the one that is used.
                let app = self.app.clone();
                let app = std::mem::replace(&mut self.app, app);
                let left = deadline.map(|deadline| deadline.0.saturating_duration_since(now()));
                let after = left.map_or(after, |left| left.min(after));
                AnswerFuture::waiting(after, app, request, governed)
            }
            Ruling::Reply(reply) => AnswerFuture::answered(reply),
        };
        future.with_call(call, is_http1).with_deadline(deadline)
    }
}

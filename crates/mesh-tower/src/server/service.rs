use std::task::{Context, Poll};

use http::{Request, Response, StatusCode, Version};
use tower::Layer;
use tower_service::Service;

use super::accepted::Accepted;
use super::answer::{AnswerBody, AnswerFuture};
use super::conn::Conn;
use super::limits::Limits;
use crate::body::BoxError;
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
/// The caller's deadline (`grpc-timeout`, `x-envoy-expected-rq-timeout-ms`, a [`Deadline`]
/// extension) is passed on to calls that the application makes meanwhile; the request's extensions
/// hold the [`Conn`], the [`Peer`](super::Peer) and that `Deadline`.
#[derive(Clone, Debug)]
pub struct ServerLayer {
    #[expect(dead_code, reason = "held: the mesh lives as long as what serves in it")]
    mesh: Mesh,
}

/// An application behind a [`ServerLayer`].
#[derive(Clone, Debug)]
pub struct ServerService<S> {
    app: S,
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
        ServerService { app, conn: None }
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
    S: Service<Request<B>, Response = Response<R>>,
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
        let max_headers = conn.as_ref().map(Conn::max_headers);
        if request.headers().len() > max_headers.unwrap_or(Limits::default().max_headers) {
            return AnswerFuture::answered(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        }
        let deadline = Deadline::told(&request, || tokio::time::Instant::now().into_std());
        // HTTP/2 has GOAWAY to say that a connection ends, and no header for it.
        let is_http1 = request.version() <= Version::HTTP_11;
        let call = conn.as_ref().map(Conn::call);
        let extensions = request.extensions_mut();
        if let Some(deadline) = deadline {
            extensions.insert(deadline);
        }
        if let Some(conn) = conn {
            extensions.insert(conn.peer().clone());
            extensions.insert(conn.governed());
        }
        let future = Deadline::within(deadline, || self.app.call(request));
        AnswerFuture::of_app(future).with_call(call, is_http1).with_deadline(deadline)
    }
}

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use tonic::body::Body;
use tower_service::Service;

use super::steering::{Chance, Invalid, Steering};
use super::{Arrival, Connection, Settings, grpc, plain};

/// The echo service, for HTTP and gRPC.
///
/// Cheap to clone; clones share the random source. It knows the peer from the [`Connection`] or the
/// [`mesh_tower::Conn`] in the request's extensions, and tells none when there is neither. Behind a
/// [`mesh_tower::Server`], `x-echo-close` resets the stream of an HTTP/2 request: that server does
/// not let one request take the others with it.
#[derive(Clone, Debug)]
pub struct Echo {
    inner: Arc<Inner>,
    grpc: grpc::Services,
}

#[derive(Debug)]
struct Inner {
    settings: Settings,
    name: HeaderValue,
    version: Option<HeaderValue>,
    start: Instant,
    random: Mutex<fastrand::Rng>,
}

impl Echo {
    /// A service with these settings.
    ///
    /// # Errors
    ///
    /// When the name or the version cannot be the value of a header.
    pub fn new(settings: Settings) -> Result<Self, Invalid> {
        let name = settings.name.parse().map_err(|_| Invalid("name"))?;
        let version = settings.version.as_deref().map(str::parse).transpose();
        let version = version.map_err(|_| Invalid("version"))?;
        let random = settings.seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
        let grpc = grpc::Services::new(&settings);
        let (start, random) = (Instant::now(), Mutex::new(random));
        let inner = Inner { settings, name, version, start, random };
        Ok(Self { inner: Arc::new(inner), grpc })
    }

    async fn answer(self, request: Request<Body>) -> Result<Response<Body>, Closed> {
        if let Some(log) = self.inner.settings.log {
            let at_us = self.inner.start.elapsed().as_micros() as u64;
            log(&Arrival::new(at_us, self.inner.settings.version.as_deref(), &request));
        }
        let is_grpc = grpc::is_grpc(request.headers());
        let steering = match Steering::from_headers(request.headers()) {
            Ok(steering) => steering,
            Err(invalid) if is_grpc => return Ok(self.sign(grpc::refuse(&invalid))),
            Err(invalid) => return Ok(self.sign(plain::refuse(&invalid))),
        };
        let delay = self.inner.settings.delay + steering.delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if steering.close {
            if let Some(connection) = request.extensions().get::<Connection>() {
                connection.close();
            }
            return Err(Closed);
        }
        let mut response = match self.inner.status(&steering) {
            StatusCode::OK if is_grpc => self.grpc.call(request, &steering).await,
            // What a proxy in front of a gRPC server would answer: no message, no grpc-status.
            status if is_grpc => plain::empty(status),
            status => plain::describe(&self.inner.settings, request, status, &steering).await,
        };
        for (name, value) in steering.response_headers {
            response.headers_mut().append(name, value);
        }
        Ok(self.sign(response))
    }

    /// Adds who answered.
    fn sign(&self, mut response: Response<Body>) -> Response<Body> {
        let headers = response.headers_mut();
        headers.insert("x-echo-name", self.inner.name.clone());
        if let Some(version) = &self.inner.version {
            headers.insert("x-echo-version", version.clone());
        }
        response
    }
}

impl Inner {
    /// The status to answer with. The request's own wish goes before the server's setting.
    fn status(&self, steering: &Steering) -> StatusCode {
        match steering.status.or(self.settings.fail) {
            Some(Chance { status, percent }) if self.draw_percent() < percent => status,
            _ => StatusCode::OK,
        }
    }

    /// Uniform in [0, 100).
    fn draw_percent(&self) -> f64 {
        // A generator is as good after a panic elsewhere as before it.
        self.random.lock().unwrap_or_else(PoisonError::into_inner).f64() * 100.0
    }
}

impl<B> Service<Request<B>> for Echo
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = Closed;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Closed>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        Box::pin(self.clone().answer(request.map(Body::new)))
    }
}

/// The request asked for its connection to be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request asked for its connection to be dropped")
    }
}

impl std::error::Error for Closed {}

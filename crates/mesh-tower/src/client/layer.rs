use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http::{Request, Response};
use mesh_core::Dialect;
use mesh_core::cluster::EndpointState;
use pin_project_lite::pin_project;
use tower::util::Oneshot;
use tower_service::Service;

use super::body::ResponseBody;
use super::call::Call;
use super::endpoint::Endpoint;
use super::routing::Place;
use super::transport::{Failed, To, Transport};
use crate::body::{Body, BoxError};
use crate::error::{Error, ErrorKind};
use crate::layers::outcome;
use crate::mesh::{EndpointIo, Io, Mesh, Subscribed};

/// Puts your own HTTP client under the mesh's decisions.
///
/// You make one client per endpoint, the mesh chooses which one a request goes to, retries, and
/// drops a client when its endpoint is gone. Nothing is allocated per request by the mesh itself.
///
/// Connections are your clients' own: circuit breakers count requests and retries, and know of no
/// connections. Copies of requests that a route mirrors go over the mesh's own.
#[derive(Clone)]
pub struct ClientLayer {
    mesh: Mesh,
    target: Arc<Subscribed>,
    secures: bool,
}

impl ClientLayer {
    /// A layer for `target`; see [`Channel::new`](crate::Channel::new).
    ///
    /// # Errors
    /// Kind `Config` when the target cannot be parsed.
    pub fn new(mesh: &Mesh, target: &str) -> Result<Self, Error> {
        let target = mesh.subscribe(target, Dialect::Http)?;
        Ok(Self { mesh: mesh.clone(), target, secures: false })
    }

    /// Says that the clients secure their connections wherever [`Endpoint::tls`] says how. Without
    /// this, requests to such endpoints fail: their clients would speak plain text.
    #[must_use]
    pub fn with_tls(mut self) -> Self {
        self.secures = true;
        self
    }

    /// The service over the clients that `make` makes, one per endpoint.
    ///
    /// A client is any Tower service of `http::Request<Body>`. It is cloned for each request, and
    /// a clone is made ready before it is called. An error that has a refused connection among
    /// its sources counts as one for retries; one that has a
    /// [`BodyError`](crate::body::BodyError) as the request's own, which says nothing of the
    /// endpoint; any other as a reset.
    pub fn layer<F, S>(&self, make: F) -> ClientService<F, S>
    where
        F: Fn(&Endpoint) -> S,
    {
        // Names the clients of this layer among those hung on an endpoint.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let shared = Shared { id, make, secures: self.secures, mesh: self.mesh.clone() };
        let inner = Inner { shared: Arc::new(shared), service: std::marker::PhantomData };
        ClientService { mesh: self.mesh.clone(), target: self.target.clone(), inner }
    }
}

impl fmt::Debug for ClientLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientLayer").field("target", &self.target.name()).finish_non_exhaustive()
    }
}

/// The service of a [`ClientLayer`].
pub struct ClientService<F, S> {
    mesh: Mesh,
    target: Arc<Subscribed>,
    inner: Inner<F, S>,
}

struct Inner<F, S> {
    shared: Arc<Shared<F>>,
    service: std::marker::PhantomData<fn() -> S>,
}

struct Shared<F> {
    id: u64,
    make: F,
    secures: bool,
    mesh: Mesh,
}

impl<F> Drop for Shared<F> {
    fn drop(&mut self) {
        for cluster in self.mesh.inner().hold().clusters() {
            for endpoint in cluster.tables().all() {
                endpoint.attached().clients.remove(self.id);
            }
        }
    }
}

impl<F, S> Clone for Inner<F, S> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), service: std::marker::PhantomData }
    }
}

impl<F, S> Clone for ClientService<F, S> {
    fn clone(&self) -> Self {
        let Self { mesh, target, inner } = self;
        Self { mesh: mesh.clone(), target: target.clone(), inner: inner.clone() }
    }
}

impl<F, S> fmt::Debug for ClientService<F, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientService").field("target", &self.target.name()).finish_non_exhaustive()
    }
}

impl<F, S, B> Transport for Inner<F, S>
where
    F: Fn(&Endpoint) -> S,
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes>,
{
    type Body = B;
    type Future = Attempt<S>;

    const GIVES_BACK: bool = false;

    #[inline(always)]
    fn send(&self, _: To<'_>, endpoint: &EndpointState<Io>, request: Request<Body>) -> Attempt<S> {
        let known = endpoint.attached().clients.get(self.shared.id);
        let Some(mut client) = known.or_else(|| self.made(endpoint.attached())) else {
            return Attempt::refused();
        };
        // Here, and in no function of its own, to which the request would be moved first.
        //
        // A client is called at once when it says that it is ready. One that is not is asked again
        // with a waker, so that nothing is lost by asking without.
        let ready = client.poll_ready(&mut Context::from_waker(Waker::noop()));
        if !matches!(ready, Poll::Ready(Ok(()))) {
            return Attempt::otherwise(client, request, ready);
        }
        Attempt::Called { future: client.call(request) }
    }
}

impl<F, S> Inner<F, S>
where
    F: Fn(&Endpoint) -> S,
    S: Clone + Send + Sync + 'static,
{
    /// A client for an endpoint that has none yet; `None` where it would not secure its connections
    /// and is to.
    #[cold]
    fn made(&self, endpoint: &EndpointIo) -> Option<S> {
        let Shared { id, make, secures, .. } = &*self.shared;
        if endpoint.tls().is_some() && !secures {
            return None;
        }
        Some(endpoint.clients.keep(*id, make(&endpoint.endpoint())))
    }
}

pin_project! {
    // One attempt: usually the client is ready and has the request already.
    #[project = AttemptProject]
    enum Attempt<S: Service<Request<Body>>> {
        Called { #[pin] future: S::Future },
        Otherwise { step: Box<Step<S>> },
    }
}

// What is rare, behind one pointer.
enum Step<S: Service<Request<Body>>> {
    Waiting(Pin<Box<Oneshot<S, Request<Body>>>>),
    Failed(Option<BoxError>),
}

impl<S> Attempt<S>
where
    S: Service<Request<Body>>,
    S::Error: Into<BoxError>,
{
    #[cold]
    fn refused() -> Self {
        Self::Otherwise { step: Box::new(Step::Failed(Some(unsecured()))) }
    }

    #[inline(never)]
    fn otherwise(client: S, request: Request<Body>, ready: Poll<Result<(), S::Error>>) -> Self {
        let step = match ready {
            Poll::Ready(Err(error)) => Step::Failed(Some(error.into())),
            _ => Step::Waiting(Box::pin(Oneshot::new(client, request))),
        };
        Self::Otherwise { step: Box::new(step) }
    }
}

impl<S, B> Future for Attempt<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
{
    type Output = Result<Response<B>, Box<Failed>>;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            AttemptProject::Called { future } => match ready!(future.poll(cx)) {
                Ok(response) => Poll::Ready(Ok(response)),
                Err(error) => Poll::Ready(Err(failed(error.into()))),
            },
            AttemptProject::Otherwise { step } => step.poll(cx),
        }
    }
}

impl<S, B> Step<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
{
    #[inline(never)]
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<B>, Box<Failed>>> {
        let error = match self {
            Self::Waiting(oneshot) => match ready!(oneshot.as_mut().poll(cx)) {
                Ok(response) => return Poll::Ready(Ok(response)),
                Err(error) => error.into(),
            },
            Self::Failed(error) => error.take().expect("polled after it failed"),
        };
        Poll::Ready(Err(failed(error)))
    }
}

fn unsecured() -> BoxError {
    let text = "the endpoint asks for TLS, which the clients of this layer are not said to speak \
                (ClientLayer::with_tls)";
    Error::new(ErrorKind::Config, text).into()
}

#[cold]
fn failed(error: BoxError) -> Box<Failed> {
    let outcome = outcome::of_error(&*error);
    Box::new(Failed { outcome, error, request: None })
}

impl<F, S, B, R> Service<Request<R>> for ClientService<F, S>
where
    F: Fn(&Endpoint) -> S,
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes>,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<ResponseBody<B>>;
    type Error = Error;
    type Future = ClientFuture<F, S, B>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        let place = Place { mesh: self.mesh.inner(), target: &self.target, dialect: Dialect::Http };
        ClientFuture { call: Call::new(place, &self.inner, request) }
    }
}

pin_project! {
    /// The future of a [`ClientService`]'s response. Dropping it gives up the request.
    pub struct ClientFuture<F, S, B>
    where
        F: Fn(&Endpoint) -> S,
        S: Service<Request<Body>, Response = Response<B>>,
        S: Clone,
        S: Send,
        S: Sync,
        S: 'static,
        S::Error: Into<BoxError>,
        B: http_body::Body<Data = Bytes>,
    {
        #[pin]
        call: Call<Inner<F, S>>,
    }
}

impl<F, S, B> Future for ClientFuture<F, S, B>
where
    F: Fn(&Endpoint) -> S,
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes>,
{
    type Output = Result<Response<ResponseBody<B>>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().call.poll(cx)
    }
}

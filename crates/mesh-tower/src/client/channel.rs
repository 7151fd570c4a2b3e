use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::{Request, Response};
use mesh_core::Dialect;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::body::ResponseBody;
use super::call::Call;
use super::routing::Place;
use super::transport::Direct;
use crate::body::BoxError;
use crate::connection::Received;
use crate::error::Error;
use crate::mesh::{Mesh, Presence, Subscribed};

/// A client of one target, over connections of the mesh's own.
///
/// A Tower `Service` of `http::Request`. Always ready: what capacity a request needs is known only
/// once it is routed, so it is admitted or refused in `call`. Cheap to clone; clones are the same
/// channel.
///
/// The request's URI needs a path alone. Its authority selects the virtual host and travels to
/// the endpoint; without one the target's is used.
///
/// ```
/// # use mesh_core::resource::Resources;
/// # use mesh_tower::{Body, Channel, Error, Mesh};
/// # use tower::ServiceExt;
/// # async fn example() -> Result<(), Error> {
/// # let mesh = Mesh::builder().resources(Resources::new()).build()?;
/// let reviews = Channel::new(&mesh, "reviews.default.svc.cluster.local:9080")?;
/// let request = http::Request::get("/reviews/0").body(Body::empty()).expect("a valid request");
/// let response = reviews.oneshot(request).await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Channel {
    mesh: Mesh,
    target: Arc<Subscribed>,
    dialect: Dialect,
}

impl Channel {
    /// A channel to `target`: `host:port`, a host alone, or `xds:///…`. The name goes to the
    /// control plane as it is given.
    ///
    /// # Errors
    /// Kind `Config` when the target cannot be parsed.
    pub fn new(mesh: &Mesh, target: &str) -> Result<Self, Error> {
        Self::with_dialect(mesh, target, Dialect::Http)
    }

    /// A channel whose requests follow the rules of `dialect`. gRPC requests always travel over
    /// HTTP/2. The `mesh-grpc` crate builds its own on this one.
    ///
    /// # Errors
    /// Kind `Config` when the target cannot be parsed.
    pub fn with_dialect(mesh: &Mesh, target: &str, dialect: Dialect) -> Result<Self, Error> {
        let target = mesh.subscribe(target, dialect)?;
        Ok(Self { mesh: mesh.clone(), target, dialect })
    }

    /// Waits until this target is resolved, 15 s at most.
    ///
    /// # Errors
    /// Kind `NotReady` with the chain of reasons.
    pub async fn ready(&self) -> Result<(), Error> {
        self.mesh.inner().ready(&self.target).await
    }

    /// As a `call`, which needs no channel of its own.
    pub(super) fn send<B>(&self, request: Request<B>) -> ResponseFuture
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let Self { mesh, target, dialect } = self;
        let place = Place { mesh: mesh.inner(), target, dialect: *dialect };
        ResponseFuture { call: Call::new(place, &Direct, request) }
    }

    /// What is known of the target in the mesh.
    pub(super) fn presence(&self) -> Presence {
        self.mesh.inner().presence(&self.target)
    }

    /// Waits until something is known of the target, no longer than until `deadline`.
    pub(super) async fn resolved(&self, deadline: Option<Instant>) -> Result<(), Error> {
        let own = tokio::time::Instant::now() + crate::mesh::RESOLUTION_TIMEOUT;
        let deadline = deadline.map_or(own, |deadline| own.min(deadline.into()));
        self.mesh.inner().resolved_by(&self.target, deadline).await
    }

    /// The target, without a scheme.
    pub fn target(&self) -> &str {
        self.target.name()
    }
}

impl<B> Service<Request<B>> for Channel
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<ResponseBody<Received>>;
    type Error = Error;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture {
        self.send(request)
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("target", &self.target.name())
            .field("dialect", &self.dialect)
            .finish_non_exhaustive()
    }
}

pin_project! {
    /// The future of a [`Channel`]'s response. Dropping it gives up the request.
    pub struct ResponseFuture {
        #[pin]
        call: Call<Direct>,
    }
}

impl Future for ResponseFuture {
    type Output = Result<Response<ResponseBody<Received>>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().call.poll(cx)
    }
}

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

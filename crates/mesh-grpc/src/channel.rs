use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use mesh_core::Dialect;
use mesh_tower::{BoxError, Error, Mesh, client};
use pin_project_lite::pin_project;
use tonic::Status;
use tower_service::Service;

use crate::body::ResponseBody;
use crate::status::{of_answer, status};

/// A gRPC channel: what generated clients are made from.
///
/// ```no_run
/// # fn example(mesh: &mesh_grpc::Mesh) -> Result<(), mesh_tower::Error> {
/// let channel = mesh_grpc::Channel::new(mesh, "xds:///greeter:50051")?;
/// // let mut greeter = GreeterClient::new(channel);
/// # drop(channel); Ok(()) }
/// ```
///
/// Deadlines: `Request::set_timeout`, or a [`Deadline`](mesh_tower::Deadline) extension, bounded
/// by the route's (gRFC A31). Retries follow the route (gRFC A44 and Envoy's conditions).
#[derive(Clone, Debug)]
pub struct Channel {
    inner: mesh_tower::Channel,
}

impl Channel {
    /// A channel to `target`: `xds:///name`, `host:port` or a host alone. The target's name
    /// selects the virtual host and is the `:authority` of calls whose client gives no origin.
    ///
    /// # Errors
    /// Kind `Config` when the target cannot be parsed.
    pub fn new(mesh: &Mesh, target: &str) -> Result<Self, Error> {
        let inner = mesh_tower::Channel::with_dialect(mesh, target, Dialect::Grpc)?;
        Ok(Self { inner })
    }

    /// Waits until the target is resolved, 15 s at most.
    ///
    /// # Errors
    /// Kind `NotReady` with the chain of reasons.
    pub async fn ready(&self) -> Result<(), Error> {
        self.inner.ready().await
    }
}

impl<B> Service<Request<B>> for Channel
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<ResponseBody>;
    type Error = Status;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture {
        ResponseFuture { inner: self.inner.call(request) }
    }
}

pin_project! {
    /// The future of a [`Channel`]'s response. Dropping it cancels the call.
    pub struct ResponseFuture {
        #[pin]
        inner: client::ResponseFuture,
    }
}

impl Future for ResponseFuture {
    type Output = Result<Response<ResponseBody>, Status>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = ready!(self.project().inner.poll(cx));
        Poll::Ready(match result {
            Ok(response) => match of_answer(&response) {
                Some(status) => Err(status),
                None => Ok(response.map(ResponseBody::new)),
            },
            Err(error) => Err(status(&error)),
        })
    }
}

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

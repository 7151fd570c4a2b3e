use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use mesh_core::cluster::{CircuitBreaker, Permit};
use mesh_core::resource::{RoutingPriority, Thresholds};
use tower_layer::Layer;
use tower_service::Service;

use super::{GuardedBody, LayerFuture, refused};
use crate::body::BoxError;
use crate::error::{Error, ErrorKind};

/// Refuses requests while `max_requests` are under way. A request counts until its answer's body
/// has ended.
///
/// What is refused fails at once, with an [`Error`] of kind `Overloaded`. All services of a layer
/// and of its clones share the limit. Connections are not counted: they are the inner service's.
///
/// ```
/// # use mesh_core::resource::Thresholds;
/// # use mesh_tower::layers::CircuitBreakerLayer;
/// # use mesh_tower::{Body, BoxError, Error, ErrorKind};
/// # use tower::{Layer as _, ServiceExt as _};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// # let client = tower::service_fn(|_: http::Request<Body>| async {
/// #     Ok::<_, BoxError>(http::Response::new(Body::from("hello")))
/// # });
/// let mut limits = Thresholds::default();
/// limits.max_requests = 1;
/// let client = CircuitBreakerLayer::new(limits).layer(client);
/// let request = || http::Request::new(Body::empty());
/// let first = client.clone().oneshot(request()).await?;
/// let error = client.clone().oneshot(request()).await.unwrap_err();
/// assert_eq!(error.downcast_ref::<Error>().unwrap().kind(), ErrorKind::Overloaded);
/// drop(first);
/// assert!(client.oneshot(request()).await.is_ok());
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct CircuitBreakerLayer {
    breaker: CircuitBreaker,
}

impl CircuitBreakerLayer {
    /// A layer with those limits, of which those of requests count.
    pub fn new(thresholds: Thresholds) -> Self {
        Self { breaker: CircuitBreaker::new(thresholds) }
    }
}

impl<S> Layer<S> for CircuitBreakerLayer {
    type Service = CircuitBreakerService<S>;

    fn layer(&self, inner: S) -> CircuitBreakerService<S> {
        CircuitBreakerService { inner, breaker: self.breaker.clone() }
    }
}

/// The service of a [`CircuitBreakerLayer`].
#[derive(Clone, Debug)]
pub struct CircuitBreakerService<S> {
    inner: S,
    breaker: CircuitBreaker,
}

impl<S, B, R> Service<Request<B>> for CircuitBreakerService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    R: Body + 'static,
{
    type Response = Response<GuardedBody<R, Permit>>;
    type Error = BoxError;
    type Future = LayerFuture<Self::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let permit = match self.breaker.admit(RoutingPriority::Default) {
            Ok(permit) => permit,
            Err(full) => {
                let error = Error::new(ErrorKind::Overloaded, "too many requests").because(full);
                return refused(error);
            }
        };
        let future = self.inner.call(request);
        Box::pin(async move {
            let response = future.await.map_err(Into::into)?;
            Ok(response.map(|body| GuardedBody::new(body, permit)))
        })
    }
}

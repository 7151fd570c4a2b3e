use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use mesh_core::resilience::total_deadline;
use pin_project_lite::pin_project;
use tokio::time::Sleep;
use tower_layer::Layer;
use tower_service::Service;

use super::{LayerFuture, take_ready};
use crate::body::BoxError;
use crate::client::now;
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind};

/// Ends requests in time: the answer's head and its body. The sooner of this and the request's own
/// [`Deadline`] counts, and is what services inside find as the request's `Deadline`.
///
/// What is late fails with an [`Error`] of kind `Deadline`.
///
/// ```
/// # use std::time::Duration;
/// # use mesh_tower::layers::TimeoutLayer;
/// # use mesh_tower::{Body, BoxError, Error, ErrorKind};
/// # use tower::{Layer as _, ServiceExt as _};
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let never = tower::service_fn(|_: http::Request<Body>| async {
///     std::future::pending::<Result<http::Response<Body>, BoxError>>().await
/// });
/// let client = TimeoutLayer::new(Duration::from_secs(2)).layer(never);
/// let error = client.oneshot(http::Request::new(Body::empty())).await.unwrap_err();
/// assert_eq!(error.downcast_ref::<Error>().unwrap().kind(), ErrorKind::Deadline);
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct TimeoutLayer {
    timeout: Duration,
}

impl TimeoutLayer {
    /// Requests may take so long; zero for no limit but their own.
    pub fn new(timeout: Duration) -> Self {
        Self { timeout }
    }
}

impl<S> Layer<S> for TimeoutLayer {
    type Service = TimeoutService<S>;

    fn layer(&self, inner: S) -> TimeoutService<S> {
        TimeoutService { inner, timeout: self.timeout }
    }
}

/// The service of a [`TimeoutLayer`].
#[derive(Clone, Debug)]
pub struct TimeoutService<S> {
    inner: S,
    timeout: Duration,
}

impl<S, B, R> Service<Request<B>> for TimeoutService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
{
    type Response = Response<TimedBody<R>>;
    type Error = BoxError;
    type Future = LayerFuture<Self::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let caller = request.extensions().get().map(|Deadline(deadline)| *deadline);
        let own = Some(self.timeout).filter(|timeout| !timeout.is_zero());
        let deadline = total_deadline(now(), own, caller);
        if let Some(deadline) = deadline {
            request.extensions_mut().insert(Deadline(deadline));
        }
        let future = take_ready(&mut self.inner).call(request);
        Box::pin(async move {
            let response = match deadline {
                None => future.await,
                Some(deadline) => match tokio::time::timeout_at(deadline.into(), future).await {
                    Ok(response) => response,
                    Err(_) => return Err(late("the answer did not begin in time").into()),
                },
            };
            let response = response.map_err(Into::into)?;
            Ok(response.map(|body| TimedBody { body, deadline, timer: None }))
        })
    }
}

fn late(text: &str) -> Error {
    Error::new(ErrorKind::Deadline, text)
}

pin_project! {
    /// A response body that fails where it goes on after its deadline.
    #[derive(Debug)]
    pub struct TimedBody<B> {
        #[pin]
        body: B,
        deadline: Option<Instant>,
        // Armed when the body is waited for.
        timer: Option<Pin<Box<Sleep>>>,
    }
}

impl<B> Body for TimedBody<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        let this = self.project();
        if let Poll::Ready(frame) = this.body.poll_frame(cx) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let Some(deadline) = *this.deadline else { return Poll::Pending };
        let sleep = || Box::pin(tokio::time::sleep_until(deadline.into()));
        let timer = this.timer.get_or_insert_with(sleep);
        let late = |()| Some(Err(late("the answer did not end in time").into()));
        timer.as_mut().poll(cx).map(late)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

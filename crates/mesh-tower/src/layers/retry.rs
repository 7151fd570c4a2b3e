use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use mesh_core::cluster::CircuitBreaker;
use mesh_core::resilience::{Ended, RetryDecision, RetryState, takes_request};
use mesh_core::resource::{RetryBudget, RetryPolicy, RoutingPriority, Thresholds};
use mesh_core::{Dialect, Head};
use tower_layer::Layer;
use tower_service::Service;

use super::{LayerFuture, outcome, take_ready};
use crate::body::{Body, BoxError, DEFAULT_CAP_BYTES, Replay};
use crate::client::now;
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind};

/// Tries requests again, as a RetryPolicy says: its conditions, number of retries, per-try timeout
/// and waits (full jitter), and headers that name a time.
///
/// A body is kept as it is sent, up to 64 KiB; a longer one goes on without another attempt. Of a
/// hundred requests under way 20 may be in a retry, and 3 in any case
/// ([`with_budget`](Self::with_budget)). No attempt begins after the request's [`Deadline`]. An
/// answer that has begun is never taken back.
///
/// The endpoint of another attempt is the inner service's choice.
///
/// ```
/// # use std::sync::atomic::{AtomicUsize, Ordering};
/// # use mesh_core::resource::{RetryConditions, RetryPolicy};
/// # use mesh_tower::layers::RetryLayer;
/// # use mesh_tower::{Body, BoxError};
/// # use tower::{Layer as _, ServiceExt as _};
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), BoxError> {
/// static ATTEMPTS: AtomicUsize = AtomicUsize::new(0);
/// let fails_twice = tower::service_fn(|_: http::Request<Body>| async {
///     let status = if ATTEMPTS.fetch_add(1, Ordering::Relaxed) < 2 { 503 } else { 200 };
///     Ok::<_, BoxError>(http::Response::builder().status(status).body(Body::empty())?)
/// });
/// let mut policy = RetryPolicy::new(RetryConditions::GATEWAY_ERROR);
/// policy.num_retries = 2;
/// let client = RetryLayer::new(policy).layer(fails_twice);
/// let response = client.oneshot(http::Request::new(Body::from("kept"))).await?;
/// assert_eq!(response.status(), 200);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct RetryLayer {
    policy: Arc<RetryPolicy>,
    breaker: CircuitBreaker,
    cap_bytes: usize,
}

impl RetryLayer {
    /// A layer with that policy and the default budget.
    pub fn new(policy: RetryPolicy) -> Self {
        let breaker = breaker(RetryBudget::default());
        Self { policy: Arc::new(policy), breaker, cap_bytes: DEFAULT_CAP_BYTES }
    }

    /// The same with another budget. Services of the layer share it.
    #[must_use]
    pub fn with_budget(self, budget: RetryBudget) -> Self {
        Self { breaker: breaker(budget), ..self }
    }

    /// The same, keeping that much of a body.
    #[must_use]
    pub fn with_body_cap(self, cap_bytes: usize) -> Self {
        Self { cap_bytes, ..self }
    }
}

/// Counts requests, and limits only retries.
fn breaker(budget: RetryBudget) -> CircuitBreaker {
    let mut thresholds = Thresholds::default();
    thresholds.max_requests = u32::MAX;
    thresholds.retry_budget = Some(budget);
    CircuitBreaker::new(thresholds)
}

impl<S> Layer<S> for RetryLayer {
    type Service = RetryService<S>;

    fn layer(&self, inner: S) -> RetryService<S> {
        RetryService { inner, layer: self.clone() }
    }
}

/// The service of a [`RetryLayer`].
#[derive(Clone, Debug)]
pub struct RetryService<S> {
    inner: S,
    layer: RetryLayer,
}

impl<S, B, R> Service<Request<B>> for RetryService<S>
where
    S: Service<Request<Body>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    R: Send + 'static,
{
    type Response = Response<R>;
    type Error = BoxError;
    type Future = LayerFuture<Response<R>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let inner = take_ready(&mut self.inner);
        Box::pin(run(self.layer.clone(), inner, request.map(Body::new)))
    }
}

async fn run<S, R>(
    layer: RetryLayer,
    mut inner: S,
    request: Request<Body>,
) -> Result<Response<R>, BoxError>
where
    S: Service<Request<Body>, Response = Response<R>>,
    S::Error: Into<BoxError>,
{
    let RetryLayer { policy, breaker, cap_bytes } = layer;
    let _counted = breaker.admit(RoutingPriority::Default);
    let takes = takes_request(&policy, &Head::of(&request), Dialect::Http);
    let deadline = request.extensions().get().map(|Deadline(deadline)| *deadline);
    let (head, body) = request.into_parts();
    let (mut body, mut replay) = Replay::split_with_cap(body, cap_bytes);
    let mut retries = RetryState::default();
    let mut permit = None;
    loop {
        let result = attempt(&mut inner, &policy, head.clone(), body).await;
        // The retry that was permitted is over.
        drop(permit.take());
        if !takes {
            return result;
        }
        let time = SystemTime::now();
        let ended = match &result {
            Ok(response) => Ended::answered(response.status(), response.headers(), time),
            Err(error) => Ended::unanswered(outcome::of_error(&**error), time),
        };
        let decision = retries.decide(&policy, &ended, Dialect::Http, fastrand::u64(..));
        let RetryDecision::After(wait) = decision else { return result };
        let late = deadline.is_some_and(|deadline| now() + wait >= deadline);
        let Ok(permitted) = breaker.admit_retry(RoutingPriority::Default) else { return result };
        let Some(again) = (!late).then(|| replay.again()).flatten() else { return result };
        (permit, body) = (Some(permitted), again);
        drop(result);
        retries.retried(decision);
        tokio::time::sleep(wait).await;
        std::future::poll_fn(|cx| inner.poll_ready(cx)).await.map_err(Into::into)?;
    }
}

async fn attempt<S, R>(
    inner: &mut S,
    policy: &RetryPolicy,
    head: Parts,
    body: Body,
) -> Result<Response<R>, BoxError>
where
    S: Service<Request<Body>, Response = Response<R>>,
    S::Error: Into<BoxError>,
{
    let future = inner.call(Request::from_parts(head, body));
    let result = match policy.per_try_timeout {
        None => future.await,
        Some(limit) => match tokio::time::timeout(limit, future).await {
            Ok(result) => result,
            Err(_) => {
                let text = format!("no answer within {limit:?}, the time of one attempt");
                return Err(Error::new(ErrorKind::Deadline, text).into());
            }
        },
    };
    result.map_err(Into::into)
}

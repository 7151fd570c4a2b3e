//! Single capabilities for anyone's stack, with policy by code and no control plane.
//!
//! Each is a thin adapter over the decision of `mesh-core` that the mesh's own clients and servers
//! use, and stands over any `Service<http::Request<B>>`.
//!
//! | layer | does |
//! |---|---|
//! | [`TimeoutLayer`] | ends a request, its answer's body included, in time |
//! | [`RetryLayer`] | tries again: conditions, budget, full jitter, bounded replay |
//! | [`CircuitBreakerLayer`] | refuses what is too much at once |
//! | [`RouteLayer`] | routes, rewrites, redirects, changes headers, filters |
//! | [`FaultLayer`], [`RateLimitLayer`], [`AuthorizationLayer`] | one filter each |
//! | [`MirrorLayer`] | sends copies elsewhere, and forgets them |
//! | [`OutlierLayer`] | refuses while its endpoint is ejected by a shared [`Detector`] |
//!
//! | service over a keyed list | does |
//! |---|---|
//! | [`Balance`] | picks one: every policy, outlier detection, circuit breaker |
//! | [`Split`] | picks one by weight |
//!
//! What a policy refuses is an [`Error`] inside the `BoxError`, to be had by
//! `downcast_ref`; what it answers (an abort, a limit, a denial) is a response. None of them spawns a
//! task, except [`MirrorLayer`] for its copies.
//!
//! They go together in the order in which the mesh does it:
//!
//! ```
//! # use std::time::Duration;
//! # use mesh_core::resource::{RetryConditions, RetryPolicy, Thresholds};
//! # use mesh_tower::layers::{CircuitBreakerLayer, RetryLayer, TimeoutLayer};
//! # use mesh_tower::{Body, BoxError};
//! # use tower::{ServiceBuilder, ServiceExt as _};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! # let client = tower::service_fn(|_: http::Request<Body>| async {
//! #     Ok::<_, BoxError>(http::Response::new(Body::from("hello")))
//! # });
//! let client = ServiceBuilder::new()
//!     .layer(CircuitBreakerLayer::new(Thresholds::default()))
//!     .layer(TimeoutLayer::new(Duration::from_secs(15)))
//!     .layer(RetryLayer::new(RetryPolicy::new(RetryConditions::GATEWAY_ERROR)))
//!     .service(client);
//! let response = client.oneshot(http::Request::new(Body::empty())).await?;
//! assert_eq!(response.status(), 200);
//! # Ok(()) }
//! ```

mod balance;
mod circuit_breaker;
mod filters;
mod guarded;
mod mirror;
pub(crate) mod outcome;
mod outlier;
mod retry;
mod rules;
mod split;
#[cfg(test)]
mod tests;
mod timeout;

pub use balance::{Balance, Balanced, RequestHash};
pub use circuit_breaker::{CircuitBreakerLayer, CircuitBreakerService};
pub use filters::{AuthorizationLayer, FaultLayer, RateLimitLayer, RouteLayer};
pub use guarded::GuardedBody;
pub use mirror::{MirrorLayer, MirrorService};
pub use outlier::{Detector, OutlierLayer, OutlierService};
pub use retry::{RetryLayer, RetryService};
pub use rules::{Routed, Ruled};
pub use split::Split;
pub use timeout::{TimedBody, TimeoutLayer, TimeoutService};

use std::future::Future;
use std::pin::Pin;

use crate::body::BoxError;
use crate::error::Error;

/// The future of a layer that waits for more than one thing.
pub type LayerFuture<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

/// The future of a request that is refused.
fn refused<T: 'static>(error: Error) -> LayerFuture<T> {
    Box::pin(async move { Err(error.into()) })
}

/// The service that was made ready, in exchange for a clone that was not.
fn take_ready<S: Clone>(service: &mut S) -> S {
    let clone = service.clone();
    std::mem::replace(service, clone)
}

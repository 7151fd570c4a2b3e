use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use mesh_core::Dialect;
use mesh_core::resource::{ClusterSpecifier, Forward, WeightedCluster};
use mesh_core::{Decision, Head};
use tower::ServiceExt as _;
use tower_service::Service;

use super::rules::Rules;
use super::{LayerFuture, refused};
use crate::body::BoxError;
use crate::error::{Error, ErrorKind};

/// Sends each request to one of several services, by weight: `random % total`, in the order given,
/// as the weighted clusters of a route.
///
/// Always ready; the service that is chosen is cloned, and made ready for the request.
///
/// ```
/// # use mesh_tower::layers::Split;
/// # use mesh_tower::{Body, BoxError};
/// # use tower::ServiceExt as _;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// let version = |version: &'static str| {
///     tower::service_fn(move |_: http::Request<Body>| async move {
///         Ok::<_, BoxError>(http::Response::new(version))
///     })
/// };
/// let client = Split::new([("v1", 100, version("one")), ("v2", 0, version("two"))]);
/// let response = client.oneshot(http::Request::new(Body::empty())).await?;
/// assert_eq!(*response.body(), "one");
/// # Ok(()) }
/// ```
pub struct Split<K, S> {
    shared: Arc<Shared<K, S>>,
}

struct Shared<K, S> {
    rules: Arc<Rules>,
    services: Vec<(K, S)>,
}

impl<K, S> Split<K, S> {
    /// A split of services, each with its key and weight. Of services whose weights are 0 all
    /// together, none is chosen: requests fail with kind `NoRoute`.
    pub fn new(services: impl IntoIterator<Item = (K, u32, S)>) -> Self {
        let mut weights = Vec::new();
        let named = services.into_iter().enumerate().map(|(number, (key, weight, service))| {
            weights.push(WeightedCluster::new(number.to_string(), weight));
            (key, service)
        });
        let services = named.collect();
        let forward = Forward::new(ClusterSpecifier::Weighted(weights.into()));
        let rules = Rules::new(None, Rules::of_all(forward));
        Self { shared: Arc::new(Shared { rules, services }) }
    }

    /// The keys, in the order given.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.shared.services.iter().map(|(key, _)| key)
    }

    /// The service that a random number falls on.
    fn choose<B>(&self, request: &Request<B>, random: u64) -> Option<&S> {
        let Rules { snapshot, root } = &*self.shared.rules;
        let decision = snapshot.route(*root, &Head::of(request), Dialect::Http, random);
        let Decision::Forward { cluster, .. } = decision else { return None };
        let number: usize = snapshot.cluster_name(cluster).parse().ok()?;
        self.shared.services.get(number).map(|(_, service)| service)
    }
}

impl<K, S, B, R> Service<Request<B>> for Split<K, S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Send + 'static,
    R: 'static,
{
    type Response = Response<R>;
    type Error = BoxError;
    type Future = LayerFuture<Response<R>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let Some(service) = self.choose(&request, fastrand::u64(..)).cloned() else {
            let error = Error::new(ErrorKind::NoRoute, "no service has a weight");
            return refused(error);
        };
        Box::pin(async move { service.oneshot(request).await.map_err(Into::into) })
    }
}

impl<K, S> Clone for Split<K, S> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<K: fmt::Debug, S> fmt::Debug for Split<K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys()).finish()
    }
}

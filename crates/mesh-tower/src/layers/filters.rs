use std::sync::Arc;

use mesh_core::resource::{
    FractionalPercent, HttpFault, HttpFilterKind, LocalRateLimit, Rbac, RouteConfiguration,
    TokenBucket,
};
use tower_layer::Layer;

use super::rules::{Ruled, Rules};

macro_rules! ruled {
    ($layer:ident, $tells_route:literal) => {
        impl<S> Layer<S> for $layer {
            type Service = Ruled<S>;

            fn layer(&self, inner: S) -> Ruled<S> {
                Ruled { inner, rules: self.rules.clone(), tells_route: $tells_route }
            }
        }
    };
}

/// Routes requests: by host, path, headers, query and weight; rewrites, header changes, redirects
/// and direct responses. The inner service finds [`Routed`](super::Routed) among the request's
/// extensions, and sends it there.
///
/// A route's timeout, retries and mirrors are for other layers. What no route takes fails with an
/// [`Error`](crate::Error) of kind `NoRoute`.
///
/// ```
/// # use std::sync::Arc;
/// # use mesh_core::resource::*;
/// # use mesh_tower::layers::{RouteLayer, Routed};
/// # use mesh_tower::{Body, BoxError};
/// # use tower::{Layer as _, ServiceExt as _};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// let to = |cluster: &str| {
///     Action::Forward(Arc::new(Forward::new(ClusterSpecifier::Cluster(cluster.into()))))
/// };
/// let routes = vec![
///     Route::new(RouteMatch::prefix("/new/"), to("v2")),
///     Route::new(RouteMatch::prefix("/"), to("v1")),
/// ];
/// let routes = RouteConfiguration::new("reviews", vec![VirtualHost::new("all", ["*"], routes)]);
///
/// let send = tower::service_fn(|request: http::Request<Body>| async move {
///     let Routed { cluster, .. } = request.extensions().get().expect("routed");
///     Ok::<_, BoxError>(http::Response::new(Body::from(cluster.to_string())))
/// });
/// let client = RouteLayer::new(routes).layer(send);
/// # use http_body_util::BodyExt as _;
/// let response = client.oneshot(http::Request::get("/new/x").body(Body::empty())?).await?;
/// assert_eq!(response.into_body().collect().await?.to_bytes(), "v2");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct RouteLayer {
    rules: Arc<Rules>,
}

impl RouteLayer {
    /// A layer with those routes.
    pub fn new(routes: RouteConfiguration) -> Self {
        Self { rules: Rules::new(None, routes) }
    }
}

ruled!(RouteLayer, true);

/// Delays requests and aborts them, each a share of them. An abort is an answer.
///
/// ```
/// # use http::StatusCode;
/// # use mesh_core::resource::{AbortKind, FaultAbort, FractionalPercent, HttpFault};
/// # use mesh_tower::layers::FaultLayer;
/// # use mesh_tower::{Body, BoxError};
/// # use tower::{Layer as _, ServiceExt as _};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// # let client = tower::service_fn(|_: http::Request<Body>| async {
/// #     Ok::<_, BoxError>(http::Response::new(Body::from("hello")))
/// # });
/// let mut fault = HttpFault::new();
/// let kind = AbortKind::HttpStatus(StatusCode::IM_A_TEAPOT);
/// fault.abort = Some(FaultAbort { kind, percentage: FractionalPercent::percent(100) });
/// let client = FaultLayer::new(fault).layer(client);
/// let response = client.oneshot(http::Request::new(Body::empty())).await?;
/// assert_eq!(response.status(), StatusCode::IM_A_TEAPOT);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct FaultLayer {
    rules: Arc<Rules>,
}

impl FaultLayer {
    /// A layer with those faults.
    pub fn new(fault: HttpFault) -> Self {
        Self { rules: Rules::of_filter(HttpFilterKind::Fault(Arc::new(fault))) }
    }
}

ruled!(FaultLayer, false);

/// Answers requests beyond a rate with 429 (`envoy.extensions.filters.http.local_ratelimit.v3`).
/// Services of a layer and of its clones share the bucket.
///
/// ```
/// # use std::time::Duration;
/// # use mesh_core::resource::TokenBucket;
/// # use mesh_tower::layers::RateLimitLayer;
/// # use mesh_tower::{Body, BoxError};
/// # use tower::{Layer as _, ServiceExt as _};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// # let client = tower::service_fn(|_: http::Request<Body>| async {
/// #     Ok::<_, BoxError>(http::Response::new(Body::from("hello")))
/// # });
/// let once = TokenBucket::new(1, 1, Duration::from_secs(3600));
/// let client = RateLimitLayer::new(once).layer(client);
/// let request = || http::Request::new(Body::empty());
/// assert_eq!(client.clone().oneshot(request()).await?.status(), 200);
/// assert_eq!(client.oneshot(request()).await?.status(), 429);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct RateLimitLayer {
    rules: Arc<Rules>,
}

impl RateLimitLayer {
    /// A layer with that bucket for all requests.
    pub fn new(bucket: TokenBucket) -> Self {
        let mut limit = LocalRateLimit::new();
        limit.token_bucket = Some(bucket);
        limit.filter_enabled = FractionalPercent::percent(100);
        limit.filter_enforced = FractionalPercent::percent(100);
        Self::with(limit)
    }

    /// A layer that does all that the filter does: shares of requests, descriptors, headers that
    /// tell the limit.
    pub fn with(limit: LocalRateLimit) -> Self {
        Self { rules: Rules::of_filter(HttpFilterKind::LocalRateLimit(Arc::new(limit))) }
    }
}

ruled!(RateLimitLayer, false);

/// Answers requests with 403 that no rule allows, or one denies
/// (`envoy.extensions.filters.http.rbac.v3.RBAC`).
///
/// ```
/// # use mesh_core::resource::*;
/// # use mesh_tower::layers::AuthorizationLayer;
/// # use mesh_tower::{Body, BoxError};
/// # use tower::{Layer as _, ServiceExt as _};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// # let app = tower::service_fn(|_: http::Request<Body>| async {
/// #     Ok::<_, BoxError>(http::Response::new(Body::from("hello")))
/// # });
/// let admin = Rule::Is(Condition::UrlPath(StringMatcher::Prefix {
///     value: "/admin".into(),
///     ignore_case: false,
/// }));
/// let policy = RbacPolicy { permissions: vec![admin], principals: vec![Rule::Any] };
/// let rules = Rbac::new(RbacRules::new(RbacAction::Deny, [("admin", policy)]));
/// let app = AuthorizationLayer::new(rules).layer(app);
/// let get = |path| http::Request::get(path).body(Body::empty());
/// assert_eq!(app.clone().oneshot(get("/admin/x")?).await?.status(), 403);
/// assert_eq!(app.oneshot(get("/other")?).await?.status(), 200);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct AuthorizationLayer {
    rules: Arc<Rules>,
}

impl AuthorizationLayer {
    /// A layer with those rules.
    pub fn new(rules: Rbac) -> Self {
        Self { rules: Rules::of_filter(HttpFilterKind::Rbac(Arc::new(rules))) }
    }
}

ruled!(AuthorizationLayer, false);

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use mesh_core::Dialect;
use mesh_core::resource::{ClusterSpecifier, Forward, MirrorCluster, MirrorPolicy};
use mesh_core::{Decision, Head};
use tokio::sync::Semaphore;
use tower::ServiceExt as _;
use tower_layer::Layer;
use tower_service::Service;

use super::rules::Rules;
use crate::body::{Body, BoxError};
use crate::client::copy_of_head;

/// Copies under way at once; one more is not sent. Each may hold 64 KiB of a body, so this many
/// hold 16 MiB. A guess at what an endpoint for trying things out can take.
const MAX_COPIES: usize = 256;

/// How long a copy may take, so that none stays for ever: Envoy's default for a request.
const LONGEST: Duration = Duration::from_secs(15);

/// Sends copies of requests to another service, and forgets them: nobody waits for their answers,
/// and nobody learns of their failures.
///
/// A copy's authority gets `-shadow` before its port. One whose body is longer than 64 KiB is not
/// sent. Copies run in tasks of their own, on the runtime that calls; 256 at once, for 15 s at most.
///
/// ```
/// # use mesh_tower::layers::MirrorLayer;
/// # use mesh_tower::{Body, BoxError};
/// # use tower::{Layer as _, ServiceExt as _};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// # let client = tower::service_fn(|_: http::Request<Body>| async {
/// #     Ok::<_, BoxError>(http::Response::new(Body::from("hello")))
/// # });
/// let (seen, mut copies) = tokio::sync::mpsc::channel(1);
/// let next = tower::service_fn(move |request: http::Request<Body>| {
///     let seen = seen.clone();
///     async move {
///         seen.send(request.headers()["host"].clone()).await?;
///         Ok::<_, BoxError>(http::Response::new(Body::empty()))
///     }
/// });
/// let client = MirrorLayer::new(next).layer(client);
/// let request = http::Request::get("/").header("host", "reviews:9080").body(Body::empty())?;
/// client.oneshot(request).await?;
/// assert_eq!(copies.recv().await.unwrap(), "reviews-shadow:9080");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct MirrorLayer<M> {
    mirror: M,
    rules: Arc<Rules>,
    room: Arc<Semaphore>,
}

impl<M> MirrorLayer<M> {
    /// A layer that copies every request to `mirror`.
    pub fn new(mirror: M) -> Self {
        Self::with_per_million(mirror, None)
    }

    /// A layer that copies so many in a million.
    pub fn of_share(mirror: M, per_million: u32) -> Self {
        Self::with_per_million(mirror, Some(per_million))
    }

    fn with_per_million(mirror: M, per_million: Option<u32>) -> Self {
        let mut forward = Forward::new(ClusterSpecifier::Cluster("primary".into()));
        let mut policy = MirrorPolicy::new(MirrorCluster::Cluster("mirror".into()));
        policy.runtime_fraction = per_million;
        forward.request_mirror_policies = vec![policy];
        let rules = Rules::new(None, Rules::of_all(forward));
        Self { mirror, rules, room: Arc::new(Semaphore::new(MAX_COPIES)) }
    }
}

impl<S, M: Clone> Layer<S> for MirrorLayer<M> {
    type Service = MirrorService<S, M>;

    fn layer(&self, inner: S) -> MirrorService<S, M> {
        MirrorService { inner, layer: self.clone() }
    }
}

/// The service of a [`MirrorLayer`].
#[derive(Clone, Debug)]
pub struct MirrorService<S, M> {
    inner: S,
    layer: MirrorLayer<M>,
}

impl<S, M, B, R> Service<Request<B>> for MirrorService<S, M>
where
    S: Service<Request<Body>>,
    M: Service<Request<Body>, Response = Response<R>> + Clone + Send + 'static,
    M::Future: Send,
    M::Error: Send,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    R: http_body::Body + Send,
    R::Error: Send,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> S::Future {
        let mut request = request.map(Body::new);
        self.layer.mirror(&mut request);
        self.inner.call(request)
    }
}

impl<M> MirrorLayer<M> {
    fn mirror<R>(&self, request: &mut Request<Body>)
    where
        M: Service<Request<Body>, Response = Response<R>> + Clone + Send + 'static,
        M::Future: Send,
        M::Error: Send,
        R: http_body::Body + Send,
        R::Error: Send,
    {
        let Rules { snapshot, root } = &*self.rules;
        let random = fastrand::u64(..);
        let head = Head::of(request);
        let decision = snapshot.route(*root, &head, Dialect::Http, random);
        let Decision::Forward { route, .. } = decision else { return };
        let view = snapshot.view(route);
        let Some(mirror) = view.mirrors(&head, random).next() else { return };
        let Ok(room) = self.room.clone().try_acquire_owned() else { return };
        let Some(copy) = copy_of_head(&mirror, request, Dialect::Http, random) else { return };
        let service = self.mirror.clone();
        let send = move |body: Bytes| {
            let answered = async move {
                let _room = room;
                let Ok(response) = service.oneshot(copy.map(|_| Body::from(body))).await else {
                    return;
                };
                // Read to its end, so that its connection can be used again.
                let mut body = std::pin::pin!(response.into_body());
                while let Some(Ok(_)) = body.frame().await {}
            };
            tokio::spawn(async move {
                let _forgotten = tokio::time::timeout(LONGEST, answered).await;
            });
        };
        let body = std::mem::take(request.body_mut());
        *request.body_mut() = body.copied_to(send);
    }
}

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use mesh_core::exchange::{Exchange, Failure, Next};
use mesh_core::filter::Response as Seen;
use mesh_core::resource::{
    Action, ActiveFault, ClusterSpecifier, Forward, HttpConnectionManager, HttpFilter,
    HttpFilterKind, Listener, Name, Resource, Route, RouteConfiguration, RouteMatch,
    RouteSpecifier, VirtualHost,
};
use mesh_core::snapshot::{RootHint, RootIndex};
use mesh_core::{Dialect, Origin, Snapshot};
use tower_service::Service;

use super::{GuardedBody, LayerFuture, take_ready};
use crate::body::BoxError;
use crate::client::{ResponseBody, Unwritable, answer, context, with_request_from};
use crate::error::{Error, ErrorKind};
use crate::server::Conn;

/// Where a request was routed to, among the extensions of the request that the inner service gets.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Routed {
    /// The cluster.
    pub cluster: Name,
    /// The name of the route.
    pub route: Name,
}

/// What a request goes through: a connection manager's filters and routes, compiled.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) snapshot: Snapshot<()>,
    pub(super) root: RootIndex,
}

/// The name of what there is only one of.
const ONLY: &str = "layer";

impl Rules {
    /// Those filters, if any, before those routes.
    pub(super) fn new(filter: Option<HttpFilterKind>, routes: RouteConfiguration) -> Arc<Self> {
        let mut manager = HttpConnectionManager::new(RouteSpecifier::Inline(Arc::new(routes)));
        manager.filters.splice(0..0, filter.map(|kind| HttpFilter::new(ONLY, kind)));
        let resources = [Resource::from(Listener::new(ONLY, manager))].into_iter().collect();
        let (snapshot, _) = Snapshot::compile(&resources, None, &());
        let root = snapshot.root(&ONLY.into(), &RootHint::new()).expect("it was just given");
        Arc::new(Self { snapshot, root })
    }

    /// That filter alone.
    pub(super) fn of_filter(kind: HttpFilterKind) -> Arc<Self> {
        let forward = Forward::new(ClusterSpecifier::Cluster(ONLY.into()));
        Self::new(Some(kind), Self::of_all(forward))
    }

    /// One route that takes every request.
    pub(super) fn of_all(forward: Forward) -> RouteConfiguration {
        let route = Route::new(RouteMatch::prefix(""), Action::Forward(forward.into()));
        RouteConfiguration::new(ONLY, vec![VirtualHost::new(ONLY, ["*"], vec![route])])
    }
}

/// A service whose requests and answers go through rules: that of [`RouteLayer`], [`FaultLayer`],
/// [`RateLimitLayer`] and [`AuthorizationLayer`].
///
/// Where a request comes from is told by the [`Conn`] among its extensions; without one, what asks
/// for the peer denies.
///
/// [`RouteLayer`]: super::RouteLayer
/// [`FaultLayer`]: super::FaultLayer
/// [`RateLimitLayer`]: super::RateLimitLayer
/// [`AuthorizationLayer`]: super::AuthorizationLayer
#[derive(Clone, Debug)]
pub struct Ruled<S> {
    pub(super) inner: S,
    pub(super) rules: Arc<Rules>,
    /// Whether the inner service is told of the route.
    pub(super) tells_route: bool,
}

/// Faults that count until the answer has ended.
type Faults = Vec<ActiveFault>;

impl<S, B, R> Service<Request<B>> for Ruled<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Send + 'static,
    R: http_body::Body<Data = Bytes> + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<GuardedBody<ResponseBody<R>, Faults>>;
    type Error = BoxError;
    type Future = LayerFuture<Self::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let inner = take_ready(&mut self.inner);
        let (rules, tells_route) = (self.rules.clone(), self.tells_route);
        Box::pin(async move {
            let random = fastrand::u64(..);
            let origin = origin(&request);
            let (mut exchange, mut next) = {
                let context = context(Dialect::Http, random);
                let begin = |seen: &mut mesh_core::filter::Request<'_>| {
                    Exchange::begin(&rules.snapshot, rules.root, seen, &context)
                };
                let (begun, written) = with_request_from(&mut request, &origin, Some(""), begin);
                written.map_err(unwritable)?;
                begun
            };
            let mut faults = Faults::new();
            while let Next::Delay { after, next: from, active } = next {
                faults.extend(active);
                tokio::time::sleep(after).await;
                let context = context(Dialect::Http, random);
                let resume = |seen: &mut mesh_core::filter::Request<'_>| {
                    exchange.resume(&rules.snapshot, from, seen, &context)
                };
                let (resumed, written) = with_request_from(&mut request, &origin, Some(""), resume);
                written.map_err(unwritable)?;
                next = resumed;
            }
            faults.extend(exchange.take_held());
            match next {
                Next::Forward { route, cluster } => {
                    if tells_route {
                        let view = rules.snapshot.view(route);
                        let cluster = rules.snapshot.cluster_name(cluster).into();
                        let routed = Routed { cluster, route: view.route.name.clone() };
                        request.extensions_mut().insert(routed);
                    }
                    let response = answered(inner, request).await?;
                    let (mut head, body) = response.into_parts();
                    if exchange.changes_response(&rules.snapshot) {
                        let mut seen = Seen::new(head.status, &mut head.headers);
                        let context = context(Dialect::Http, random);
                        exchange.respond(&rules.snapshot, &mut seen, &context);
                    }
                    let body = GuardedBody::new(ResponseBody::passed(body), faults);
                    Ok(Response::from_parts(head, body))
                }
                Next::Reply(made) => {
                    let answer = answer(*made, request.method(), Default::default());
                    Ok(answer.map(|body| GuardedBody::new(body, faults)))
                }
                Next::Fail(why) => {
                    let context = context(Dialect::Http, random);
                    let failure = Failure::NoRoute(why);
                    let reply = exchange.fail(&rules.snapshot, failure, false, &context);
                    let text = format!("{why}: {} {}", request.method(), request.uri());
                    Err(Error::new(ErrorKind::NoRoute, text).answered(reply).into())
                }
                _ => Err(Error::unsupported("what configuration makes of the request").into()),
            }
        })
    }
}

async fn answered<S, B, R>(mut inner: S, request: Request<B>) -> Result<Response<R>, BoxError>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Into<BoxError>,
{
    inner.call(request).await.map_err(Into::into)
}

/// Where a request comes from.
fn origin<B>(request: &Request<B>) -> Origin {
    let mut origin = Origin::default();
    if let Some(conn) = request.extensions().get::<Conn>() {
        let peer = conn.peer().address();
        (origin.peer, origin.remote) = (Some(peer), Some(peer));
        origin.local = Some(conn.local_address());
    }
    origin
}

fn unwritable(what: Unwritable) -> BoxError {
    let text = format!("what was made of {} cannot be sent", what.0);
    Error::new(ErrorKind::Unsupported, text).into()
}

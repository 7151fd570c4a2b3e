use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use http::{Request, Response};
use mesh_core::Dialect;
use mesh_core::cluster::{Choice, ClusterState, Permit, Picked};
use mesh_core::resource::{
    CircuitBreakers, Cluster, ClusterLoadAssignment, Endpoint, Entry, LbPolicy, Name,
    OutlierDetection, Resource, Resources, Update,
};
use mesh_core::{Attach, Snapshot};
use tower::ServiceExt as _;
use tower_service::Service;

use super::{GuardedBody, LayerFuture, outcome, refused};
use crate::body::BoxError;
use crate::client::now;
use crate::error::{Error, ErrorKind};

/// Sends each request to one of several services: least request of two by default, or any policy
/// of the mesh, with outlier detection and a circuit breaker where that is asked for.
///
/// The services are a list by key that may change ([`set`](Self::set)): what stays keeps its load
/// and its record. A request counts as load of its service until its answer's body has ended.
/// Always ready; the service that is chosen is cloned, and made ready for the request. Clones share
/// everything.
///
/// ```
/// # use mesh_tower::layers::Balance;
/// # use mesh_tower::{Body, BoxError};
/// # use tower::ServiceExt as _;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// let endpoint = |name: &'static str| {
///     tower::service_fn(move |_: http::Request<Body>| async move {
///         Ok::<_, BoxError>(http::Response::new(Body::from(name)))
///     })
/// };
/// let client = Balance::new([("a", endpoint("from a")), ("b", endpoint("from b"))]);
/// // Its body is not read, so the first request still counts: the second goes to the other one.
/// let first = client.clone().oneshot(http::Request::new(Body::empty())).await?;
/// let second = client.oneshot(http::Request::new(Body::empty())).await?;
/// # use http_body_util::BodyExt as _;
/// let second = second.into_body().collect().await?.to_bytes();
/// assert_ne!(first.into_body().collect().await?.to_bytes(), second);
/// # Ok(()) }
/// ```
pub struct Balance<K, S: Clone + Send + Sync + 'static> {
    shared: Arc<Shared<K, S>>,
}

struct Shared<K, S: Clone + Send + Sync + 'static> {
    cluster: Arc<ClusterState<Services<S>>>,
    /// Held while the list or the tables change.
    list: Mutex<List<K, S>>,
}

struct List<K, S: Clone + Send + Sync + 'static> {
    snapshot: Snapshot<Services<S>>,
    resources: Resources,
    keys: HashMap<K, SocketAddr>,
    next: u128,
}

/// The services by the addresses that stand for their keys.
#[derive(Clone)]
struct Services<S>(HashMap<SocketAddr, S>);

impl<S: Clone + Send + Sync + 'static> Attach for Services<S> {
    type Cluster = ();
    type Endpoint = Option<S>;

    fn cluster(&self, _: &Cluster, _: Option<&()>) {}

    fn endpoint(&self, _: &Cluster, spec: &Endpoint) -> Option<S> {
        self.0.get(&spec.address()).cloned()
    }
}

/// What an answer of a [`Balance`] holds until its body has ended.
pub struct Balanced<S: Clone + Send + Sync + 'static> {
    _permit: Permit,
    endpoint: Picked<Services<S>>,
}

/// The name of the only cluster.
const ONLY: &str = "balance";

impl<K, S> Balance<K, S>
where
    K: Clone + Eq + Hash + ToString,
    S: Clone + Send + Sync + 'static,
{
    /// Least request over those services, all of the same weight.
    pub fn new(services: impl IntoIterator<Item = (K, S)>) -> Self {
        let mut spec = Cluster::new(ONLY);
        spec.lb_policy = LbPolicy::LeastRequest { choice_count: 2 };
        // Circuit breakers are there where they are asked for.
        let all = &mut spec.circuit_breakers.default;
        (all.max_requests, all.max_pending_requests) = (u32::MAX, u32::MAX);
        Self::made(spec, services.into_iter().collect())
    }

    /// The same services, chosen by that policy. Policies that hash take a request at random unless
    /// its extensions have a [`RequestHash`].
    #[must_use]
    pub fn with_policy(self, policy: LbPolicy) -> Self {
        self.changed(|spec| spec.lb_policy = policy)
    }

    /// The same services, of which those are left out for a while that fail.
    #[must_use]
    pub fn with_outlier_detection(self, detection: OutlierDetection) -> Self {
        self.changed(|spec| spec.outlier_detection = Some(Arc::new(detection)))
    }

    /// The same services with limits of what may be under way at once, to all of them together.
    #[must_use]
    pub fn with_circuit_breakers(self, breakers: CircuitBreakers) -> Self {
        self.changed(|spec| spec.circuit_breakers = breakers)
    }

    /// Puts another list in place: for all clones, and from the next request on.
    pub fn set(&self, services: impl IntoIterator<Item = (K, S)>) {
        let mut list = self.shared.lock();
        let List { snapshot, resources, keys, next } = &mut *list;
        let (assignment, attach) = assign(keys, next, services.into_iter().collect());
        let name = Name::from(ONLY);
        let changed = HashMap::from([(name.clone(), Some(Entry::of(assignment)))]);
        resources.apply(Update { endpoints: changed, ..Update::default() });
        snapshot.update_endpoints(resources, [&name], &attach);
    }

    fn changed(self, change: impl FnOnce(&mut Cluster)) -> Self {
        let mut spec = Cluster::clone(self.shared.cluster.spec());
        change(&mut spec);
        let list = self.shared.lock();
        let tables = self.shared.cluster.tables();
        let service = |address: &SocketAddr| {
            let mut all = tables.all();
            all.find(|endpoint| endpoint.address() == *address)?.attached().clone()
        };
        let services = list.keys.iter();
        let services = services.filter_map(|(key, at)| Some((key.clone(), service(at)?)));
        Self::made(spec, services.collect())
    }

    fn made(spec: Cluster, services: Vec<(K, S)>) -> Self {
        let (mut keys, mut next) = (HashMap::new(), 1);
        let (assignment, attach) = assign(&mut keys, &mut next, services);
        let resources: Resources =
            [Resource::from(spec), Resource::from(assignment)].into_iter().collect();
        let (snapshot, _) = Snapshot::compile(&resources, None, &attach);
        let cluster = snapshot.cluster_named(ONLY).expect("it was just given").clone();
        let list = Mutex::new(List { snapshot, resources, keys, next });
        Self { shared: Arc::new(Shared { cluster, list }) }
    }
}

/// The services as endpoints of a cluster. A key keeps the address that stands for it.
fn assign<K, S>(
    keys: &mut HashMap<K, SocketAddr>,
    next: &mut u128,
    services: Vec<(K, S)>,
) -> (ClusterLoadAssignment, Services<S>)
where
    K: Clone + Eq + Hash + ToString,
{
    let mut known = std::mem::take(keys);
    let mut all = HashMap::new();
    let mut hash_keys = HashMap::new();
    for (key, service) in services {
        let address = known.remove(&key).or_else(|| keys.get(&key).copied());
        let address = address.unwrap_or_else(|| {
            *next += 1;
            SocketAddr::from((Ipv6Addr::from(*next), 1))
        });
        hash_keys.insert(address, Name::from(key.to_string()));
        keys.insert(key, address);
        all.insert(address, service);
    }
    let mut addresses: Vec<_> = all.keys().copied().collect();
    addresses.sort_unstable();
    let mut assignment = ClusterLoadAssignment::of_addresses(ONLY, addresses);
    for endpoint in assignment.localities.iter_mut().flat_map(|at| &mut at.endpoints) {
        endpoint.further_mut().hash_key = hash_keys.remove(&endpoint.address());
    }
    (assignment, Services(all))
}

impl<K, S: Clone + Send + Sync + 'static> Shared<K, S> {
    fn lock(&self) -> MutexGuard<'_, List<K, S>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A permit and an endpoint for a request.
    fn pick(&self, hash: Option<u64>) -> Result<Balanced<S>, Error> {
        self.sweep();
        let permit = self
            .cluster
            .admit()
            .map_err(|full| Error::new(ErrorKind::Overloaded, "too many requests").because(full))?;
        let choice = Choice::new(Dialect::Http).with_hash(hash);
        let picked = self.cluster.pick(&choice, fastrand::u64(..)).map_err(|none| {
            Error::new(ErrorKind::NoEndpoints, "no service may be picked").because(none)
        })?;
        Ok(Balanced { _permit: permit, endpoint: picked })
    }

    /// Ends intervals of outlier detection that are over.
    fn sweep(&self) {
        if !self.cluster.detector(Dialect::Http).is_on() {
            return;
        }
        let now = now();
        let is_due = || self.cluster.next_sweep(now).is_some_and(|due| due <= now);
        if is_due() && self.cluster.sweep(now, fastrand::u64(..)) {
            self.rebuild();
        }
    }

    /// Builds the tables anew, one after the other.
    fn rebuild(&self) {
        let _list = self.lock();
        self.cluster.rebuild();
    }

    fn observe<R>(&self, balanced: &Balanced<S>, result: &Result<Response<R>, BoxError>) {
        let Some(observed) = outcome::observed(result) else { return };
        let random = || fastrand::u64(..);
        if self.cluster.observe(&balanced.endpoint, Dialect::Http, observed, now, random) {
            self.rebuild();
        }
    }
}

impl<K, S, B, R> Service<Request<B>> for Balance<K, S>
where
    K: Send + 'static,
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + Sync + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Send + 'static,
    R: http_body::Body + 'static,
{
    type Response = Response<GuardedBody<R, Balanced<S>>>;
    type Error = BoxError;
    type Future = LayerFuture<Self::Response>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let hash = request.extensions().get().map(|RequestHash(hash)| *hash);
        let balanced = match self.shared.pick(hash) {
            Ok(balanced) => balanced,
            Err(error) => return refused(error),
        };
        let service = balanced.endpoint.attached().clone().expect("each endpoint has a service");
        let shared = self.shared.clone();
        Box::pin(async move {
            let result = service.oneshot(request).await.map_err(Into::into);
            shared.observe(&balanced, &result);
            Ok(result?.map(|body| GuardedBody::new(body, balanced)))
        })
    }
}

/// What a [`Balance`] whose policy hashes chooses by: an extension of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHash(pub u64);

impl<K, S: Clone + Send + Sync + 'static> Clone for Balance<K, S> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<K, S: Clone + Send + Sync + 'static> fmt::Debug for Balance<K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Balance")
            .field("services", &self.shared.lock().keys.len())
            .finish_non_exhaustive()
    }
}

impl<S: Clone + Send + Sync + 'static> fmt::Debug for Balanced<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Balanced").finish_non_exhaustive()
    }
}

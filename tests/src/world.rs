//! A mesh made by code over real servers, for what no control plane is needed for.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use mesh_core::resource::{
    Action, Cluster, ClusterLoadAssignment, ClusterSpecifier, Forward, HttpConnectionManager,
    Listener, Resource, Resources, Route, RouteConfiguration, RouteMatch, RouteSpecifier,
    VirtualHost,
};
use mesh_identity::CertificateProvider;
use mesh_tower::{BoxError, Channel, Mesh};
use tokio::sync::Semaphore;

use mesh_test::serve::{Serving, any_port, serve};

/// The target of all meshes made here.
pub const TARGET: &str = "things:80";

/// A request as a server saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The path with the query.
    pub path: String,
    /// The authority.
    pub authority: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// What a server answers: a status and headers, by the number of the request, from 0.
pub type Script = fn(usize) -> (u16, &'static [(&'static str, &'static str)]);

/// A server that notes what it sees.
#[derive(Debug)]
pub struct Notes {
    seen: Arc<Mutex<Vec<Seen>>>,
    serving: Serving,
}

impl Notes {
    /// One that answers 200.
    pub async fn take() -> Self {
        Self::answering(|_| (200, &[])).await
    }

    /// One that answers by script.
    pub async fn answering(script: Script) -> Self {
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let notes = seen.clone();
        let service = tower::service_fn(move |request: Request<Incoming>| {
            let notes = notes.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await?.to_bytes();
                let host = head.headers.get("host").and_then(|host| host.to_str().ok());
                let authority = head.uri.authority().map(|authority| authority.as_str()).or(host);
                let one = Seen {
                    path: head.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
                    authority: authority.unwrap_or_default().to_owned(),
                    headers: head.headers,
                    body: body.clone(),
                };
                let number = {
                    let mut notes = notes.lock().expect("no panic while held");
                    notes.push(one);
                    notes.len() - 1
                };
                let (status, headers) = script(number);
                let mut response = Response::new(Full::from(body));
                *response.status_mut() = StatusCode::from_u16(status)?;
                for (name, value) in headers {
                    response.headers_mut().insert(*name, value.parse()?);
                }
                Ok::<_, BoxError>(response)
            }
        });
        Self { seen, serving: serve(any_port(), service).await }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.serving.address()
    }

    /// What it saw so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no panic while held").clone()
    }
}

/// A server whose answers each wait for a permit, and how many requests it has got.
pub async fn held(permits: Arc<Semaphore>) -> (Serving, Arc<AtomicUsize>) {
    let arrived = Arc::new(AtomicUsize::new(0));
    let counted = arrived.clone();
    let service = tower::service_fn(move |_: Request<Incoming>| {
        counted.fetch_add(1, Ordering::Relaxed);
        let permits = permits.clone();
        async move {
            permits.acquire().await?.forget();
            Ok::<_, BoxError>(Response::new(Full::new(Bytes::new())))
        }
    });
    (serve(any_port(), service).await, arrived)
}

/// What a mesh is made of.
#[derive(Debug)]
pub struct World {
    /// The connection manager's options.
    pub manager: HttpConnectionManager,
    /// The routes; one of everything to `things` at first.
    pub host: VirtualHost,
    clusters: Vec<Resource>,
}

impl World {
    /// One route of everything to the cluster `things` with those endpoints.
    pub fn new(endpoints: &[SocketAddr]) -> Self {
        let route = forward(RouteMatch::prefix("/"), "things", |_| {});
        let manager = HttpConnectionManager::new(RouteSpecifier::Rds("routes".into()));
        let host = VirtualHost::new("all", ["*"], vec![route]);
        let world = Self { manager, host, clusters: Vec::new() };
        world.with_cluster("things", endpoints, |_| {})
    }

    /// The same with one more cluster, or another one of that name.
    #[must_use]
    pub fn with_cluster(
        mut self,
        name: &str,
        endpoints: &[SocketAddr],
        change: impl FnOnce(&mut Cluster),
    ) -> Self {
        let mut cluster = Cluster::new(name);
        change(&mut cluster);
        self.clusters.push(cluster.into());
        let endpoints = endpoints.iter().copied();
        self.clusters.push(ClusterLoadAssignment::of_addresses(name, endpoints).into());
        self
    }

    /// The same with those endpoints for a cluster that is there.
    #[must_use]
    pub fn with_endpoints(mut self, endpoints: ClusterLoadAssignment) -> Self {
        self.clusters.push(endpoints.into());
        self
    }

    /// The same with those routes.
    #[must_use]
    pub fn with_routes(mut self, routes: Vec<Route>) -> Self {
        self.host.routes = routes;
        self
    }

    /// A channel through the mesh of this.
    ///
    /// # Panics
    /// Outside a runtime.
    pub fn channel(self) -> (Mesh, Channel) {
        let mesh = self.mesh();
        let channel = Channel::new(&mesh, TARGET).expect("a valid target");
        (mesh, channel)
    }

    /// The mesh of this.
    ///
    /// # Panics
    /// Outside a runtime.
    pub fn mesh(self) -> Mesh {
        self.builder().build().expect("a runtime is running")
    }

    /// The mesh of this, with certificates under that instance name.
    ///
    /// # Panics
    /// Outside a runtime.
    pub fn mesh_with(self, instance: &str, provider: CertificateProvider) -> Mesh {
        let builder = self.builder().certificate_provider(instance, provider);
        builder.build().expect("a runtime is running")
    }

    fn builder(self) -> mesh_tower::Builder {
        let Self { manager, host, clusters } = self;
        let routes = RouteConfiguration::new("routes", vec![host]);
        let fixed: [Resource; 2] = [Listener::new(TARGET, manager).into(), routes.into()];
        let all: Resources = fixed.into_iter().chain(clusters).collect();
        Mesh::builder().resources(all).seed(7)
    }
}

/// A route to a cluster.
pub fn forward(matcher: RouteMatch, cluster: &str, change: impl FnOnce(&mut Forward)) -> Route {
    let mut forward = Forward::new(ClusterSpecifier::Cluster(cluster.into()));
    change(&mut forward);
    Route::new(matcher, Action::Forward(forward.into()))
}

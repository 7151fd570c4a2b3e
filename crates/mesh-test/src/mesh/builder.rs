use std::fmt;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use mesh_core::resource::{Cluster, Resource, Route};
use mesh_tower::BoxError;
use tower_service::Service;

use super::running::{Instance, TestMesh};
use crate::fault::FaultProxy;
use crate::serve::{Serving, any_port, serve};

pub(super) type Change = Box<dyn FnOnce(&mut Cluster) + Send>;
type Start = Pin<Box<dyn Future<Output = Serving> + Send>>;

/// What a [`TestMesh`] is made of.
#[must_use]
pub struct Builder {
    pub(super) is_live: bool,
    pub(super) services: Vec<ServiceSpec>,
    pub(super) files: Vec<(String, String)>,
    pub(super) resources: Vec<Resource>,
    pub(super) seed: Option<u64>,
}

/// A service before it runs.
pub(super) struct ServiceSpec {
    pub(super) target: String,
    pub(super) is_http2: bool,
    pub(super) starts: Vec<(String, Start)>,
    pub(super) routes: Vec<Route>,
    pub(super) change: Vec<Change>,
}

impl Builder {
    pub(super) fn new(is_live: bool) -> Self {
        let (services, files, resources) = (Vec::new(), Vec::new(), Vec::new());
        Self { is_live, services, files, resources, seed: None }
    }

    /// An endpoint of the service that `target` (`host:port`) names, which answers by `app`, an
    /// axum router for example. Several calls make several endpoints; `version` is their label.
    pub fn service<S, B>(mut self, target: &str, version: &str, app: S) -> Self
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Future: Send,
        S::Error: Into<BoxError>,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let start = Box::pin(serve(any_port(), app));
        self.of(target).starts.push((version.to_owned(), start));
        self
    }

    /// The service has no endpoint unless some are added.
    pub fn empty_service(mut self, target: &str) -> Self {
        self.of(target);
        self
    }

    /// Clients speak HTTP/2 with the endpoints of that service, by prior knowledge.
    pub fn http2(mut self, target: &str) -> Self {
        self.of(target).is_http2 = true;
        self
    }

    /// Fixed configuration: routes that come before the one to all endpoints of the service. The
    /// endpoints of one version are the cluster `TARGET/VERSION`.
    pub fn routes(mut self, target: &str, routes: impl IntoIterator<Item = Route>) -> Self {
        self.of(target).routes.extend(routes);
        self
    }

    /// Fixed configuration: changes the cluster of a service.
    pub fn cluster(
        mut self,
        target: &str,
        change: impl FnOnce(&mut Cluster) + Send + 'static,
    ) -> Self {
        self.of(target).change.push(Box::new(change));
        self
    }

    /// Fixed configuration: any other resource; one of the same name as a service's replaces it.
    pub fn resource(mut self, resource: impl Into<Resource>) -> Self {
        self.resources.push(resource.into());
        self
    }

    /// Live configuration: a file of Istio YAML.
    pub fn file(mut self, name: &str, text: &str) -> Self {
        self.files.push((name.to_owned(), text.to_owned()));
        self
    }

    /// Fixes the random draws of clients.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Starts the services, the control plane if there is one, and the mesh.
    ///
    /// # Panics
    /// Where what is asked for cannot be had: a target without a port, YAML with an error, files
    /// for a fixed configuration or routes for a live one.
    pub async fn start(mut self) -> TestMesh {
        if self.is_live {
            let made = self.services.iter().any(|one| !one.routes.is_empty());
            let made = made || self.services.iter().any(|one| !one.change.is_empty());
            assert!(!made && self.resources.is_empty(), "a live configuration is made of files");
        } else {
            assert!(self.files.is_empty(), "a fixed configuration has no files");
        }
        let mut instances = Vec::new();
        for service in &mut self.services {
            for (version, start) in std::mem::take(&mut service.starts) {
                let serving = start.await;
                let proxy = FaultProxy::start(serving.address()).await;
                let proxy = proxy.expect("a loopback port is free");
                let target = service.target.clone();
                let is_listed = true;
                instances.push(Instance { target, version, proxy, is_listed, _serving: serving });
            }
        }
        TestMesh::start(self, instances).await
    }

    fn of(&mut self, target: &str) -> &mut ServiceSpec {
        let found = self.services.iter().position(|one| one.target == target);
        let at = found.unwrap_or_else(|| {
            self.services.push(ServiceSpec {
                target: target.to_owned(),
                is_http2: false,
                starts: Vec::new(),
                routes: Vec::new(),
                change: Vec::new(),
            });
            self.services.len() - 1
        });
        &mut self.services[at]
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let targets: Vec<_> = self.services.iter().map(|service| &service.target).collect();
        f.debug_struct("Builder")
            .field("is_live", &self.is_live)
            .field("targets", &targets)
            .finish_non_exhaustive()
    }
}

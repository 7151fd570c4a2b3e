use bytes::Bytes;
use http::{Request, Response};
use mesh_core::resource::Resources;
use mesh_tower::{Body, BoxError, Channel, Mesh};
use mesh_xds_client::Bootstrap;
use tower_service::Service;

use super::answer::{self, Answer};
use super::builder::Builder;
use super::configured::{file_name, resources, service_entry};
use crate::control::Control;
use crate::fault::FaultProxy;
use crate::serve::Serving;

/// The workload that clients are.
const NODE: &str = "sidecar~127.0.0.1~client.default~default.svc.cluster.local";

/// A mesh in one process: services, each endpoint behind a [`FaultProxy`], and a [`Mesh`] whose
/// clients find them. Dropping it ends all of it.
///
/// The configuration is *fixed*, made by code from `mesh-core`'s resources, or *live*: Istio YAML in
/// a folder that a control plane serves over xDS, and that a test may change.
#[derive(Debug)]
pub struct TestMesh {
    mesh: Mesh,
    instances: Vec<Instance>,
    /// The targets and whether each is HTTP/2; of live configuration alone.
    written: Vec<(String, bool)>,
    control: Option<Control>,
}

/// An endpoint that runs.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) target: String,
    pub(super) version: String,
    pub(super) proxy: FaultProxy,
    pub(super) is_listed: bool,
    /// Held for its drop.
    pub(super) _serving: Serving,
}

impl TestMesh {
    /// A mesh whose configuration is made by code and never changes.
    pub fn fixed() -> Builder {
        Builder::new(false)
    }

    /// A mesh configured by a control plane over Istio YAML, which may change.
    pub fn live() -> Builder {
        Builder::new(true)
    }

    pub(super) async fn start(builder: Builder, instances: Vec<Instance>) -> Self {
        let Builder { is_live, services, files, resources: others, seed } = builder;
        let mut made = Mesh::builder();
        if let Some(seed) = seed {
            made = made.seed(seed);
        }
        if !is_live {
            let services = services.into_iter().flat_map(|service| resources(service, &instances));
            let all: Resources = services.chain(others).collect();
            let mesh = made.resources(all).build().expect("a runtime is running");
            return Self { mesh, instances, written: Vec::new(), control: None };
        }
        let written: Vec<_> = services.into_iter().map(|one| (one.target, one.is_http2)).collect();
        let entries = written
            .iter()
            .map(|(target, is_http2)| (file_name(target), entry(target, *is_http2, &instances)));
        let all: Vec<_> = entries.chain(files).collect();
        let all: Vec<_> = all.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let control = Control::start(&all).await;
        let bootstrap = Bootstrap::builder(control.xds().to_string()).with_node_id(NODE).build();
        let made = made.bootstrap(bootstrap.expect("an address is a valid server"));
        let mesh = made.build().expect("a runtime is running");
        Self { mesh, instances, written, control: Some(control) }
    }

    /// The mesh that clients and servers are made with.
    pub fn mesh(&self) -> &Mesh {
        &self.mesh
    }

    /// A channel to a target.
    ///
    /// # Panics
    /// When it is none.
    #[track_caller]
    pub fn channel(&self, target: &str) -> Channel {
        Channel::new(&self.mesh, target).unwrap_or_else(|error| panic!("{target:?}: {error}"))
    }

    /// The first endpoint of that version: what stands before it.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn endpoint(&self, target: &str, version: &str) -> &FaultProxy {
        let is_it = |one: &&Instance| one.target == target && one.version == version;
        match self.instances.iter().find(is_it) {
            Some(instance) => &instance.proxy,
            None => panic!("no endpoint of {target} has version {version}"),
        }
    }

    /// All endpoints of a service, in the order they were given.
    pub fn endpoints(&self, target: &str) -> Vec<&FaultProxy> {
        let own = self.instances.iter().filter(|one| one.target == target);
        own.map(|one| &one.proxy).collect()
    }

    /// The control plane of a live configuration, to be written to, killed and started again.
    ///
    /// # Panics
    /// When the configuration is fixed.
    #[track_caller]
    pub fn control(&mut self) -> &mut Control {
        self.control.as_mut().expect("the configuration is live")
    }

    /// Lists an endpoint (a position in [`endpoints`](Self::endpoints)) or lists it no longer;
    /// its server goes on.
    ///
    /// # Panics
    /// When the configuration is fixed, or there is no such endpoint.
    #[track_caller]
    pub fn list(&mut self, target: &str, position: usize, is_listed: bool) {
        let own = self.instances.iter_mut().filter(|one| one.target == target);
        own.into_iter().nth(position).expect("there is such an endpoint").is_listed = is_listed;
        let (_, is_http2) = *self.written.iter().find(|(one, _)| one == target).expect("written");
        let text = entry(target, is_http2, &self.instances);
        self.control.as_ref().expect("the configuration is live").write(&file_name(target), &text);
    }

    /// Sends a request through a client and reads the answer to its end.
    ///
    /// # Errors
    /// The client's, or that of an answer that broke off.
    pub async fn send<S, B>(&self, client: &S, request: Request<Body>) -> Result<Answer, BoxError>
    where
        S: Service<Request<Body>, Response = Response<B>> + Clone,
        S::Error: Into<BoxError>,
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        answer::send(client, request).await
    }

    /// Sends a GET request.
    ///
    /// # Errors
    /// As [`send`](Self::send), and when `uri` is none.
    pub async fn get<S, B>(&self, client: &S, uri: &str) -> Result<Answer, BoxError>
    where
        S: Service<Request<Body>, Response = Response<B>> + Clone,
        S::Error: Into<BoxError>,
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        answer::get(client, uri).await
    }
}

fn entry(target: &str, is_http2: bool, instances: &[Instance]) -> String {
    let own = instances.iter().filter(|one| one.target == target && one.is_listed);
    let own: Vec<_> = own.map(|one| (one.proxy.address(), one.version.as_str())).collect();
    service_entry(target, if is_http2 { "HTTP2" } else { "HTTP" }, &own)
}

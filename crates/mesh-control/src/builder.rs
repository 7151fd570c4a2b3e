//! What a control plane is told before it starts.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use mesh_identity::TrustDomain;
use mesh_istio::Options;

use crate::control_plane::ControlPlane;
use crate::error::{Error, ErrorKind};

/// Settings of a [`ControlPlane`], begun with [`ControlPlane::builder`].
#[derive(Clone, Debug)]
pub struct Builder {
    pub(crate) folders: Vec<PathBuf>,
    pub(crate) xds: SocketAddr,
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) options: Options,
    pub(crate) trust_domain: String,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            folders: Vec::new(),
            xds: (Ipv4Addr::LOCALHOST, 0).into(),
            admin: None,
            options: Options::default(),
            trust_domain: "cluster.local".to_owned(),
        }
    }
}

impl Builder {
    /// Adds a folder (or one file) to read and watch; at least one is needed.
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folders.push(folder.into());
        self
    }

    /// Where to serve xDS. Default: `127.0.0.1:0`, a free port.
    pub fn xds(mut self, address: SocketAddr) -> Self {
        self.xds = address;
        self
    }

    /// Where to serve the admin endpoint, on a loopback address: it shows all clients to whoever
    /// asks. Default: nowhere.
    pub fn admin(mut self, address: SocketAddr) -> Self {
        self.admin = Some(address);
        self
    }

    /// The namespace whose rules hold for the whole mesh. Default: `istio-system`.
    pub fn root_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.options = self.options.with_root_namespace(namespace);
        self
    }

    /// The trust domain of the mesh. Default: `cluster.local`.
    pub fn trust_domain(mut self, trust_domain: impl Into<String>) -> Self {
        self.trust_domain = trust_domain.into();
        self
    }

    /// Whether unknown fields are warnings instead of errors. Default: false.
    pub fn lenient(mut self, lenient: bool) -> Self {
        self.options = self.options.with_lenient(lenient);
        self
    }

    /// Reads the folders and serves.
    ///
    /// # Errors
    ///
    /// When the files have errors: there is no last good set to fall back on, and serving the good
    /// half of a set is serving a set nobody wrote. Also when a folder cannot be read, a setting is
    /// not usable, or an address is taken.
    pub async fn serve(self) -> Result<ControlPlane, Error> {
        ControlPlane::start(self).await
    }

    pub(crate) fn check(&self) -> Result<TrustDomain, Error> {
        if self.folders.is_empty() {
            return Err(Error::new(ErrorKind::Settings, "no folder to serve"));
        }
        if let Some(admin) = self.admin.filter(|admin| !admin.ip().is_loopback()) {
            let text = format!("the admin address {admin} is not a loopback address");
            return Err(Error::new(ErrorKind::Settings, text));
        }
        self.trust_domain.parse().map_err(|error: mesh_identity::Error| {
            let text = format!("{:?} is not a trust domain", self.trust_domain);
            Error::new(ErrorKind::Settings, text).with_source(error)
        })
    }
}

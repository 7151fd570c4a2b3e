//! Bootstrap: which control plane, and who we are.
//!
//! The format is that of gRPC (gRFC A27 and later): a JSON file or text, or a
//! [builder](Bootstrap::builder). A bad one reports everything that is wrong with it at once, each
//! with its place; fields that are not known are skipped, as the format demands.

mod ask;
mod authority;
mod builder;
mod creds;
mod error;
mod json;
mod node;
mod reader;
mod server;
mod target;
mod template;
#[cfg(test)]
mod tests;

pub use ask::Ask;
pub use authority::Authority;
pub use builder::BootstrapBuilder;
pub use creds::{CallCreds, ChannelCreds};
pub use error::{BootstrapError, Problem};
pub use node::Node;
pub use server::{ServerConfig, ServerFeatures, ServerUri};
pub use target::{Target, TargetError};

use std::collections::BTreeMap;
use std::env;
use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;

use mesh_core::resource::{LocalCluster, Name};
use mesh_identity::FileWatcher;

/// Everything a client has to be told before it can ask a control plane.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    servers: Vec<ServerConfig>,
    authorities: BTreeMap<String, Authority>,
    node: Node,
    local_cluster: Option<Name>,
    client_listener_template: String,
    server_listener_template: Option<String>,
    certificate_providers: BTreeMap<String, FileWatcher>,
    allowed_grpc_services: BTreeMap<String, GrpcService>,
    not_honoured: Vec<Problem>,
}

/// How a service is reached that a filter may call, from `allowed_grpc_services` (gRFC A102).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GrpcService {
    /// How the connection is secured.
    pub channel_creds: ChannelCreds,
    /// What is sent with each call.
    pub call_creds: Vec<CallCreds>,
}

impl Bootstrap {
    /// The longest text that is read, in bytes. Real ones have a few kilobytes; a file by mistake
    /// (a log, a device) must not fill the memory.
    pub const SIZE_LIMIT: usize = 1 << 20;

    /// Reads the file that `GRPC_XDS_BOOTSTRAP` names, else the text in
    /// `GRPC_XDS_BOOTSTRAP_CONFIG`. A bad file is an error even when there is a text.
    ///
    /// # Errors
    /// When neither is set, the file cannot be read, or its content is not valid.
    pub fn from_env() -> Result<Self, BootstrapError> {
        Self::from_vars(|name| env::var_os(name))
    }

    fn from_vars(var: impl Fn(&str) -> Option<std::ffi::OsString>) -> Result<Self, BootstrapError> {
        if let Some(path) = var("GRPC_XDS_BOOTSTRAP").filter(|path| !path.is_empty()) {
            return Self::from_file(Path::new(&path));
        }
        match var("GRPC_XDS_BOOTSTRAP_CONFIG").filter(|text| !text.is_empty()) {
            Some(text) => Self::from_json(&text.to_string_lossy())
                .map_err(|error| error.at_source("GRPC_XDS_BOOTSTRAP_CONFIG")),
            None => Err(BootstrapError::missing()),
        }
    }

    fn from_file(path: &Path) -> Result<Self, BootstrapError> {
        let source = path.display().to_string();
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(Self::SIZE_LIMIT as u64 + 1).read_to_end(&mut bytes))
            .map_err(|error| BootstrapError::unreadable(&source, error))?;
        let text = String::from_utf8_lossy(&bytes);
        Self::from_json(&text).map_err(|error| error.at_source(&source))
    }

    /// Reads a JSON text.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn from_json(text: &str) -> Result<Self, BootstrapError> {
        json::parse(text)
    }

    /// A bootstrap made by code, with one server reached without encryption.
    pub fn builder(server_uri: impl Into<String>) -> BootstrapBuilder {
        BootstrapBuilder::new(server_uri.into())
    }

    /// The servers, in order of preference. Never empty.
    pub fn servers(&self) -> &[ServerConfig] {
        &self.servers
    }

    /// Who we are.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// The cluster this client belongs to, where it is known where it is as well: zone-aware choice
    /// needs both. Its name is `cluster_manager.local_cluster_name`, as in Envoy's bootstrap.
    pub fn local_cluster(&self) -> Option<LocalCluster> {
        let name = self.local_cluster.clone()?;
        Some(LocalCluster { name, locality: self.node.locality.clone()? })
    }

    /// How the control plane is asked: as a sidecar, if the first server has the feature
    /// `xds.envoy`; as a gRPC client of istiod, if the node's metadata has `GENERATOR` of `grpc`;
    /// else by name.
    pub fn ask(&self) -> Ask {
        let generator = self.node.metadata.get("GENERATOR").and_then(|value| value.as_str());
        match generator {
            _ if self.servers.first().is_some_and(|server| server.features.envoy) => Ask::Envoy,
            Some("grpc") => Ask::IstioGrpc,
            _ => Ask::Native,
        }
    }

    /// The name of the Listener for a target: by `client_default_listener_resource_name_template`,
    /// or by the template of the authority that the target names.
    ///
    /// For an authority that is not known the name is as its default template makes it. Asking for
    /// it fails as it does for any name of an unknown authority, and for that target alone.
    pub fn listener_name(&self, target: &Target) -> Name {
        let name = target.name();
        match target.xds_authority() {
            None => template::fill(&self.client_listener_template, name),
            Some(authority) => match self.authorities.get(&**authority) {
                Some(known) => template::fill(&known.client_listener_template, name),
                None => template::fill(&Authority::default_template(authority), name),
            },
        }
        .into()
    }

    /// The name of the Listener for a server at `address`, by
    /// `server_listener_resource_name_template`; `None` when there is none.
    pub fn server_listener_name(&self, address: SocketAddr) -> Option<Name> {
        let template = self.server_listener_template.as_deref()?;
        Some(template::fill(template, &address.to_string()).into())
    }

    /// `server_listener_resource_name_template`, when there is one.
    pub fn server_listener_template(&self) -> Option<&str> {
        self.server_listener_template.as_deref()
    }

    /// What is configured and not honoured, with its place.
    pub fn not_honoured(&self) -> &[Problem] {
        &self.not_honoured
    }

    /// `authorities`, by name.
    pub fn authorities(&self) -> &BTreeMap<String, Authority> {
        &self.authorities
    }

    /// `certificate_providers` that are supported, by instance name. A resource may refer to these
    /// and no others.
    pub fn certificate_providers(&self) -> &BTreeMap<String, FileWatcher> {
        &self.certificate_providers
    }

    /// `allowed_grpc_services`, by URI.
    pub fn allowed_grpc_services(&self) -> &BTreeMap<String, GrpcService> {
        &self.allowed_grpc_services
    }
}

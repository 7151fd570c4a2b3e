use mesh_core::resource::Locality;
use serde_json::Value;

use super::{
    Bootstrap, BootstrapError, Node, Problem, Raw, ServerConfig, ServerFeatures, template,
};

/// Makes a [`Bootstrap`] by code; see [`Bootstrap::builder`].
#[derive(Clone, Debug)]
pub struct BootstrapBuilder {
    server_uri: String,
    features: ServerFeatures,
    node: Node,
    client_listener_template: String,
    server_listener_template: Option<String>,
}

impl BootstrapBuilder {
    pub(super) fn new(server_uri: String) -> Self {
        Self {
            server_uri,
            features: ServerFeatures::default(),
            node: Node::default(),
            client_listener_template: template::DEFAULT.to_owned(),
            server_listener_template: None,
        }
    }

    /// Sets the node's identity.
    #[must_use]
    pub fn with_node_id(mut self, id: impl Into<String>) -> Self {
        self.node.id = id.into();
        self
    }

    /// Sets the local service's name.
    #[must_use]
    pub fn with_cluster(mut self, cluster: impl Into<String>) -> Self {
        self.node.cluster = cluster.into();
        self
    }

    /// Sets where we run.
    #[must_use]
    pub fn with_locality(mut self, locality: Locality) -> Self {
        self.node.locality = Some(locality);
        self
    }

    /// Adds one entry of the node's metadata.
    #[must_use]
    pub fn with_metadata(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.node.metadata.insert(key.into(), value.into());
        self
    }

    /// Sets how the server behaves.
    #[must_use]
    pub fn with_server_features(mut self, features: ServerFeatures) -> Self {
        self.features = features;
        self
    }

    /// Sets `client_default_listener_resource_name_template`; `%s` when not set.
    #[must_use]
    pub fn with_client_listener_template(mut self, template: impl Into<String>) -> Self {
        self.client_listener_template = template.into();
        self
    }

    /// Sets `server_listener_resource_name_template`; a server cannot be configured without.
    #[must_use]
    pub fn with_server_listener_template(mut self, template: impl Into<String>) -> Self {
        self.server_listener_template = Some(template.into());
        self
    }

    /// Makes the bootstrap.
    ///
    /// # Errors
    /// When the server's URI is not valid.
    pub fn build(self) -> Result<Bootstrap, BootstrapError> {
        let uri = self.server_uri.parse().map_err(|text: String| {
            BootstrapError::invalid(vec![Problem::new("xds_servers[0].server_uri", text)])
        })?;
        Ok(Bootstrap {
            servers: vec![ServerConfig { uri, features: self.features }],
            node: self.node,
            client_listener_template: self.client_listener_template,
            server_listener_template: self.server_listener_template,
            not_honoured: Vec::new(),
            raw: Raw::default(),
        })
    }
}

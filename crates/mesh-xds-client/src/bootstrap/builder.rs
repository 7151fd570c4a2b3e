use std::collections::BTreeMap;

use mesh_core::resource::{Locality, Name};
use mesh_identity::FileWatcher;
use serde_json::Value;

use super::{
    Authority, Bootstrap, BootstrapError, CallCreds, ChannelCreds, Node, Problem, ServerConfig,
    ServerFeatures, template,
};

/// Makes a [`Bootstrap`] by code; see [`Bootstrap::builder`].
#[derive(Clone, Debug)]
pub struct BootstrapBuilder {
    server_uri: String,
    channel_creds: ChannelCreds,
    call_creds: Vec<CallCreds>,
    features: ServerFeatures,
    fallback: Vec<ServerConfig>,
    node: Node,
    local_cluster: Option<Name>,
    client_listener_template: String,
    server_listener_template: Option<String>,
    authorities: Vec<AuthorityDraft>,
    certificate_providers: BTreeMap<String, FileWatcher>,
}

#[derive(Clone, Debug)]
struct AuthorityDraft {
    name: String,
    template: Option<String>,
    servers: Vec<ServerConfig>,
}

impl BootstrapBuilder {
    pub(super) fn new(server_uri: String) -> Self {
        Self {
            server_uri,
            channel_creds: ChannelCreds::Insecure,
            call_creds: Vec::new(),
            features: ServerFeatures::default(),
            fallback: Vec::new(),
            node: Node::default(),
            local_cluster: None,
            client_listener_template: template::DEFAULT.to_owned(),
            server_listener_template: None,
            authorities: Vec::new(),
            certificate_providers: BTreeMap::new(),
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

    /// Sets the cluster that this client belongs to (`cluster_manager.local_cluster_name`). With the
    /// [locality](Self::with_locality) it is what zone-aware choice needs; the cluster and its
    /// endpoints are asked for like those of routes.
    #[must_use]
    pub fn with_local_cluster(mut self, name: impl Into<Name>) -> Self {
        self.local_cluster = Some(name.into());
        self
    }

    /// Adds one entry of the node's metadata.
    #[must_use]
    pub fn with_metadata(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.node.metadata.insert(key.into(), value.into());
        self
    }

    /// Sets how the connection to the first server is secured; not at all when not set.
    #[must_use]
    pub fn with_channel_creds(mut self, creds: ChannelCreds) -> Self {
        self.channel_creds = creds;
        self
    }

    /// Adds something to send with each stream to the first server.
    #[must_use]
    pub fn with_call_creds(mut self, creds: CallCreds) -> Self {
        self.call_creds.push(creds);
        self
    }

    /// Sets how the first server behaves.
    #[must_use]
    pub fn with_server_features(mut self, features: ServerFeatures) -> Self {
        self.features = features;
        self
    }

    /// Adds a server to fall back to when those before it cannot be reached (gRFC A71).
    #[must_use]
    pub fn with_fallback_server(mut self, server: ServerConfig) -> Self {
        self.fallback.push(server);
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

    /// Adds an authority: the template of its listeners' names, by default
    /// `xdstp://NAME/envoy.config.listener.v3.Listener/%s`, and its servers, by default those of
    /// the top level.
    #[must_use]
    pub fn with_authority(
        mut self,
        name: impl Into<String>,
        template: Option<&str>,
        servers: Vec<ServerConfig>,
    ) -> Self {
        let (name, template) = (name.into(), template.map(str::to_owned));
        self.authorities.push(AuthorityDraft { name, template, servers });
        self
    }

    /// Adds a certificate provider, by the instance name that resources refer to.
    #[must_use]
    pub fn with_certificate_provider(
        mut self,
        instance: impl Into<String>,
        watcher: FileWatcher,
    ) -> Self {
        self.certificate_providers.insert(instance.into(), watcher);
        self
    }

    /// Makes the bootstrap.
    ///
    /// # Errors
    /// When the server's URI or an authority's template is not valid.
    pub fn build(self) -> Result<Bootstrap, BootstrapError> {
        let mut problems = Vec::new();
        let uri = self.server_uri.parse().map_err(|text: String| {
            problems.push(Problem::new("xds_servers[0].server_uri", text));
        });
        for AuthorityDraft { name, template, .. } in &self.authorities {
            let prefix = Authority::prefix(name);
            if template.as_ref().is_some_and(|template| !template.starts_with(&prefix)) {
                problems.push(Problem::new(
                    format!("authorities[{name:?}].client_listener_resource_name_template"),
                    format!("must begin with {prefix:?} (gRFC A47)"),
                ));
            }
        }
        let (Ok(uri), true) = (uri, problems.is_empty()) else {
            return Err(BootstrapError::invalid(problems));
        };
        let (channel_creds, call_creds) = (self.channel_creds, self.call_creds);
        let first = ServerConfig { uri, channel_creds, call_creds, features: self.features };
        let servers: Vec<ServerConfig> = [first].into_iter().chain(self.fallback).collect();
        let authority = |draft: AuthorityDraft| {
            let template = draft.template;
            let made = Authority {
                client_listener_template: template
                    .unwrap_or_else(|| Authority::default_template(&draft.name)),
                servers: if draft.servers.is_empty() { servers.clone() } else { draft.servers },
                fallback_on_reachability_only: false,
            };
            (draft.name, made)
        };
        Ok(Bootstrap {
            authorities: self.authorities.into_iter().map(authority).collect(),
            servers,
            node: self.node,
            local_cluster: self.local_cluster,
            client_listener_template: self.client_listener_template,
            server_listener_template: self.server_listener_template,
            certificate_providers: self.certificate_providers,
            allowed_grpc_services: BTreeMap::new(),
            not_honoured: Vec::new(),
        })
    }
}

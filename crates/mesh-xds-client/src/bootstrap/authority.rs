use super::{ServerConfig, template};

/// What is told about one authority of xdstp names (gRFC A47).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Authority {
    /// `client_listener_resource_name_template`; the name of the Listener of a target that names
    /// this authority. Begins with `xdstp://NAME/`.
    pub client_listener_template: String,
    /// Its servers, in order of preference. Never empty: those of the top level where it has none.
    pub servers: Vec<ServerConfig>,
    /// `fallback_on_reachability_only` (gRFC A95): a worse server is used only while a better one
    /// cannot be reached, not while something is missing.
    pub fallback_on_reachability_only: bool,
}

impl Authority {
    pub(super) fn prefix(name: &str) -> String {
        format!("xdstp://{}/", template::authority(name))
    }

    pub(super) fn default_template(name: &str) -> String {
        format!("{}envoy.config.listener.v3.Listener/%s", Self::prefix(name))
    }
}

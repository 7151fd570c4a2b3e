use std::collections::HashSet;
use std::sync::Arc;

use mesh_core::resource::{ClusterSettings, Locality};

use super::recent::Recent;

/// What decoding knows beside the resource itself.
#[derive(Clone, Debug)]
pub struct Context {
    certificate_providers: Option<HashSet<String>>,
    knows_local_cluster: bool,
    regex_program_size: u32,
    recent: Arc<Occurring>,
}

impl Default for Context {
    fn default() -> Self {
        Self {
            certificate_providers: None,
            knows_local_cluster: false,
            regex_program_size: Self::ISTIO_REGEX_PROGRAM_SIZE,
            recent: Arc::default(),
        }
    }
}

/// What occurs in resource after resource.
#[derive(Debug, Default)]
pub(super) struct Occurring {
    pub(super) settings: Recent<ClusterSettings>,
    pub(super) localities: Recent<Locality>,
}

impl Context {
    /// The largest regular expression where Istio configures Envoy, in RE2's instructions
    /// (`re2.max_program_size.error_level` of its bootstrap).
    pub const ISTIO_REGEX_PROGRAM_SIZE: u32 = 32_768;
    /// The same where nobody configures it (Envoy's default).
    pub const ENVOY_REGEX_PROGRAM_SIZE: u32 = 100;

    /// Resources may refer to these certificate providers, the bootstrap's, and to no others. When
    /// not set, to any.
    #[must_use]
    pub fn with_certificate_providers(
        mut self,
        instances: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        self.certificate_providers = Some(instances.into_iter().map(Into::into).collect());
        self
    }

    /// Zones can be looked at: it is known which cluster the client belongs to, and where it is.
    #[must_use]
    pub fn with_local_cluster(mut self, known: bool) -> Self {
        self.knows_local_cluster = known;
        self
    }

    /// Sets the largest regular expression, in RE2's instructions, where configuration does not say
    /// (`google_re2.max_program_size`): [Istio's](Self::ISTIO_REGEX_PROGRAM_SIZE) when not set.
    #[must_use]
    pub fn with_regex_program_size(mut self, instructions: u32) -> Self {
        self.regex_program_size = instructions;
        self
    }

    pub(super) fn regex_program_size(&self) -> u32 {
        self.regex_program_size
    }

    pub(super) fn occurring(&self) -> &Occurring {
        &self.recent
    }

    pub(super) fn knows_local_cluster(&self) -> bool {
        self.knows_local_cluster
    }

    pub(super) fn knows_provider(&self, instance: &str) -> bool {
        self.certificate_providers.as_ref().is_none_or(|known| known.contains(instance))
    }
}

use std::collections::HashSet;

/// What decoding knows beside the resource itself.
#[derive(Clone, Debug, Default)]
pub struct Context {
    certificate_providers: Option<HashSet<String>>,
    knows_local_cluster: bool,
}

impl Context {
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

    pub(super) fn knows_local_cluster(&self) -> bool {
        self.knows_local_cluster
    }

    pub(super) fn knows_provider(&self, instance: &str) -> bool {
        self.certificate_providers.as_ref().is_none_or(|known| known.contains(instance))
    }
}

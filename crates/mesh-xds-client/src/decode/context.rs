use std::collections::HashSet;

/// What decoding knows beside the resource itself.
#[derive(Clone, Debug, Default)]
pub struct Context {
    certificate_providers: Option<HashSet<String>>,
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

    pub(super) fn knows_provider(&self, instance: &str) -> bool {
        self.certificate_providers.as_ref().is_none_or(|known| known.contains(instance))
    }
}

use std::sync::Arc;

use mesh_core::resource::{Metadata, Value};

/// What filters noted of a request: a request extension, where policies ask for notes.
///
/// Shadow rules of RBAC note what they would have done, and the action LOG whether the request shall
/// be logged, each under Envoy's names: below `envoy.filters.http.rbac` the `shadow_engine_result`
/// and the `shadow_effective_policy_id`, below `envoy.common` the `access_log_hint`.
#[derive(Clone, Debug)]
pub struct Noted(Arc<Metadata>);

impl Noted {
    pub(super) fn new(metadata: Metadata) -> Self {
        Self(Arc::new(metadata))
    }

    /// The value of that key below a filter's name.
    pub fn get(&self, filter: &str, key: &str) -> Option<&Value> {
        self.0.get(filter, [key])
    }

    /// All of it.
    pub fn metadata(&self) -> &Metadata {
        &self.0
    }
}

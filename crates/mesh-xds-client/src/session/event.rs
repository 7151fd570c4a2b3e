use std::sync::Arc;

use mesh_core::ResourceId;
use mesh_core::finding::Failure;

use crate::decode::Value;

/// A resource changed: here is how it stands now.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Event {
    /// Which resource.
    pub id: ResourceId,
    /// The last good value.
    pub value: Option<Value>,
    /// Why there is none, or why it could not be replaced.
    pub failure: Option<Arc<Failure>>,
}

impl Event {
    /// The event that says so.
    pub fn new(id: ResourceId, value: Option<Value>, failure: Option<Arc<Failure>>) -> Self {
        Self { id, value, failure }
    }
}

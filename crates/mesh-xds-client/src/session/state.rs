use std::sync::Arc;
use std::time::Instant;

use mesh_core::ResourceId;
use mesh_core::finding::Failure;
use mesh_core::resource::Name;

use super::directory::ServerIndex;

/// Where a resource stands with the control plane; the states of CSDS (gRFC A40, A88).
///
/// Each may still hold an older value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ResourceState {
    /// Asked for, not answered yet.
    Requested,
    /// The control plane has none of that name, or deleted it.
    DoesNotExist,
    /// The last answer was accepted.
    Acked,
    /// The last answer was refused.
    Nacked,
    /// The control plane reported an error for it, or cannot be reached.
    ReceivedError,
    /// The control plane was silent about it, and that counts as slowness.
    Timeout,
}

/// One resource, for reports.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ResourceStatus {
    /// Which resource.
    pub id: ResourceId,
    /// Where it stands.
    pub state: ResourceState,
    /// The version of the value in use; empty when there is none.
    pub version: Name,
    /// Whether there is a value in use.
    pub has_value: bool,
    /// When the value in use was accepted.
    pub updated: Option<Instant>,
    /// Why there is no value, or why it could not be replaced.
    pub failure: Option<Arc<Failure>>,
}

/// One resource with all that is known of it, as CSDS tells it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ResourceDump {
    /// How it stands.
    pub status: ResourceStatus,
    /// The value in use as it was received, encoded, a secret without its key; `None` when there is
    /// none.
    pub bytes: Option<Vec<u8>>,
    /// The server that the value in use came from.
    pub origin: Option<ServerIndex>,
}

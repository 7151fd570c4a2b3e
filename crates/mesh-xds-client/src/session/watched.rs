//! One resource, as it stands.

use std::sync::Arc;
use std::time::Instant;

use mesh_core::finding::Failure;
use mesh_core::resource::Name;
use mesh_core::{ResourceId, ResourceType};

use super::directory::{AuthorityIndex, ServerIndex};
use super::{ResourceState, ResourceStatus};
use crate::decode::Value;

/// One resource that is wanted, or was until now.
#[derive(Debug)]
pub(super) struct Watched {
    /// Wanted by its name. Kept without being wanted while all of its type are wanted, and until
    /// the server has been told: before that it takes the same name for no news, and would not
    /// answer again.
    pub(super) named: bool,
    pub(super) authority: AuthorityIndex,
    pub(super) value: Option<Value>,
    pub(super) failure: Option<Arc<Failure>>,
    pub(super) state: ResourceState,
    pub(super) timer: Wait,
    /// The bytes of `value`, by which an unchanged resource is recognised.
    pub(super) bytes: Box<[u8]>,
    pub(super) version: Name,
    /// The server that `version` is of.
    pub(super) origin: Option<ServerIndex>,
    pub(super) updated: Option<Instant>,
}

/// The resource timer of a resource without a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// To be asked for with the next request.
    Unasked,
    /// In a request to that server that has not left yet.
    Asked(ServerIndex),
    Until(ServerIndex, Instant),
    /// It ended without an answer.
    Silence,
    Over,
}

/// An accepted resource.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) value: Value,
    pub(super) bytes: Vec<u8>,
    pub(super) version: Name,
    pub(super) origin: ServerIndex,
}

impl Watched {
    pub(super) fn status(&self, kind: ResourceType, name: &Name) -> ResourceStatus {
        ResourceStatus {
            id: ResourceId::new(kind, name.clone()),
            state: self.state,
            version: self.version.clone(),
            has_value: self.value.is_some(),
            updated: self.updated,
            failure: self.failure.clone(),
        }
    }

    pub(super) fn new(authority: AuthorityIndex, named: bool) -> Self {
        Self {
            named,
            authority,
            value: None,
            failure: None,
            state: ResourceState::Requested,
            timer: Wait::Unasked,
            bytes: Box::default(),
            version: Name::default(),
            origin: None,
            updated: None,
        }
    }

    /// The value is the control plane's current one; whether a failure is over thereby.
    pub(super) fn confirm(&mut self, version: Name, origin: ServerIndex, now: Instant) -> bool {
        self.timer = Wait::Over;
        self.state = ResourceState::Acked;
        self.version = version;
        self.origin = Some(origin);
        self.updated = Some(now);
        self.failure.take().is_some()
    }

    /// Drops the value.
    pub(super) fn clear(&mut self) {
        self.value = None;
        self.bytes = Box::default();
        self.version = "".into();
        self.origin = None;
    }

    /// Whether another server might know what is not known yet. What the control plane has
    /// answered for is not asked for elsewhere (gRFC A71). That it was silent is no answer: its
    /// connection may have been dead by then.
    pub(super) fn lacks_answer(&self) -> bool {
        let answered = matches!(self.state, ResourceState::DoesNotExist | ResourceState::Nacked);
        self.named && self.value.is_none() && (self.timer == Wait::Silence || !answered)
    }
}

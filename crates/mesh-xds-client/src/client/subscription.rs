use std::sync::Arc;

use mesh_core::resource::Name;

use super::interests::{Interests, Kind};

/// An interest in one target, or in a server's listener. Dropping it ends the interest.
#[derive(Debug)]
pub struct Subscription {
    interests: Arc<Interests>,
    listener: Name,
    kind: Kind,
}

impl Subscription {
    pub(super) fn new(interests: Arc<Interests>, listener: Name, kind: Kind) -> Self {
        interests.add(&listener, &kind);
        Self { interests, listener, kind }
    }

    /// The name of the listener: the key of the target's root, or of the server, in updates.
    pub fn listener(&self) -> &Name {
        &self.listener
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.interests.remove(&self.listener, &self.kind);
    }
}

use std::sync::Arc;

use mesh_core::Dialect;
use mesh_core::resource::Name;

use super::interests::Interests;

/// An interest in one target. Dropping it ends the interest.
#[derive(Debug)]
pub struct Subscription {
    interests: Arc<Interests>,
    listener: Name,
    authority: Name,
    dialect: Dialect,
}

impl Subscription {
    pub(super) fn new(
        interests: Arc<Interests>,
        listener: Name,
        authority: Name,
        dialect: Dialect,
    ) -> Self {
        interests.add(&listener, &authority, dialect);
        Self { interests, listener, authority, dialect }
    }

    /// The name of the listener: the key of the target's root in updates.
    pub fn listener(&self) -> &Name {
        &self.listener
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.interests.remove(&self.listener, &self.authority, self.dialect);
    }
}

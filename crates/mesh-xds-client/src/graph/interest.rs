use std::collections::BTreeSet;

use mesh_core::resource::Name;

/// Who is interested in a listener.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    http: bool,
    authorities: BTreeSet<Name>,
    server: bool,
}

impl Interest {
    /// Nobody.
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds an HTTP channel: requests may go to any of the virtual hosts.
    #[must_use]
    pub fn with_http(mut self, authority: impl Into<Name>) -> Self {
        self.http = true;
        self.authorities.insert(authority.into());
        self
    }

    /// Adds a gRPC channel: requests go to the virtual host of the target's authority.
    #[must_use]
    pub fn with_grpc(mut self, authority: impl Into<Name>) -> Self {
        self.authorities.insert(authority.into());
        self
    }

    /// Adds a server that listens by it.
    #[must_use]
    pub fn with_server(mut self) -> Self {
        self.server = true;
        self
    }

    /// Whether a server is interested.
    pub(super) fn is_of_server(&self) -> bool {
        self.server
    }

    /// Whether no channel is interested.
    pub(super) fn is_of_no_target(&self) -> bool {
        self.authorities.is_empty()
    }

    /// Whether nobody is interested.
    pub fn is_empty(&self) -> bool {
        self.is_of_no_target() && !self.server
    }

    /// Whether requests may go to any virtual host.
    pub(super) fn is_of_all_hosts(&self) -> bool {
        self.http
    }

    /// The authority published with the root. There is one, unless a bootstrap's template makes
    /// the same listener of several targets; then the first in order stands for all.
    pub(super) fn authority(&self) -> Name {
        self.authorities.first().cloned().unwrap_or_default()
    }

    /// The authorities of the targets.
    pub(super) fn authorities(&self) -> impl Iterator<Item = &Name> {
        self.authorities.iter()
    }
}

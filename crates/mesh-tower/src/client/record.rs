use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use mesh_core::exchange::{Reply, ResponseFlags};
use mesh_core::resource::Metadata;

/// What became of one request: which route, cluster and endpoint, in how many attempts.
///
/// A request extension. The request that carries a clone fills it in; the caller keeps the other.
/// Meant for tools: requests without one do not pay for it.
#[derive(Clone, Debug, Default)]
pub struct Record(Arc<Mutex<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    route: Option<String>,
    cluster: Option<String>,
    endpoint: Option<SocketAddr>,
    attempts: u32,
    flags: ResponseFlags,
    details: Option<String>,
    metadata: Metadata,
}

impl Record {
    /// An empty record.
    pub fn new() -> Self {
        Self::default()
    }

    /// The route's name; `None` when no route was chosen, or it has none.
    pub fn route(&self) -> Option<String> {
        self.with(|entries| entries.route.clone())
    }

    /// The cluster's name.
    pub fn cluster(&self) -> Option<String> {
        self.with(|entries| entries.cluster.clone())
    }

    /// The endpoint of the last attempt.
    pub fn endpoint(&self) -> Option<SocketAddr> {
        self.with(|entries| entries.endpoint)
    }

    /// How many attempts were made.
    pub fn attempts(&self) -> u32 {
        self.with(|entries| entries.attempts)
    }

    /// Envoy's response flags: of an answer that was made here, or of the failure, and whether
    /// retries were given up.
    pub fn flags(&self) -> ResponseFlags {
        self.with(|entries| entries.flags)
    }

    /// Envoy's response code details of an answer that was made here or of the failure, such as
    /// `rbac_access_denied_matched_policy[none]`; `None` of an endpoint's answer.
    pub fn details(&self) -> Option<String> {
        self.with(|entries| entries.details.clone())
    }

    /// What filters noted (Envoy: dynamic metadata): RBAC below `envoy.filters.http.rbac` what its
    /// enforced and its shadow rules say and by which policy, and below `envoy.common` the
    /// `access_log_hint` of the action LOG.
    pub fn metadata(&self) -> Metadata {
        self.with(|entries| entries.metadata.clone())
    }

    pub(crate) fn noted(&self, metadata: &Metadata) {
        self.with(|entries| entries.metadata = metadata.clone());
    }

    pub(crate) fn replied(&self, reply: &Reply) {
        self.with(|entries| {
            entries.flags |= reply.flags;
            entries.details = Some(reply.details.to_string());
        });
    }

    pub(crate) fn flagged(&self, flags: ResponseFlags) {
        self.with(|entries| entries.flags |= flags);
    }

    pub(crate) fn routed(&self, route: &str, cluster: &str) {
        self.with(|entries| {
            entries.route = (!route.is_empty()).then(|| route.to_owned());
            entries.cluster = (!cluster.is_empty()).then(|| cluster.to_owned());
        });
    }

    pub(crate) fn attempt(&self, endpoint: SocketAddr) {
        self.with(|entries| {
            entries.endpoint = Some(endpoint);
            entries.attempts += 1;
        });
    }

    fn with<T>(&self, look: impl FnOnce(&mut Entries) -> T) -> T {
        look(&mut self.0.lock().expect("no panic while held"))
    }
}

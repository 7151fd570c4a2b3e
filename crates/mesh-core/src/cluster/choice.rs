use std::net::SocketAddr;
use std::time::Instant;

use crate::dialect::Dialect;
use crate::resource::MetadataMatch;

/// What a request asks of the choice of an endpoint.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Choice<'a> {
    /// Whose rules are followed.
    pub dialect: Dialect,
    /// The hash that the route's hash policies gave it; without one, hashing policies choose at
    /// random.
    pub hash: Option<u64>,
    /// Endpoints a retry should stay away from.
    pub avoid: Avoid<'a>,
    /// The time, which only clusters with a slow start need
    /// ([`ClusterState::has_slow_start`](super::ClusterState::has_slow_start)).
    pub now: Option<Instant>,
    /// What the route asks of the endpoint, which only clusters with subsets look at
    /// ([`ClusterState::has_subsets`](super::ClusterState::has_subsets)).
    pub metadata_match: Option<&'a MetadataMatch>,
    /// The part of the cluster that its aggregate chose, which counts for more than the cluster's
    /// own shares.
    pub part: Option<Part>,
}

/// The healthy or the degraded endpoints of one priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    pub(super) priority: u32,
    pub(super) degraded: bool,
}

impl<'a> Choice<'a> {
    /// Any endpoint.
    pub fn new(dialect: Dialect) -> Self {
        let avoid = Avoid::default();
        Self { dialect, hash: None, avoid, now: None, metadata_match: None, part: None }
    }

    /// The same, with the hash of a request.
    #[must_use]
    pub fn with_hash(mut self, hash: Option<u64>) -> Self {
        self.hash = hash;
        self
    }

    /// The same, in a part of the cluster.
    #[must_use]
    pub fn with_part(mut self, part: Option<Part>) -> Self {
        self.part = part;
        self
    }

    /// The same, in the subset that the route asks for.
    #[must_use]
    pub fn with_metadata_match(mut self, wanted: Option<&'a MetadataMatch>) -> Self {
        self.metadata_match = wanted;
        self
    }

    /// The same, away from endpoints that were tried.
    #[must_use]
    pub fn with_avoid(mut self, avoid: Avoid<'a>) -> Self {
        self.avoid = avoid;
        self
    }

    /// The same, at that time.
    #[must_use]
    pub fn with_now(mut self, now: Option<Instant>) -> Self {
        self.now = now;
        self
    }
}

/// Endpoints a retry should stay away from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Avoid<'a> {
    /// The endpoints already tried.
    pub tried: &'a [SocketAddr],
    /// How often another one is drawn before a tried one is taken after all
    /// (`host_selection_retry_max_attempts`); counted up to 64.
    pub max_attempts: u32,
    /// Priorities that were tried (`envoy.retry_priorities.previous_priorities`): their load goes
    /// to the others, as long as there are any.
    pub priorities: &'a [u32],
}

impl<'a> Avoid<'a> {
    /// Away from endpoints, for that many draws.
    pub fn new(tried: &'a [SocketAddr], max_attempts: u32) -> Self {
        Self { tried, max_attempts, priorities: &[] }
    }
}

//! Cluster.

use std::sync::Arc;
use std::time::Duration;

use super::{ClusterLoadAssignment, Name};
use crate::finding::Finding;

/// `envoy.config.cluster.v3.Cluster`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Cluster {
    /// The resource name.
    pub name: Name,
    /// Where its endpoints come from.
    pub discovery: Discovery,
    /// How an endpoint is chosen.
    pub lb_policy: LbPolicy,
    /// How long a connection may take; 5 s when unset, as in Envoy.
    pub connect_timeout: Duration,
    /// Limits of what may be under way at once, for priority DEFAULT.
    pub circuit_breakers: CircuitBreakers,
    /// The HTTP version spoken to the endpoints.
    pub protocol: UpstreamProtocol,
    /// What this resource asks for and does not get.
    pub findings: Vec<Finding>,
}

impl Cluster {
    /// A cluster whose endpoints are the ClusterLoadAssignment of the same name.
    pub fn new(name: impl Into<Name>) -> Self {
        let name = name.into();
        Self {
            discovery: Discovery::Eds { service_name: name.clone() },
            name,
            lb_policy: LbPolicy::RoundRobin,
            connect_timeout: Duration::from_secs(5),
            circuit_breakers: CircuitBreakers::default(),
            protocol: UpstreamProtocol::Http1,
            findings: Vec::new(),
        }
    }
}

/// Where a cluster's endpoints come from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Discovery {
    /// A ClusterLoadAssignment resource (`type: EDS`).
    Eds {
        /// Its name: `eds_cluster_config.service_name`, else the cluster's.
        service_name: Name,
    },
    /// They are part of the cluster (`type: STATIC`).
    Static(Arc<ClusterLoadAssignment>),
}

/// How an endpoint is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LbPolicy {
    /// One after the other.
    RoundRobin,
    /// The one with fewer requests under way among `choice_count` drawn at random.
    LeastRequest {
        /// How many are drawn: 2 when unset.
        choice_count: u32,
    },
}

/// `envoy.config.cluster.v3.CircuitBreakers.Thresholds` of priority DEFAULT.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct CircuitBreakers {
    /// Connections open at once: 1,024 when unset.
    pub max_connections: u32,
    /// Requests waiting for a connection: 1,024 when unset.
    pub max_pending_requests: u32,
    /// Requests under way at once: 1,024 when unset.
    pub max_requests: u32,
    /// Retries under way at once: 3 when unset. Not used when there is a retry budget.
    pub max_retries: u32,
    /// Retries as a share of the requests under way.
    pub retry_budget: Option<RetryBudget>,
}

impl Default for CircuitBreakers {
    fn default() -> Self {
        Self {
            max_connections: 1024,
            max_pending_requests: 1024,
            max_requests: 1024,
            max_retries: 3,
            retry_budget: None,
        }
    }
}

/// `envoy.config.cluster.v3.CircuitBreakers.Thresholds.RetryBudget`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryBudget {
    /// Retries allowed per hundred requests under way: 20 when unset.
    pub budget_percent: f64,
    /// Retries allowed whatever the number of requests: 3 when unset.
    pub min_retry_concurrency: u32,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self { budget_percent: 20.0, min_retry_concurrency: 3 }
    }
}

/// The HTTP version spoken to a cluster's endpoints. gRPC is always HTTP/2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UpstreamProtocol {
    /// HTTP/1.1, the default.
    Http1,
    /// HTTP/2, by prior knowledge on plain text.
    Http2,
}

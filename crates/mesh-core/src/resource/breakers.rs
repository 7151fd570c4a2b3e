//! Circuit breakers: limits of what may be under way at once.

use super::RoutingPriority;

/// `envoy.config.cluster.v3.CircuitBreakers`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct CircuitBreakers {
    /// The limits of priority DEFAULT.
    pub default: Thresholds,
    /// The limits of priority HIGH.
    pub high: Thresholds,
    /// The most connections to one endpoint (`per_host_thresholds`), at least 1; `None` for no
    /// limit. Of priority DEFAULT, as Envoy takes no other.
    pub per_host_max_connections: Option<u32>,
}

impl CircuitBreakers {
    /// The limits of that priority.
    pub fn of(&self, priority: RoutingPriority) -> &Thresholds {
        match priority {
            RoutingPriority::Default => &self.default,
            RoutingPriority::High => &self.high,
        }
    }
}

/// `envoy.config.cluster.v3.CircuitBreakers.Thresholds`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Thresholds {
    /// Connections open at once: 1,024 when unset.
    pub max_connections: u32,
    /// Requests waiting for a connection: 1,024 when unset. 0 refuses every request, as in Envoy,
    /// also where a connection is idle.
    pub max_pending_requests: u32,
    /// Requests under way at once: 1,024 when unset.
    pub max_requests: u32,
    /// Retries under way at once: 3 when unset. Not used when there is a retry budget.
    pub max_retries: u32,
    /// Retries as a share of the requests under way.
    pub retry_budget: Option<RetryBudget>,
    /// Whether somebody wants to know how much is left of each limit.
    pub track_remaining: bool,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            max_connections: 1024,
            max_pending_requests: 1024,
            max_requests: 1024,
            max_retries: 3,
            retry_budget: None,
            track_remaining: false,
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

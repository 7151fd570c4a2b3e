use super::admission::Admission;
use super::{Overloaded, Permit, RetryPermit};
use crate::resource::{CircuitBreakers, RoutingPriority, Thresholds};

/// A circuit breaker without a cluster around it. Clones share what is under way.
#[derive(Clone, Debug)]
pub struct CircuitBreaker {
    spec: CircuitBreakers,
    admission: Admission,
}

impl CircuitBreaker {
    /// A breaker with those limits, of both priorities.
    pub fn new(thresholds: Thresholds) -> Self {
        let spec = CircuitBreakers { default: thresholds, high: thresholds, ..Default::default() };
        Self { admission: Admission::new(&spec, None), spec }
    }

    /// Admits a request.
    ///
    /// # Errors
    /// When `max_requests` are under way, or `max_pending_requests` is 0.
    pub fn admit(&self, priority: RoutingPriority) -> Result<Permit, Overloaded> {
        self.admission.admit(priority)
    }

    /// Admits a retry.
    ///
    /// # Errors
    /// When the retry budget, or `max_retries` without one, is used up.
    pub fn admit_retry(&self, priority: RoutingPriority) -> Result<RetryPermit, Overloaded> {
        self.admission.admit_retry(priority, self.spec.of(priority))
    }

    /// Requests under way.
    pub fn requests(&self) -> u64 {
        self.admission.requests()
    }
}

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::resource::CircuitBreakers;

/// What is under way in one cluster. Kept when the cluster's specification changes.
///
/// One allocation, so that the reference count of a permit and the counter it changes share a
/// cache line: the second write to a line already owned is nearly free.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    requests: AtomicU64,
    retries: AtomicU64,
}

/// A permit to send one request to a cluster.
///
/// Taken before an endpoint is picked and given back when the response body ends, so a slow body
/// counts against the limit just as a slow server does. Dropping it is enough.
#[derive(Debug)]
pub struct Permit {
    counters: Arc<Counters>,
}

/// A permit for one retry, held from the decision to retry until that attempt is over.
#[derive(Debug)]
pub struct RetryPermit {
    counters: Arc<Counters>,
}

/// A limit of the cluster's circuit breakers is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overloaded {
    /// The limit.
    pub limit: u64,
}

impl fmt::Display for Overloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "circuit breaker: limit of {} reached", self.limit)
    }
}

impl std::error::Error for Overloaded {}

/// Admits a request, or says which limit it would pass.
pub(crate) fn admit(
    counters: &Arc<Counters>,
    breakers: &CircuitBreakers,
) -> Result<Permit, Overloaded> {
    let limit = u64::from(breakers.max_requests);
    take(&counters.requests, limit)?;
    Ok(Permit { counters: counters.clone() })
}

/// Admits a retry: at most a share of the requests under way when there is a budget, else at most
/// `max_retries`.
pub(crate) fn admit_retry(
    counters: &Arc<Counters>,
    breakers: &CircuitBreakers,
) -> Result<RetryPermit, Overloaded> {
    let limit = breakers.retry_budget.map_or(u64::from(breakers.max_retries), |budget| {
        let requests = counters.requests.load(Ordering::Relaxed) as f64;
        let share = (requests * budget.budget_percent / 100.0) as u64;
        share.max(u64::from(budget.min_retry_concurrency))
    });
    take(&counters.retries, limit)?;
    Ok(RetryPermit { counters: counters.clone() })
}

/// Counts one more, unless that passes the limit. Relaxed: the number is all that matters, and
/// nothing is published through it.
fn take(counter: &AtomicU64, limit: u64) -> Result<(), Overloaded> {
    if counter.fetch_add(1, Ordering::Relaxed) >= limit {
        counter.fetch_sub(1, Ordering::Relaxed);
        return Err(Overloaded { limit });
    }
    Ok(())
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.counters.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for RetryPermit {
    fn drop(&mut self) {
        self.counters.retries.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Counters {
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(crate) fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }
}

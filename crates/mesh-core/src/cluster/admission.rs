use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use crate::resource::{CircuitBreakers, RoutingPriority, Thresholds};

/// What is under way in one cluster, by priority. Kept when the cluster's specification changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Admission {
    default: Arc<Counters>,
}

/// What is under way in one priority.
///
/// One allocation, so that the reference count of a permit, the limit and the counter it changes
/// share a cache line: the second write to a line already owned is nearly free.
#[derive(Debug)]
struct Counters {
    /// How many requests may be under way.
    limit: AtomicU64,
    requests: AtomicU64,
    /// Of round robin, which changes it with each pick: a request owns this line already.
    turns: AtomicUsize,
    retries: AtomicU64,
    pending: AtomicU64,
    connections: AtomicU64,
    /// Those of priority HIGH, which few clusters have: made when they are first asked for.
    high: OnceLock<Arc<Counters>>,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            limit: limit(&Thresholds::default()).into(),
            requests: AtomicU64::default(),
            turns: AtomicUsize::default(),
            retries: AtomicU64::default(),
            pending: AtomicU64::default(),
            connections: AtomicU64::default(),
            high: OnceLock::new(),
        }
    }
}

fn limit(thresholds: &Thresholds) -> u64 {
    // Envoy asks for a place to wait in before it looks for a connection that is idle.
    let refuses = thresholds.max_pending_requests == 0;
    if refuses { 0 } else { u64::from(thresholds.max_requests) }
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

/// A permit for one request to wait for a connection, held for as long as it waits.
#[derive(Debug)]
pub struct PendingPermit {
    counters: Arc<Counters>,
}

/// A permit for one connection, held from before it is made until it is closed.
#[derive(Debug)]
pub struct ConnectionPermit {
    counters: Arc<Counters>,
}

/// What may still begin before a limit is reached (`track_remaining`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Remaining {
    /// Connections.
    pub connections: u64,
    /// Requests waiting for a connection.
    pub pending: u64,
    /// Requests.
    pub requests: u64,
    /// Retries.
    pub retries: u64,
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

impl Admission {
    /// Admission under those limits; what is under way in the `previous` one goes on to count.
    /// Snapshots that still use that one see the new limit of requests.
    pub(crate) fn new(breakers: &CircuitBreakers, previous: Option<&Self>) -> Self {
        let made = previous.cloned().unwrap_or_default();
        made.default.limit.store(limit(&breakers.default), Ordering::Relaxed);
        let high = limit(&breakers.high);
        if made.default.high.get().is_some() || high != limit(&Thresholds::default()) {
            made.high().limit.store(high, Ordering::Relaxed);
        }
        made
    }

    fn high(&self) -> &Arc<Counters> {
        self.default.high.get_or_init(Arc::default)
    }

    /// The next turn of round robin.
    #[inline]
    pub(super) fn turn(&self) -> usize {
        self.default.turns.fetch_add(1, Ordering::Relaxed)
    }

    /// The turn that is next, which nobody has taken.
    pub(super) fn next_turn(&self) -> usize {
        self.default.turns.load(Ordering::Relaxed)
    }

    #[inline]
    fn of(&self, priority: RoutingPriority) -> &Arc<Counters> {
        match priority {
            RoutingPriority::Default => &self.default,
            RoutingPriority::High => self.high(),
        }
    }

    /// Admits a request, or says which limit it would pass.
    #[inline]
    pub(crate) fn admit(&self, priority: RoutingPriority) -> Result<Permit, Overloaded> {
        let counters = self.of(priority);
        take(&counters.requests, counters.limit.load(Ordering::Relaxed))?;
        Ok(Permit { counters: counters.clone() })
    }

    /// Admits a retry: at most a share of the requests under way when there is a budget, else at
    /// most `max_retries`.
    pub(crate) fn admit_retry(
        &self,
        priority: RoutingPriority,
        thresholds: &Thresholds,
    ) -> Result<RetryPermit, Overloaded> {
        let counters = self.of(priority);
        take(&counters.retries, counters.retry_limit(thresholds))?;
        Ok(RetryPermit { counters: counters.clone() })
    }

    /// Admits a request to wait for a connection.
    pub(crate) fn admit_pending(
        &self,
        priority: RoutingPriority,
        thresholds: &Thresholds,
    ) -> Result<PendingPermit, Overloaded> {
        let counters = self.of(priority);
        take(&counters.pending, u64::from(thresholds.max_pending_requests))?;
        Ok(PendingPermit { counters: counters.clone() })
    }

    /// Admits a connection.
    pub(crate) fn admit_connection(
        &self,
        priority: RoutingPriority,
        thresholds: &Thresholds,
    ) -> Result<ConnectionPermit, Overloaded> {
        let counters = self.of(priority);
        take(&counters.connections, u64::from(thresholds.max_connections))?;
        Ok(ConnectionPermit { counters: counters.clone() })
    }

    /// What may still begin.
    pub(crate) fn remaining(
        &self,
        priority: RoutingPriority,
        thresholds: &Thresholds,
    ) -> Remaining {
        let counters = self.of(priority);
        let left = |limit: u64, used: &AtomicU64| limit.saturating_sub(load(used));
        Remaining {
            connections: left(thresholds.max_connections.into(), &counters.connections),
            pending: left(thresholds.max_pending_requests.into(), &counters.pending),
            requests: left(thresholds.max_requests.into(), &counters.requests),
            retries: left(counters.retry_limit(thresholds), &counters.retries),
        }
    }

    /// Requests under way, of both priorities.
    pub(crate) fn requests(&self) -> u64 {
        let high = self.default.high.get();
        load(&self.default.requests) + high.map_or(0, |high| load(&high.requests))
    }

    /// Connections that are open or being made, of both priorities.
    pub(crate) fn connections(&self) -> u64 {
        let high = self.default.high.get();
        load(&self.default.connections) + high.map_or(0, |high| load(&high.connections))
    }

    /// Retries under way, of both priorities.
    pub(crate) fn retries(&self) -> u64 {
        let high = self.default.high.get();
        load(&self.default.retries) + high.map_or(0, |high| load(&high.retries))
    }
}

impl Counters {
    fn retry_limit(&self, thresholds: &Thresholds) -> u64 {
        thresholds.retry_budget.map_or(u64::from(thresholds.max_retries), |budget| {
            // Those that wait for a connection are among them.
            let requests = load(&self.requests) as f64;
            let share = (requests * budget.budget_percent / 100.0) as u64;
            share.max(u64::from(budget.min_retry_concurrency))
        })
    }
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// Counts one more, unless that passes the limit. Relaxed: the number is all that matters, and
/// nothing is published through it.
#[inline]
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

impl Drop for PendingPermit {
    fn drop(&mut self) {
        self.counters.pending.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.counters.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

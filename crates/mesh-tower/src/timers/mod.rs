//! Deadlines of requests that wait.
//!
//! Nearly every request waits for its answer and hardly any until its deadline, so what counts is what
//! it costs to note a deadline and to strike it out. A timer of tokio's takes some 560 instructions
//! for the two: it is looked for in tokio's own wheel, under the lock of its driver, with a hold on
//! the runtime. Here a deadline is a slot in a wheel that few threads share, and one task sleeps
//! until the earliest of them, on the one timer of tokio's that is left. It keeps tokio's clock, so
//! that tests can pause it, and tokio's precision: never early, and a millisecond late at most.

mod alarm;
mod driver;
#[cfg(test)]
mod tests;
mod wheel;

pub(crate) use alarm::Alarm;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Instant;

use tokio::runtime::Handle;

use driver::Driver;
use wheel::Wheel;

/// The deadlines of some requests. Its task ends with it.
pub(crate) struct Timers {
    wheel: Mutex<Wheel>,
    started: AtomicBool,
    /// What deadlines count from.
    epoch: Instant,
    runtime: Handle,
}

impl Timers {
    /// No deadlines yet. The task will live on `runtime`.
    pub(crate) fn new(runtime: Handle) -> Self {
        let epoch = crate::client::now();
        Self { wheel: Mutex::default(), started: AtomicBool::new(false), epoch, runtime }
    }

    /// Notes a deadline, at which that waker is woken; `None` when there are too many, or when
    /// nobody looks at them any more.
    fn insert(self: &Arc<Self>, deadline: Instant, waker: &Waker) -> Option<usize> {
        if !self.started.load(Ordering::Relaxed) {
            self.start();
        }
        let (at, waker) = (self.since_epoch(deadline), waker.clone());
        let (key, driver) = self.lock().insert(at, waker)?;
        if let Some(driver) = driver {
            driver.wake();
        }
        Some(key)
    }

    /// Gives a deadline another time, or another waker; false when nobody looks at it any more.
    fn renew(&self, key: usize, deadline: Instant, waker: &Waker) -> bool {
        let renewed = self.lock().renew(key, self.since_epoch(deadline), waker);
        let Some((_former, driver)) = renewed else { return false };
        if let Some(driver) = driver {
            driver.wake();
        }
        true
    }

    /// Strikes a deadline out.
    fn remove(&self, key: usize) {
        // Dropped after the lock is given back: a waker may be the last to hold a request.
        let _waker = self.lock().remove(key);
    }

    #[cold]
    fn start(self: &Arc<Self>) {
        if !self.started.swap(true, Ordering::Relaxed) {
            self.runtime.spawn(Driver::new(Arc::downgrade(self)));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Wheel> {
        self.wheel.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nanoseconds up to a moment.
    fn since_epoch(&self, moment: Instant) -> u64 {
        let since = moment.saturating_duration_since(self.epoch);
        // For some 584 years.
        since.as_secs().saturating_mul(1_000_000_000).saturating_add(since.subsec_nanos().into())
    }
}

impl Drop for Timers {
    fn drop(&mut self) {
        if let Some(driver) = self.lock().driver() {
            driver.wake();
        }
    }
}

impl fmt::Debug for Timers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timers").field("waiting", &self.lock().len()).finish_non_exhaustive()
    }
}

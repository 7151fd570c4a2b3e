//! When to read, and what to publish.

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, MissedTickBehavior, interval, timeout, timeout_at};

use super::events::{Events, Touched};
use super::store::Store;
use crate::generation::Publisher;

/// Follows folders for as long as it runs.
pub(crate) struct Watch {
    events: Events,
    publisher: Arc<Publisher>,
}

impl Watch {
    /// `events` must have been made before `store` was first read, so that nothing falls between.
    pub(crate) fn new(events: Events, publisher: Arc<Publisher>) -> Self {
        Self { events, publisher }
    }

    /// Runs until dropped.
    pub(crate) async fn run(mut self, mut store: Store) {
        let period = if self.events.is_watching() { POLL } else { POLL_ALONE };
        let mut poll = interval(period);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        poll.tick().await;
        loop {
            tokio::select! {
                touched = self.events.next() => {
                    self.settle(Some(touched)).await;
                    store = self.read(store, true).await;
                }
                _ = poll.tick() => store = self.read(store, false).await,
            }
        }
    }

    /// Waits until the files have been still, but not for ever: whoever writes without pause gets
    /// read in the middle, and again.
    async fn settle(&mut self, first: Option<Touched>) {
        let deadline = Instant::now() + MAX_SETTLE;
        let mut open: HashSet<PathBuf> = HashSet::new();
        let mut next = match first {
            Some(touched) => Some(touched),
            None => timeout(STILL_OPEN, self.events.next()).await.ok(),
        };
        while let Some(touched) = next.take() {
            if touched.open {
                open.insert(touched.path);
            } else {
                open.remove(&touched.path);
            }
            // Take what is there before setting a timer for what is to come.
            next = self.events.try_next();
            if next.is_none() {
                let still = if open.is_empty() { STILL } else { STILL_OPEN };
                let until = deadline.min(Instant::now() + still);
                next = timeout_at(until, self.events.next()).await.ok();
                if Instant::now() >= deadline {
                    return;
                }
            }
        }
    }

    /// Reads until no file changed while it was being read, then checks and publishes.
    ///
    /// `told`: whether the files were settled for. A change that was come upon by looking may be half
    /// of one, so it is looked at again after a while.
    async fn read(&mut self, store: Store, mut told: bool) -> Store {
        let (mut store, mut changed) = (store, false);
        for _ in 0..MAX_READS {
            let (back, outcome) = refresh(store).await;
            store = back;
            let now = match outcome {
                Ok(now) => now,
                Err(error) => {
                    self.publisher.refuse(store.unlisted(&error));
                    return store;
                }
            };
            changed |= now;
            let lost = self.events.take_overflow();
            let next = self.events.try_next();
            if next.is_none() && !lost && (told || !now) {
                break;
            }
            told |= next.is_some();
            self.settle(next).await;
        }
        if !changed && !self.publisher.is_unlisted() {
            return store;
        }
        let checking = tokio::task::spawn_blocking(move || {
            let checked = store.check();
            (store, checked)
        });
        let (store, checked) = checking.await.expect("checking neither panics nor is cancelled");
        self.publisher.offer(checked);
        store
    }
}

async fn refresh(mut store: Store) -> (Store, io::Result<bool>) {
    let reading = tokio::task::spawn_blocking(move || {
        let outcome = store.refresh(SystemTime::now());
        (store, outcome)
    });
    reading.await.expect("reading neither panics nor is cancelled")
}

/// How long files must have been still. Editors and `mv` finish a save within a millisecond of
/// closing the file; several files saved by one command follow each other as fast.
const STILL: Duration = Duration::from_millis(5);
/// The same while a file was opened for writing and not closed: saving begins by emptying the file,
/// and on a busy machine the writer may be kept waiting before it goes on. A guess, within what a
/// change may take; also the price of a save where nobody tells that a file was closed.
const STILL_OPEN: Duration = Duration::from_millis(100);
/// After this long a look is taken although the files never were still.
const MAX_SETTLE: Duration = Duration::from_millis(500);
/// Readings before one is taken although files kept changing under it.
const MAX_READS: usize = 8;
/// For what the system does not tell: network file systems, links to elsewhere.
const POLL: Duration = Duration::from_secs(2);
/// Where the system tells nothing.
const POLL_ALONE: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests;

//! Updates on their way to the data plane, merged by name.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mesh_core::resource::Update;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// Holds one update: everything that changed since the reader took the last one. Its size is
/// bounded by the number of names, however slow the reader is.
#[derive(Debug)]
struct Mailbox {
    state: Mutex<State>,
    changed: Notify,
    taken: Notify,
    /// How many responses may have gone into the update.
    window: usize,
}

#[derive(Debug, Default)]
struct State {
    update: Update,
    /// Responses that went into it.
    responses: usize,
    is_closed: bool,
    has_no_reader: bool,
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under the lock; a poisoned one is as good as any.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where updates are put. Closes the mailbox when dropped.
#[derive(Debug)]
pub(super) struct Sender(Arc<Mailbox>);

/// Whether the mailbox has room for what follows from another response.
#[derive(Debug)]
pub(super) struct Room(Arc<Mailbox>);

/// The updates of a [`Client`](super::Client), for one reader.
#[derive(Debug)]
pub struct Updates(Arc<Mailbox>);

pub(super) fn new(window: usize) -> (Sender, Updates) {
    let (changed, taken) = (Notify::new(), Notify::new());
    let mailbox = Arc::new(Mailbox { state: Mutex::default(), changed, taken, window });
    (Sender(mailbox.clone()), Updates(mailbox))
}

impl Sender {
    pub(super) fn put(&self, update: Update) {
        if update.is_empty() {
            return;
        }
        self.0.lock().update.merge(update);
        self.0.changed.notify_one();
    }

    pub(super) fn room(&self) -> Room {
        Room(self.0.clone())
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.changed.notify_one();
    }
}

impl Room {
    /// One more response went into the update.
    pub(super) fn fill(&self) {
        self.0.lock().responses += 1;
    }

    /// Whether another response may be read.
    pub(super) fn is_there(&self) -> bool {
        let state = self.0.lock();
        state.has_no_reader || state.update.is_empty() || state.responses < self.0.window
    }

    /// Completes when the reader takes an update after this call.
    pub(super) fn taken(&self) -> Notified<'_> {
        self.0.taken.notified()
    }
}

impl Updates {
    /// What changed since the last call; waits until something has. `None` once the client is
    /// gone and nothing is left.
    ///
    /// Call it when the update before has been taken in. Responses are read ahead of that only as
    /// far as [`Options::with_responses_ahead`](super::Options::with_responses_ahead) says, so that
    /// a data plane that is busy slows its control plane down, and not the other way round.
    ///
    /// Cancel safe: an update that was not returned comes with the next call.
    pub async fn next(&mut self) -> Option<Update> {
        loop {
            if let Some(update) = self.take() {
                self.0.taken.notify_waiters();
                return Some(update);
            }
            if self.0.lock().is_closed {
                return None;
            }
            self.0.changed.notified().await;
        }
    }

    fn take(&mut self) -> Option<Update> {
        let mut state = self.0.lock();
        if state.update.is_empty() {
            return None;
        }
        state.responses = 0;
        Some(std::mem::take(&mut state.update))
    }
}

impl Drop for Updates {
    fn drop(&mut self) {
        self.0.lock().has_no_reader = true;
        self.0.taken.notify_waiters();
    }
}

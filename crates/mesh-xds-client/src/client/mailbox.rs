//! Updates on their way to the data plane, merged by name.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mesh_core::resource::Update;
use tokio::sync::Notify;

/// Holds one update: everything that changed since the reader took the last one. Its size is
/// bounded by the number of names, however slow the reader is.
#[derive(Debug, Default)]
struct Mailbox {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    update: Update,
    is_closed: bool,
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

/// The updates of a [`Client`](super::Client), for one reader.
#[derive(Debug)]
pub struct Updates(Arc<Mailbox>);

pub(super) fn new() -> (Sender, Updates) {
    let mailbox = Arc::new(Mailbox::default());
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
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.changed.notify_one();
    }
}

impl Updates {
    /// What changed since the last call; waits until something has. `None` once the client is
    /// gone and nothing is left.
    ///
    /// Cancel safe: an update that was not returned comes with the next call.
    pub async fn next(&mut self) -> Option<Update> {
        loop {
            {
                let mut state = self.0.lock();
                if !state.update.is_empty() {
                    return Some(std::mem::take(&mut state.update));
                }
                if state.is_closed {
                    return None;
                }
            }
            self.0.changed.notified().await;
        }
    }
}

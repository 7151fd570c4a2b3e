use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Wake;

use super::Shared;

/// Calls one member.
///
/// It may ring for the future that its box held before: then the one in it now is polled once more
/// than it needs.
#[derive(Debug)]
pub(super) struct Bell {
    shared: Arc<Shared>,
    /// Where the member is, if it is.
    pub(super) place: AtomicUsize,
    has_rung: AtomicBool,
}

impl Bell {
    /// Of a member that is about to be polled.
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, place: AtomicUsize::new(usize::MAX), has_rung: AtomicBool::new(true) }
    }

    /// What rings from now on calls once more.
    //
    // Acquire: what was done before the last ring is seen by the poll that follows.
    pub(super) fn answer(&self) {
        self.has_rung.swap(false, Ordering::AcqRel);
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Release: whoever answers the ring before sees what was done before this one.
        if self.has_rung.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut state = self.shared.lock();
        if state.is_over {
            return;
        }
        state.called.push(self.place.load(Ordering::Relaxed));
        let task = state.rouse();
        drop(state);
        if let Some(task) = task {
            task.wake();
        }
    }
}

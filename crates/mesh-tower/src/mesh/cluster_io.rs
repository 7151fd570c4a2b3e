use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// What hangs on a cluster: whether its tables are to be built anew.
///
/// The note is one for all states that a cluster goes through: who holds an earlier one still
/// ejects endpoints, and only the latest is asked.
#[derive(Debug)]
pub(crate) struct ClusterIo {
    pub(super) ejected: Arc<AtomicBool>,
    /// Whether some endpoint ever got a request.
    pub(super) had_traffic: Arc<AtomicBool>,
    pub(super) signal: Arc<Notify>,
}

impl ClusterIo {
    /// Has the tables built anew, because the health of an endpoint changed.
    #[cold]
    pub(crate) fn ejected(&self) {
        // Release, with the Acquire below: who takes the note sees the ejection.
        self.ejected.store(true, Ordering::Release);
        self.signal.notify_one();
    }

    /// Whether the cluster ever had traffic; `own` tells it of the endpoint that asks. Endpoints
    /// tell each other, so that none has to look at all.
    pub(crate) fn had_traffic(&self, own: bool) -> bool {
        if own {
            self.had_traffic.store(true, Ordering::Relaxed);
        }
        own || self.had_traffic.load(Ordering::Relaxed)
    }

    /// Whether an endpoint was ejected since this was asked last.
    pub(crate) fn take_ejected(&self) -> bool {
        self.ejected.swap(false, Ordering::Acquire)
    }
}

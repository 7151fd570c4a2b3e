//! Sending a body again.
//!
//! The first attempt streams through, and clones of its frames (a reference count each) are kept on
//! the way, up to a cap. A later attempt sends what was kept and goes on with what the original
//! body still has. An earlier attempt's body may still sit in a connection's task by then, so all
//! attempts share the original behind a lock of this request's own, and only the latest may read
//! from it.

mod attempt;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use attempt::Shared;
pub(crate) use attempt::{Attempt, plus};
use bytes::Bytes;
use http_body::Body as _;

use super::Body;

/// How many bytes of a body are kept for a retry unless told otherwise.
///
/// 64 KiB holds nearly every unary call, and keeps ten thousand requests in flight under 640 MiB
/// even when all of them are as large as may be. Larger bodies are sent, but once only.
pub const DEFAULT_CAP_BYTES: usize = 64 * 1024;

/// The retry loop's side of a body that may have to be sent again.
///
/// Drop it as soon as no further attempt can follow: from then on nothing more is kept.
#[derive(Debug)]
pub struct Replay(Source);

#[derive(Debug)]
enum Source {
    /// In memory, or empty: every attempt gets a clone.
    Memory(Bytes),
    Shared(Arc<Mutex<Shared>>),
}

impl Replay {
    /// The first attempt's body, and the handle that makes the next attempts' bodies.
    ///
    /// Keeps at most [`DEFAULT_CAP_BYTES`]. Allocates nothing for a body that is empty or in
    /// memory.
    pub fn split(body: Body) -> (Body, Self) {
        Self::split_with_cap(body, DEFAULT_CAP_BYTES)
    }

    /// As [`split`](Self::split), keeping at most `cap_bytes`.
    ///
    /// A body in memory is not measured against the cap: it is there in any case.
    pub fn split_with_cap(body: Body, cap_bytes: usize) -> (Body, Self) {
        if body.is_end_stream() {
            return (Body::empty(), Self(Source::Memory(Bytes::new())));
        }
        if let Some(bytes) = body.in_memory() {
            let bytes = bytes.clone();
            return (body, Self(Source::Memory(bytes)));
        }
        let shared = Arc::new(Mutex::new(Shared::new(body, cap_bytes)));
        (Body::replayed(Attempt::new(Arc::clone(&shared), 0)), Self(Source::Shared(shared)))
    }

    /// The next attempt's body; `None` when the body went over the cap or failed.
    ///
    /// From here on the earlier attempt's body reads nothing more, and fails with
    /// [`Superseded`](super::BodyErrorKind::Superseded) when polled.
    pub fn again(&mut self) -> Option<Body> {
        match &self.0 {
            Source::Memory(bytes) => Some(Body::full(bytes.clone())),
            Source::Shared(shared) => {
                let number = lock(shared).begin_next()?;
                Some(Body::replayed(Attempt::new(Arc::clone(shared), number)))
            }
        }
    }

    /// Whether attempts may send it side by side: it is in memory, or empty.
    pub(crate) fn is_in_memory(&self) -> bool {
        matches!(self.0, Source::Memory(_))
    }

    /// Whether another attempt can still have the whole body.
    pub fn is_replayable(&self) -> bool {
        match &self.0 {
            Source::Memory(_) => true,
            Source::Shared(shared) => lock(shared).is_replayable(),
        }
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        if let Source::Shared(shared) = &self.0 {
            lock(shared).stop_keeping();
        }
    }
}

/// A panic in a body's `poll_frame` poisons the lock, but leaves nothing half done behind: it is
/// the caller's code that ran there, and the copy was not touched yet.
fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

//! One clock for all processes of the run.
//!
//! `Instant` means nothing outside its process. The wall clock is the same for all on one machine,
//! and a run lasts well under a minute: microseconds since the Unix epoch it is. A clock set
//! anew during the run would spoil the times shown, never the counts.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::{SystemTime, UNIX_EPOCH};

/// Microseconds since the Unix epoch.
pub(crate) fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Makes a call through the mesh and tells when it was routed, at the latest.
///
/// A channel that has its configuration chooses the route as its future is polled first. The time
/// is taken after that poll: rather some microseconds too late than too early.
pub(crate) async fn decided<T>(call: impl Future<Output = T>) -> (T, u64) {
    let mut call = pin!(call);
    let first = poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await;
    let decided_at = now_us();
    match first {
        Poll::Ready(answer) => (answer, decided_at),
        Poll::Pending => (call.await, decided_at),
    }
}

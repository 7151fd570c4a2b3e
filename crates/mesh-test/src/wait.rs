//! Waiting for events, never longer than a deadline.

use std::future::Future;
use std::time::Duration;

/// Far more than anything awaited here takes; reached only when something hangs.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// How often [`eventually`] looks: often enough not to matter beside what is awaited.
const LOOK: Duration = Duration::from_millis(2);

/// The future's output.
///
/// # Panics
/// When it takes longer than [`DEADLINE`]; `what` is then said to be missing.
pub async fn within<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(output) => output,
        Err(_) => panic!("no {what} within {DEADLINE:?}"),
    }
}

/// Waits until `look` finds something, for what announces itself to nobody.
///
/// # Panics
/// When it takes longer than [`DEADLINE`]; `what` is then said to be missing.
pub async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    within(what, async {
        let mut ticks = tokio::time::interval(LOOK);
        loop {
            ticks.tick().await;
            if let Some(found) = look() {
                return found;
            }
        }
    })
    .await
}

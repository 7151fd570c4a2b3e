//! The task that looks at files.

use std::sync::Weak;
use std::time::Duration;

use super::Shared;

/// How long after a look in vain the next one is, at most. A certificate and its key are two files:
/// whoever replaces them may have been half done.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// The shortest time between two looks, whatever is configured: files are read each time.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);

pub(super) async fn run(provider: Weak<Shared>, interval: Duration) {
    let interval = interval.max(SHORTEST_INTERVAL);
    let mut wait = interval;
    loop {
        tokio::time::sleep(wait).await;
        let Some(shared) = provider.upgrade() else { return };
        let looked = tokio::task::spawn_blocking(move || shared.reload()).await;
        // Both a fault and a panic are worth another look soon.
        wait = match looked {
            Ok(Ok(())) => interval,
            _ => interval.min(RETRY_INTERVAL),
        };
    }
}

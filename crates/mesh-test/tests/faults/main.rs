//! What a mesh's clients hold when endpoints, connections and whole tiers fail, over real sockets.
//!
//! These take turns: each has the machine to itself, so that its figures mean something. With
//! `MESH_SCENARIOS=1` they last as long as the outages they tell of; else they are shorter.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod chain;
mod churn;
mod endpoints;
mod http2;
mod overload;
mod upgrades;

use std::time::Duration;

use mesh_core::resource::{OutlierDetection, RetryConditions, RetryPolicy};
use tokio::sync::{Mutex, MutexGuard};

/// The target of all meshes here.
const TARGET: &str = "things:80";

/// Waits for the other tests of this program to end.
async fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::const_new(());
    TURN.lock().await
}

/// Whether the tests are to take as long as what they tell of.
fn is_long() -> bool {
    std::env::var_os("MESH_SCENARIOS").is_some()
}

/// Retries of everything that can be, on endpoints that were not tried.
fn retries(on: RetryConditions) -> RetryPolicy {
    let mut policy = RetryPolicy::new(on);
    policy.num_retries = 3;
    policy.avoid_previous_hosts = true;
    policy.host_selection_retry_max_attempts = 10;
    policy
}

/// Ejection after three failures, for two seconds, of any number.
fn ejection() -> OutlierDetection {
    let mut detection = OutlierDetection::new();
    detection.consecutive_5xx = 3;
    detection.max_ejection_percent = 100;
    detection.interval = Duration::from_millis(500);
    detection.base_ejection_time = Duration::from_secs(2);
    detection
}

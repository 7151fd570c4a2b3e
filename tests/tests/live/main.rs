//! Configuration that changes, and control planes that come and go, under load.
//!
//! These take turns: each has the machine to itself, so that its figures mean something.

mod changes;
mod outages;
mod peers;
mod split;

use tokio::sync::{Mutex, MutexGuard};

/// Waits for the other tests of this program to end.
async fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::const_new(());
    TURN.lock().await
}

/// `meshctl`.
const MESHCTL: &str = env!("CARGO_BIN_EXE_meshctl-under-test");

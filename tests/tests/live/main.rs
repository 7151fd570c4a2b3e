//! Configuration that changes, and control planes that come and go, under load.
//!
//! These take turns: each has the machine to itself, so that its figures mean something.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod changes;
mod go;
mod outages;
mod peers;
mod silence;
mod split;
mod ways;

use tokio::sync::{Mutex, MutexGuard};

/// Waits for the other tests of this program to end.
async fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::const_new(());
    TURN.lock().await
}

/// Whether the tests that take long are to run; says so when they are not.
fn scenarios() -> bool {
    let wanted = std::env::var_os("MESH_SCENARIOS").is_some();
    if !wanted {
        println!("skipped: takes long; set MESH_SCENARIOS=1 to run it");
    }
    wanted
}

/// `meshctl`.
const MESHCTL: &str = env!("CARGO_BIN_EXE_meshctl-under-test");

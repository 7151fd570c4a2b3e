//! Configuration that changes, and control planes that come and go, under load.
//!
//! These take turns: each has the machine to itself, so that its figures mean something.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod changes;
mod floods;
mod go;
mod half_open;
mod hostile;
mod kills;
mod outages;
mod peers;
mod rotation;
mod secured;
mod served;
mod silence;
mod split;
mod streams;
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

/// A client of the control planes at these addresses, the first of them first, in a process of its
/// own.
async fn client(servers: &[std::net::SocketAddr]) -> mesh_tests::Process {
    let servers: Vec<_> = servers
        .iter()
        .map(|server| {
            serde_json::json!({
                "server_uri": server.to_string(),
                "channel_creds": [{"type": "insecure"}],
            })
        })
        .collect();
    let bootstrap = serde_json::json!({"xds_servers": servers, "node": {"id": "client"}});
    let mut command = mesh_tests::process::command(CLIENT, &[]);
    command.env("GRPC_XDS_BOOTSTRAP_CONFIG", bootstrap.to_string());
    mesh_tests::Process::start(command).await
}

/// `tests/src/bin/client.rs`.
const CLIENT: &str = env!("CARGO_BIN_EXE_client-under-test");

/// `meshctl`.
const MESHCTL: &str = env!("CARGO_BIN_EXE_meshctl-under-test");

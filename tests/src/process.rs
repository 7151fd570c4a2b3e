//! Programs of the mesh in processes of their own.

use std::net::SocketAddr;
use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use mesh_test::within;

/// A server in a process of its own. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    ready: Value,
}

impl Process {
    /// Starts a prepared server and waits for its ready line.
    pub async fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("the program can be started");
        let stdout = child.stdout.take().expect("it was piped");
        let mut lines = BufReader::new(stdout).lines();
        let line = within("ready line", lines.next_line()).await.expect("output is text");
        let line = line.expect("the server says that it is ready before it ends");
        let ready: Value = serde_json::from_str(&line).expect("the ready line is JSON");
        Self { child, ready }
    }

    /// An address of the ready line.
    pub fn address(&self, field: &str) -> SocketAddr {
        let address = self.ready[field].as_str().and_then(|address| address.parse().ok());
        address.unwrap_or_else(|| panic!("no address {field:?} in {}", self.ready))
    }

    /// Kills it and waits for its end.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("a child can be killed");
    }
}

/// `program` with these arguments, and nothing of this process' mesh in its environment.
pub fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).kill_on_drop(true);
    for variable in ["GRPC_XDS_BOOTSTRAP", "GRPC_XDS_BOOTSTRAP_CONFIG", "MESH", "RUST_LOG"] {
        command.env_remove(variable);
    }
    command
}

//! Child processes, which end with their handle.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use tower::BoxError;

use crate::role::Role;

/// A running part of Bookinfo. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) role: Role,
    pub(crate) address: SocketAddr,
    /// Holds the other end of the child's standard input, which ends the child if we are killed.
    child: Child,
}

impl Process {
    /// The control plane over a folder; returns once it serves.
    pub(crate) async fn control_plane(listen: SocketAddr, folder: &Path) -> Result<Self, BoxError> {
        let mut command = command(Role::ControlPlane, listen)?;
        command.arg("--folder").arg(folder);
        Self::start(Role::ControlPlane, command).await
    }

    /// An application of the mesh; returns once it listens.
    pub(crate) async fn application(
        role: Role,
        listen: SocketAddr,
        xds: SocketAddr,
        seed: u64,
    ) -> Result<Self, BoxError> {
        let mut command = command(role, listen)?;
        command
            .args(["--seed", &seed.to_string()])
            .env_remove("GRPC_XDS_BOOTSTRAP")
            .env("GRPC_XDS_BOOTSTRAP_CONFIG", bootstrap(role, listen, xds));
        Self::start(role, command).await
    }

    async fn start(role: Role, mut command: Command) -> Result<Self, BoxError> {
        let name = role.name();
        let mut child = command.spawn().map_err(|error| format!("{name}: {error}"))?;
        let out = child.stdout.take().ok_or("the child's output was asked for as a pipe")?;
        let mut line = String::new();
        match timeout(START_DEADLINE, BufReader::new(out).read_line(&mut line)).await {
            Err(_) => Err(format!("{name} was not ready after {START_DEADLINE:?}"))?,
            Ok(Err(error)) => Err(format!("{name}: {error}"))?,
            Ok(Ok(_)) => {}
        }
        let address = line.trim_end().parse();
        Ok(Self { role, address: address.map_err(|_| format!("{name} did not start"))?, child })
    }

    /// Kills it, without a chance to say goodbye, and waits for its end.
    pub(crate) async fn kill(mut self) -> Result<(), BoxError> {
        Ok(self.child.kill().await?)
    }

    /// What ended it, if it is no longer running.
    pub(crate) fn ended(&mut self) -> Option<String> {
        let name = self.role.name();
        match self.child.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => Some(format!("{name} ended before its time: {status}")),
            Err(error) => Some(format!("{name}: {error}")),
        }
    }
}

fn command(role: Role, listen: SocketAddr) -> Result<Command, BoxError> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["--role", role.name(), "--listen", &listen.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    // Ctrl-C is for us: we end the children.
    #[cfg(unix)]
    command.process_group(0);
    Ok(command)
}

/// What an operator would put into a file (`meshctl bootstrap` writes one).
fn bootstrap(role: Role, listen: SocketAddr, xds: SocketAddr) -> String {
    let (name, ip) = (role.name(), listen.ip());
    let (app, version) = role.labels();
    json!({
        "xds_servers": [{
            "server_uri": xds.to_string(),
            "channel_creds": [{ "type": "insecure" }],
            "server_features": ["xds_v3"],
        }],
        "node": {
            "id": format!("sidecar~{ip}~{name}.default~default.svc.cluster.local"),
            "cluster": format!("{app}.default"),
            "metadata": { "NAMESPACE": "default", "LABELS": { "app": app, "version": version } },
        },
    })
    .to_string()
}

/// A process starts in some ten milliseconds; this is for a machine with much else to do.
const START_DEADLINE: Duration = Duration::from_secs(15);

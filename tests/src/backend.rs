//! Backends that say who they are.

use std::net::SocketAddr;

use meshctl::echo::{Echo, Settings};
use tokio_util::sync::{CancellationToken, DropGuard};

use mesh_test::serve::{any_port, listen};

/// An echo server in this process. Dropping it drains it.
#[derive(Debug)]
pub struct Backend {
    /// Where it listens, for HTTP/1.1, HTTP/2 and gRPC.
    pub address: SocketAddr,
    /// The version it answers with, and its `version` label.
    pub version: String,
    _stop: DropGuard,
}

impl Backend {
    /// A backend of this name and version.
    pub async fn start(name: &str, version: &str) -> Self {
        Self::with(Settings::new(name), version).await
    }

    /// A backend with these settings and this version.
    pub async fn with(settings: Settings, version: &str) -> Self {
        let listener = listen(any_port()).await;
        let address = listener.local_addr().expect("a listener has an address");
        let echo = Echo::new(settings.with_version(version)).expect("plain names are valid");
        let stop = CancellationToken::new();
        tokio::spawn(meshctl::echo::serve(listener, echo, stop.clone()));
        Self { address, version: version.to_owned(), _stop: stop.drop_guard() }
    }

    /// Backends of one name and of versions `v1`, `v2` and so on.
    pub async fn versions(name: &str, count: usize) -> Vec<Self> {
        let mut backends = Vec::with_capacity(count);
        for number in 1..=count {
            backends.push(Self::start(name, &format!("v{number}")).await);
        }
        backends
    }
}

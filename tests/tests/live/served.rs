//! `meshctl serve`, as a process to be killed, over a folder that is written to.

use std::fs;
use std::net::SocketAddr;

use mesh_tests::process::command;
use mesh_tests::{Backend, Process, yaml};
use tempfile::TempDir;

/// A control plane of the service `echo:9080` with two versions, and its backends.
pub(crate) struct Served {
    /// `None` while it is killed.
    process: Option<Process>,
    address: SocketAddr,
    folder: TempDir,
    _backends: Vec<Backend>,
}

/// All requests to one version.
pub(crate) fn routes(subset: &str) -> String {
    let http = format!("  - route: [{{destination: {{host: echo, subset: {subset}}}}}]\n");
    yaml::routes("echo", &http)
}

impl Served {
    /// At first all goes to `v1`.
    pub(crate) async fn start() -> Self {
        let backends = Backend::versions("echo", 2).await;
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("service.yaml", &yaml::service_of("echo", 9080, "HTTP", &backends));
        write("subsets.yaml", &yaml::subsets("echo", &["v1", "v2"]));
        write("routes.yaml", &routes("v1"));
        let process = serve(&folder, "127.0.0.1:0").await;
        let address = process.address("xds");
        Self { process: Some(process), address, folder, _backends: backends }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn route_to(&self, subset: &str) {
        fs::write(self.folder.path().join("routes.yaml"), routes(subset)).unwrap();
    }

    pub(crate) async fn kill(&mut self) {
        self.process.take().expect("it runs").kill().await;
    }

    /// Runs once more where it was; returns when it is ready.
    pub(crate) async fn restart(&mut self) {
        self.process = Some(serve(&self.folder, &self.address.to_string()).await);
    }
}

async fn serve(folder: &TempDir, xds: &str) -> Process {
    let folder = folder.path().to_str().unwrap();
    Process::start(command(super::MESHCTL, &["serve", folder, "--xds", xds])).await
}

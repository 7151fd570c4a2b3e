//! Our control plane, in this process, over a temporary folder.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Instant;

use mesh_control::ControlPlane;
use tempfile::TempDir;

use crate::serve::any_port;
use crate::wait::within;

/// A control plane that can be killed and started again at the same address.
#[derive(Debug)]
pub struct Control {
    root: TempDir,
    xds: SocketAddr,
    running: Option<ControlPlane>,
}

impl Control {
    /// Serves these files: names and texts.
    pub async fn start(files: &[(&str, &str)]) -> Self {
        let root = tempfile::tempdir().expect("a temporary folder can be made");
        fs::create_dir(root.path().join("mesh")).expect("the folder is writable");
        let mut control = Self { root, xds: any_port(), running: None };
        for (name, text) in files {
            control.write(name, text);
        }
        control.restart().await;
        control
    }

    /// The folder that is watched.
    pub fn folder(&self) -> PathBuf {
        self.root.path().join("mesh")
    }

    /// Where xDS is served.
    pub fn xds(&self) -> SocketAddr {
        self.xds
    }

    /// The running control plane.
    ///
    /// # Panics
    /// While it is killed.
    pub fn plane(&self) -> &ControlPlane {
        self.running.as_ref().expect("the control plane runs")
    }

    /// Replaces a file in one step, as a careful editor does; says when that was.
    pub fn write(&self, name: &str, text: &str) -> Instant {
        let draft = self.root.path().join("draft");
        fs::write(&draft, text).expect("the folder is writable");
        let saved = Instant::now();
        fs::rename(draft, self.folder().join(name)).expect("the folder is writable");
        saved
    }

    /// Writes a file where it is, as a careless editor does.
    pub fn write_in_place(&self, name: &str, text: &str) {
        fs::write(self.folder().join(name), text).expect("the folder is writable");
    }

    /// Removes a file.
    pub fn remove(&self, name: &str) {
        fs::remove_file(self.folder().join(name)).expect("the file is there");
    }

    /// Stops it at once, connections and all.
    pub fn kill(&mut self) {
        self.running = None;
    }

    /// Starts it, at the address it had before if it ran before.
    pub async fn restart(&mut self) {
        let started = within("free address", async {
            let mut ticks = tokio::time::interval(std::time::Duration::from_millis(5));
            loop {
                ticks.tick().await;
                let builder = ControlPlane::builder().folder(self.folder()).xds(self.xds);
                match builder.serve().await {
                    Ok(control) => return control,
                    // The one before is still letting go of the address.
                    Err(error) if self.xds.port() != 0 && is_in_use(&error) => {}
                    Err(error) => {
                        let told = error.diagnostics().iter().map(|one| format!("\n  {one}"));
                        panic!("{error}{}", told.collect::<String>())
                    }
                }
            }
        });
        let control = started.await;
        self.xds = control.xds_addr();
        self.running = Some(control);
    }
}

fn is_in_use(error: &(dyn std::error::Error + 'static)) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::AddrInUse)
        || error.source().is_some_and(is_in_use)
}

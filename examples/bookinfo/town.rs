//! All processes of Bookinfo and their configuration.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::try_join_all;
use mesh_tower::{Channel, Mesh};
use tokio::time::{Instant, sleep};
use tower::BoxError;

use crate::addresses::Addresses;
use crate::process::Process;
use crate::role::Role;
use crate::rules::{Folder, Rules};
use crate::traffic::look;

/// A running Bookinfo. Dropping it kills every process and removes the folder, in this order.
#[derive(Debug)]
pub(crate) struct Town {
    control_plane: Option<Process>,
    applications: Vec<Process>,
    xds: SocketAddr,
    pub(crate) folder: Folder,
    pub(crate) addresses: Addresses,
    /// How people outside the mesh reach the page.
    outside: Mesh,
}

impl Town {
    /// Starts everything and waits for the first good page.
    pub(crate) async fn start(
        addresses: Addresses,
        rules: &Rules,
        seed: u64,
    ) -> Result<Self, BoxError> {
        let folder = Folder::new(rules)?;
        let listen = addresses.of(Role::ControlPlane);
        let control_plane = Process::control_plane(listen, folder.path()).await?;
        let xds = control_plane.address;
        let start = |role| Process::application(role, addresses.of(role), xds, seed);
        let applications = try_join_all(Role::APPLICATIONS.map(start)).await?;
        folder.add_workloads(&applications)?;
        let town = Self {
            control_plane: Some(control_plane),
            applications,
            xds,
            folder,
            addresses,
            outside: Mesh::disabled()?,
        };
        town.first_page().await?;
        Ok(town)
    }

    /// A client of productpage that knows nothing of the mesh.
    pub(crate) fn page(&self) -> Result<Channel, BoxError> {
        Ok(Channel::new(&self.outside, &self.page_address().to_string())?)
    }

    pub(crate) fn page_address(&self) -> SocketAddr {
        let page = self.applications.iter().find(|process| process.role == Role::Productpage);
        page.expect("productpage is one of the applications").address
    }

    async fn first_page(&self) -> Result<(), BoxError> {
        let page = self.page()?;
        let deadline = Instant::now() + READY_DEADLINE;
        loop {
            let Err(error) = look(page.clone(), false).await else { return Ok(()) };
            if Instant::now() > deadline {
                return Err(format!("no page after {READY_DEADLINE:?}: {error}").into());
            }
            sleep(PAUSE).await;
        }
    }

    /// SIGKILL, as a crash would end it.
    pub(crate) async fn kill_control_plane(&mut self) -> Result<(), BoxError> {
        match self.control_plane.take() {
            Some(process) => process.kill().await,
            None => Ok(()),
        }
    }

    /// On the same address as before, which is in the applications' bootstrap.
    pub(crate) async fn restart_control_plane(&mut self) -> Result<(), BoxError> {
        let process = Process::control_plane(self.xds, self.folder.path()).await?;
        self.control_plane = Some(process);
        Ok(())
    }

    /// Processes that ended though nobody asked them to.
    pub(crate) fn ended(&mut self) -> Vec<String> {
        let all = self.applications.iter_mut().chain(&mut self.control_plane);
        all.filter_map(Process::ended).collect()
    }

    pub(crate) async fn stop(self) -> Result<(), BoxError> {
        for process in self.applications.into_iter().chain(self.control_plane) {
            process.kill().await?;
        }
        Ok(())
    }
}

/// More than a mesh waits for its first configuration.
const READY_DEADLINE: Duration = Duration::from_secs(20);

/// Between pages that failed because not all is known yet.
const PAUSE: Duration = Duration::from_millis(20);

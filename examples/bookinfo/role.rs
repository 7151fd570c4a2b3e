//! What a child process is, from its arguments.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process;

use axum::Router;
use clap::ValueEnum;
use mesh_control::ControlPlane;
use mesh_tower::{Mesh, Server};
use tower::BoxError;

use crate::app::{details, productpage, ratings, reviews};

/// The parts of Bookinfo and the control plane, a process each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    ControlPlane,
    Productpage,
    Details,
    ReviewsV1,
    ReviewsV2,
    ReviewsV3,
    Ratings,
}

impl Role {
    pub(crate) const APPLICATIONS: [Self; 6] = [
        Self::Productpage,
        Self::Details,
        Self::ReviewsV1,
        Self::ReviewsV2,
        Self::ReviewsV3,
        Self::Ratings,
    ];

    /// As in `--role`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ControlPlane => "control-plane",
            Self::Productpage => "productpage",
            Self::Details => "details",
            Self::ReviewsV1 => "reviews-v1",
            Self::ReviewsV2 => "reviews-v2",
            Self::ReviewsV3 => "reviews-v3",
            Self::Ratings => "ratings",
        }
    }

    /// The labels `app` and `version`, by which services and subsets choose workloads.
    pub(crate) fn labels(self) -> (&'static str, &'static str) {
        match self {
            Self::ReviewsV1 => ("reviews", "v1"),
            Self::ReviewsV2 => ("reviews", "v2"),
            Self::ReviewsV3 => ("reviews", "v3"),
            other => (other.name(), "v1"),
        }
    }
}

/// Arguments the program gives itself.
#[derive(Debug, clap::Args)]
pub(crate) struct Child {
    #[arg(long, hide = true, requires = "listen")]
    pub(crate) role: Option<Role>,

    #[arg(long, hide = true)]
    listen: Option<SocketAddr>,

    /// The folder that the control plane serves.
    #[arg(long, hide = true)]
    folder: Option<PathBuf>,
}

pub(crate) async fn run(role: Role, child: Child, seed: u64) -> Result<(), BoxError> {
    end_with_parent();
    let listen = child.listen.ok_or("--role needs --listen")?;
    if role == Role::ControlPlane {
        let folder = child.folder.ok_or("the control plane needs --folder")?;
        return control_plane(listen, folder).await;
    }
    let mesh = Mesh::builder().bootstrap_from_env().seed(seed).build()?;
    let app = application(role, &mesh)?;
    let server = Server::bind(&mesh, listen).await?;
    announce(server.local_addr())?;
    Ok(server.serve(app).await?)
}

fn application(role: Role, mesh: &Mesh) -> Result<Router, BoxError> {
    Ok(match role {
        Role::Productpage => productpage::app(mesh)?,
        Role::Details => details::app(),
        Role::ReviewsV1 => reviews::v1(),
        Role::ReviewsV2 => reviews::v2(mesh)?,
        Role::ReviewsV3 => reviews::v3(mesh)?,
        Role::Ratings => ratings::app(),
        Role::ControlPlane => return Err("the control plane is not an application".into()),
    })
}

async fn control_plane(listen: SocketAddr, folder: PathBuf) -> Result<(), BoxError> {
    let control = match ControlPlane::builder().folder(folder).xds(listen).serve().await {
        Ok(control) => control,
        Err(error) => {
            for diagnostic in error.diagnostics() {
                eprintln!("{diagnostic}");
            }
            return Err(error.into());
        }
    };
    announce(control.xds_addr())?;
    // Until the parent ends, which ends this process too.
    std::future::pending().await
}

/// The ready line, on which the parent waits: the address alone.
fn announce(address: SocketAddr) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{address}")?;
    out.flush()
}

/// Ends the process when standard input does: the parent holds the other end and writes nothing,
/// so it ends with the parent, however that ended.
fn end_with_parent() {
    // A thread, since tokio's standard input would keep the runtime from ending.
    std::thread::spawn(|| {
        // Whether it ended or broke is the same: no parent is there.
        let _ = std::io::stdin().lock().read(&mut [0]);
        process::exit(0);
    });
}

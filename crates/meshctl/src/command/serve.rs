use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use mesh_control::{ControlPlane, ErrorKind};
use serde::Serialize;

use crate::diagnostic::shown;
use crate::error::Error;
use crate::output::{Output, Verdict};
use crate::signal;

/// Arguments of `meshctl serve`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Folders of Istio YAML, which are watched.
    #[arg(required = true, value_name = "DIR")]
    folders: Vec<PathBuf>,

    /// Address of the xDS server; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value_t = any_port())]
    xds: SocketAddr,

    /// Address of the certificate authority.
    #[arg(long, value_name = "ADDR")]
    ca: Option<SocketAddr>,

    /// Address of the admin API; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value_t = any_port())]
    admin: SocketAddr,

    /// Trust domain of the identities.
    #[arg(long, value_name = "TD")]
    trust_domain: Option<String>,

    /// Namespace whose configuration holds for all.
    #[arg(long, value_name = "NS")]
    root_namespace: Option<String>,

    /// Report unknown fields as warnings instead of errors.
    #[arg(long)]
    lenient: bool,
}

#[derive(Debug, Serialize)]
struct Ready {
    ready: bool,
    xds: SocketAddr,
    /// There is no certificate authority yet.
    ca: Option<SocketAddr>,
    admin: Option<SocketAddr>,
}

pub(crate) async fn run(output: Output, arguments: Arguments) -> Result<Verdict, Error> {
    if arguments.ca.is_some() {
        return Err(Error::not_yet_implemented("--ca"));
    }
    let stop = signal::stop()?;
    let mut builder = ControlPlane::builder()
        .xds(arguments.xds)
        .admin(arguments.admin)
        .lenient(arguments.lenient);
    for folder in &arguments.folders {
        builder = builder.folder(folder);
    }
    if let Some(namespace) = arguments.root_namespace {
        builder = builder.root_namespace(namespace);
    }
    if let Some(domain) = arguments.trust_domain {
        builder = builder.trust_domain(domain);
    }
    let control = builder.serve().await.map_err(|error| {
        if error.diagnostics().is_empty() {
            let text = "cannot serve";
            return match error.kind() {
                ErrorKind::Settings => Error::usage(text).because(error),
                _ => Error::failed(text).because(error),
            };
        }
        for diagnostic in error.diagnostics() {
            anstream::eprintln!("{}", shown(diagnostic));
        }
        Error::failed("cannot serve a configuration with errors")
    })?;
    // The same for people and scripts: whoever starts a server waits for this line.
    output.json(&Ready {
        ready: true,
        xds: control.xds_addr(),
        ca: None,
        admin: control.admin_addr(),
    })?;
    stop.cancelled().await;
    control.shutdown().await;
    Ok(Verdict::Right)
}

fn any_port() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

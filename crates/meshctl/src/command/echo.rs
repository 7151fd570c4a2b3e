use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use mesh_tower::Mesh;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::mesh;
use crate::echo::{Arrival, Chance, Echo, Settings, serve};
use crate::error::Error;
use crate::output::{Output, Verdict};
use crate::signal;

/// Arguments of `meshctl echo`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,

    /// Name to answer with.
    #[arg(long)]
    name: String,

    /// Version to answer with.
    #[arg(long, value_name = "V")]
    version: Option<String>,

    /// A second address, for those who keep gRPC apart. Both speak both.
    #[arg(long, value_name = "ADDR")]
    grpc: Option<SocketAddr>,

    /// Serve behind the mesh, with the bootstrap of the environment.
    #[arg(long)]
    mesh: bool,

    /// Answer this share of the requests with this status.
    #[arg(long, value_name = "CODE:PERCENT")]
    fail: Option<Chance>,

    /// Wait this many milliseconds before each answer.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    delay: u64,

    /// Fixes the draws of --fail and x-echo-status.
    #[arg(long)]
    seed: Option<u64>,

    /// Print a line for every request that arrives.
    #[arg(long)]
    log: bool,
}

#[derive(Debug, Serialize)]
struct Ready {
    ready: bool,
    http: SocketAddr,
    grpc: Option<SocketAddr>,
}

pub(crate) async fn run(output: Output, arguments: Arguments) -> Result<Verdict, Error> {
    let settings = settings(output, &arguments);
    let echo = Echo::new(settings).map_err(|error| Error::usage(error.to_string()))?;
    let stop = signal::stop()?;
    let mesh = match arguments.mesh {
        true => Some(mesh::join(None)?),
        false => None,
    };
    let http = Port::listen(arguments.listen, mesh.as_ref()).await?;
    let grpc = match arguments.grpc {
        Some(address) => Some(Port::listen(address, mesh.as_ref()).await?),
        None => None,
    };
    let addresses = (http.address, grpc.as_ref().map(|port| port.address));
    let ready = async {
        if let Some(mesh) = &mesh {
            // A server behind the mesh refuses connections until it is configured.
            tokio::select! {
                () = serving(mesh) => {}
                () = stop.cancelled() => return Ok(()),
            }
        }
        let (http, grpc) = addresses;
        output.json(&Ready { ready: true, http, grpc })
    };
    let second = async {
        match grpc {
            Some(port) => port.serve(echo.clone(), stop.clone()).await,
            None => Ok(()),
        }
    };
    let served = async {
        tokio::try_join!(http.serve(echo.clone(), stop.clone()), second)
            .map_err(|error| Error::failed("the server stopped").because(error))
    };
    tokio::try_join!(served, ready)?;
    Ok(Verdict::Right)
}

/// Waits until all servers of the mesh take connections.
async fn serving(mesh: &Mesh) {
    mesh.readiness().changed_from(false).await;
}

/// One address that is served.
struct Port {
    address: SocketAddr,
    server: Listener,
}

enum Listener {
    Plain(TcpListener),
    Mesh(Box<mesh_tower::Server>),
}

impl Port {
    async fn listen(address: SocketAddr, mesh: Option<&Mesh>) -> Result<Self, Error> {
        let failed = |error| Error::failed(format!("cannot listen on {address}")).because(error);
        Ok(match mesh {
            Some(mesh) => {
                let server = mesh_tower::Server::bind(mesh, address).await.map_err(failed)?;
                Self { address: server.local_addr(), server: Listener::Mesh(Box::new(server)) }
            }
            None => {
                let listener = TcpListener::bind(address).await.map_err(failed)?;
                let address = listener.local_addr().map_err(failed)?;
                Self { address, server: Listener::Plain(listener) }
            }
        })
    }

    async fn serve(self, echo: Echo, stop: CancellationToken) -> io::Result<()> {
        match self.server {
            Listener::Plain(listener) => serve(listener, echo, stop).await,
            Listener::Mesh(server) => {
                server.with_graceful_shutdown(stop.cancelled_owned()).serve(echo).await
            }
        }
    }
}

/// What is printed of a request that arrived.
#[derive(Debug, Serialize)]
struct Seen<'a> {
    request: &'a Arrival<'a>,
}

/// For scripts. A reader that is gone is no reason to end: the server has others to answer.
fn log_json(arrival: &Arrival<'_>) {
    _ = Output::new(true).json(&Seen { request: arrival });
}

/// For people.
fn log_text(arrival: &Arrival<'_>) {
    let Arrival { at_us, method, path, .. } = arrival;
    _ = Output::new(false).line(&format!("{:>10.3} ms {method} {path}", *at_us as f64 / 1e3));
}

fn settings(output: Output, arguments: &Arguments) -> Settings {
    let mut settings =
        Settings::new(&arguments.name).with_delay(Duration::from_millis(arguments.delay));
    if let Some(version) = &arguments.version {
        settings = settings.with_version(version);
    }
    if let Some(fail) = arguments.fail {
        settings = settings.with_fail(fail);
    }
    if let Some(seed) = arguments.seed {
        settings = settings.with_seed(seed);
    }
    if arguments.log {
        settings = settings.with_log(if output.is_json() { log_json } else { log_text });
    }
    settings
}

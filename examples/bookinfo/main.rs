//! Bookinfo in a mesh without sidecars, on one machine: `cargo run --example bookinfo`.
//!
//! Seven processes: a control plane over a folder of Istio YAML, and the six workloads of
//! Bookinfo. While requests flow through productpage, the rules for reviews are edited, then the
//! control plane is killed and started again.
//!
//! ```text
//! people ──▶ productpage ──▶ details
//!                  └───────▶ reviews v1 | v2 | v3 ──▶ ratings     (v2 HTTP, v3 gRPC)
//!
//! reviews.yaml ──▶ control plane ──xDS──▶ the mesh inside each process
//! ```
//!
//! The program is each of them, by `--role`. The applications (`app/`) are what users would write;
//! the rest starts them, makes the requests, and tells what it saw. Exit status 0 means that all
//! of it held: every share, no request failed, no old route a second after the edit.

mod addresses;
mod app;
mod clock;
mod process;
mod report;
mod role;
mod rules;
mod run;
mod tally;
mod town;
mod traffic;

use std::convert::Infallible;
use std::process::ExitCode;

use clap::Parser;
use tower::BoxError;
use tracing_subscriber::EnvFilter;

use addresses::Addresses;
use rules::ALL_VERSIONS;
use run::Options;
use town::Town;

/// Bookinfo in a mesh: routes that change under traffic, and a control plane that goes away.
#[derive(Debug, Parser)]
#[command(name = "bookinfo")]
struct Arguments {
    /// Keep Bookinfo up, print its address, and make no requests.
    #[arg(long)]
    serve: bool,

    /// Fixes the weighted draws.
    #[arg(long, default_value_t = SEED)]
    seed: u64,

    /// Requests under the 90/10 rules.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(100..))]
    requests: u64,

    /// Requests a second.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,

    /// Use ports of 127.0.0.1 instead of an address for each process.
    #[arg(long)]
    one_address: bool,

    #[command(flatten)]
    child: role::Child,
}

// One thread each: seven processes share the cores, and a seed gives productpage's draws an order.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    // Of what is normal here nothing is said: clients that lose their control plane would warn.
    let filter = EnvFilter::try_from_default_env();
    let filter = filter.unwrap_or_else(|_| EnvFilter::new("error,mesh_control=warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();

    let arguments = Arguments::parse();
    // To be interrupted is how serving ends, and how a run fails.
    let ending = if arguments.serve { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    let result = tokio::select! {
        result = chosen(arguments) => result,
        result = interrupted() => result.map(|()| ending),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

async fn chosen(arguments: Arguments) -> Result<ExitCode, BoxError> {
    let Arguments { seed, requests, rate, .. } = arguments;
    if let Some(role) = arguments.child.role {
        role::run(role, arguments.child, seed).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let addresses = if arguments.one_address { Addresses::Shared } else { Addresses::claim() };
    if arguments.serve {
        match serve(addresses, seed).await? {}
    }
    let report = run::run(addresses, Options { requests, rate, seed }).await?;
    println!("{report}");
    let problems = report.problems();
    for problem in &problems {
        eprintln!("error: {problem}");
    }
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Until the future is dropped.
async fn serve(addresses: Addresses, seed: u64) -> Result<Infallible, BoxError> {
    let town = Town::start(addresses, &ALL_VERSIONS, seed).await?;
    println!("page   http://{}/productpage", town.page_address());
    println!("rules  {} (edit and reload the page)", town.folder.reviews().display());
    println!("Ctrl-C ends it");
    std::future::pending().await
}

/// Ctrl-C or SIGTERM; what was running is then dropped, and every child with it.
async fn interrupted() -> Result<(), BoxError> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await?;
    Ok(())
}

/// Chosen so that the shares come out near the weights wherever in its sequence a phase begins.
const SEED: u64 = 28;

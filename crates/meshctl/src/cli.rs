use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::command::{bootstrap, echo, explain, fetch, load, serve, validate};
use crate::error::Error;
use crate::output::{Output, Verdict};

/// The command line of the mesh.
///
/// Exit status: 0 success, 1 the thing checked is wrong or failed, 2 usage.
#[derive(Debug, Parser)]
#[command(name = "meshctl", version, propagate_version = false)]
struct Cli {
    /// Print one JSON object a line instead of text.
    #[arg(long, global = true)]
    json: bool,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a control plane over the Istio YAML in a folder.
    Serve(serve::Arguments),
    /// Write the bootstrap of a workload.
    Bootstrap(bootstrap::Arguments),
    /// Run a server that tells what it saw, over HTTP/1.1, HTTP/2 and gRPC.
    Echo(echo::Arguments),
    /// Send one request through the mesh.
    Fetch(fetch::Arguments),
    /// Send many requests through the mesh and count what became of them.
    Load(load::Arguments),
    /// Check Istio YAML.
    Validate(validate::Arguments),
    /// Tell where a request would go, and why nowhere else.
    Explain(explain::Arguments),
}

/// Runs the command the process was started with.
pub fn main() -> ExitCode {
    let Cli { json, command } = Cli::parse();
    // Standard output belongs to results alone.
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(
            EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn")),
        )
        .init();
    match run(Output::new(json), command) {
        Ok(Verdict::Right) => ExitCode::SUCCESS,
        Ok(Verdict::Wrong) => ExitCode::from(1),
        Err(error) => {
            error.print();
            ExitCode::from(error.exit_status())
        }
    }
}

fn run(output: Output, command: Command) -> Result<Verdict, Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::failed("cannot start the runtime").because(error))?;
    runtime.block_on(async {
        match command {
            Command::Serve(arguments) => serve::run(output, arguments).await,
            Command::Bootstrap(arguments) => bootstrap::run(output, &arguments),
            Command::Echo(arguments) => echo::run(output, arguments).await,
            Command::Fetch(arguments) => fetch::run(output, arguments).await,
            Command::Load(arguments) => load::run(output, arguments).await,
            Command::Validate(arguments) => validate::run(output, &arguments),
            Command::Explain(arguments) => explain::run(output, arguments).await,
        }
    })
}

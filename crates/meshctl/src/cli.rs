use std::process::ExitCode;

use clap::{Arg, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::command::{
    bootstrap, check_balance, check_routes, echo, explain, fetch, load, serve, validate,
};
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
    ///
    /// Answers are JSON: what arrived. Headers of a request, or metadata of a call of its gRPC
    /// service mesh.echo.v1.Echo (Unary, ServerStream, ClientStream, Bidi; with reflection), steer
    /// it: x-echo-status: CODE[:PERCENT], x-echo-delay-ms: N, x-echo-close: 1,
    /// x-echo-grpc-status: N, x-echo-body-bytes: N, x-echo-response-header: K=V.
    Echo(echo::Arguments),
    /// Send one request through the mesh.
    Fetch(fetch::Arguments),
    /// Send many requests through the mesh and count what became of them.
    Load(load::Arguments),
    /// Check Istio YAML.
    Validate(validate::Arguments),
    /// Tell where a request would go, and why nowhere else.
    Explain(explain::Arguments),
    /// Tell what becomes of recorded requests, each under its own configuration, as JSON lines.
    CheckRoutes(check_routes::Arguments),
    /// Tell which endpoints requests go to, each line under its own cluster, as JSON lines.
    CheckBalance(check_balance::Arguments),
}

/// Commands whose features do not exist. They are part of the contract all the same, so that
/// scripts learn that from what they are told, and not from a suggestion of another command.
const LATER: [&str; 21] = [
    "analyze",
    "apply",
    "authz",
    "ca",
    "certs",
    "clusters",
    "config",
    "delete",
    "demo",
    "diff",
    "edge",
    "endpoints",
    "inject",
    "routes",
    "simulate",
    "split",
    "stats",
    "status",
    "tap",
    "top",
    "translate",
];

/// What is logged where `RUST_LOG` does not say.
const LOGGED: &str = "warn,mesh_control=info";

/// Runs the command the process was started with.
pub fn main() -> ExitCode {
    let matches = arguments().get_matches();
    if let Some(name) = matches.subcommand_name().filter(|name| LATER.contains(name)) {
        let error = Error::not_yet_implemented(name);
        error.print();
        return ExitCode::from(error.exit_status());
    }
    let Cli { json, command } =
        Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    // Standard output belongs to results alone. Whoever edits the files of `serve` is told that
    // they are published.
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(
            EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOGGED)),
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

/// The arguments that are understood, and those that will be.
fn arguments() -> clap::Command {
    LATER.into_iter().fold(Cli::command(), |arguments, name| {
        let rest = Arg::new("rest").num_args(0..).trailing_var_arg(true).allow_hyphen_values(true);
        let later = clap::Command::new(name).hide(true).disable_help_flag(true).arg(rest);
        arguments.subcommand(later)
    })
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
            Command::CheckRoutes(arguments) => check_routes::run(output, &arguments),
            Command::CheckBalance(arguments) => check_balance::run(output, &arguments),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_consistent() {
        arguments().debug_assert();
    }

    #[test]
    fn takes_any_arguments_of_a_command_that_is_not_there() {
        for rest in [&["authz", "check", "--json"][..], &["ca", "init", "DIR"], &["top", "-h"]] {
            let matches = arguments().try_get_matches_from([&["meshctl"], rest].concat()).unwrap();
            assert!(matches.subcommand_name().is_some_and(|name| LATER.contains(&name)));
        }
        assert!(arguments().try_get_matches_from(["meshctl", "flatten"]).is_err());
    }
}

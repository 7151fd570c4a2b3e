//! Prints the tables of `mesh_peers`.

use std::process::ExitCode;

use mesh_peers::{Plan, chain, run, sidecar};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let measured = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => run(&Plan::full()),
        ["quick"] => run(&Plan::quick()),
        ["sidecar"] => sidecar(&Plan::full()),
        ["sidecar", "quick"] | ["quick", "sidecar"] => sidecar(&Plan::quick()),
        _ => {
            eprintln!("usage: peers [sidecar] [quick]");
            return ExitCode::from(2);
        }
    };
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

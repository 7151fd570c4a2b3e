//! Prints the tables of `mesh_peers`.

use std::process::ExitCode;

use mesh_peers::{Plan, chain, run};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let plan = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => Plan::full(),
        ["quick"] => Plan::quick(),
        _ => {
            eprintln!("usage: peers [quick]");
            return ExitCode::from(2);
        }
    };
    match run(&plan) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

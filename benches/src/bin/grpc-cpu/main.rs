//! CPU of the client's thread per unary gRPC call over loopback: a generated client over the mesh's
//! `Channel` beside the same client over tonic's own, one connection each, without a retry policy.
//!
//! `grpc-cpu [ROUNDS]`. Paired rounds in turning order; a ratio is that of one round. The server has
//! a thread of its own, which does not count.
//!
//! `grpc-cpu tonic|mesh BYTES IN_FLIGHT ROUNDS` runs one of them alone, for counting its
//! instructions, and `grpc-cpu allocations` counts theirs.

mod client;
mod server;

use std::net::SocketAddr;
use std::process::ExitCode;

use mesh_benches::paired::{Sender, Spread, rounds, runtime, send};
use tokio::task::LocalSet;

use client::Client;

/// Calls of each contender in a round.
const CALLS: usize = 20_000;

/// Calls of a round of one alone, which callgrind makes some fifty times slower.
const ROUND_ALONE: usize = 1_024;

const NAMES: [&str; 2] = ["tonic", "mesh"];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => table(9),
        ["allocations"] => {
            allocations();
            Some(())
        }
        [rounds] => rounds.parse().ok().filter(|rounds| *rounds > 0).and_then(table),
        [contender, bytes, in_flight, rounds] => alone(contender, [bytes, in_flight, rounds]),
        _ => None,
    };
    if done.is_none() {
        eprintln!("usage: grpc-cpu [ROUNDS]");
        eprintln!("       grpc-cpu tonic|mesh BYTES IN_FLIGHT ROUNDS");
        eprintln!("       grpc-cpu allocations");
        return ExitCode::from(2);
    }
    ExitCode::SUCCESS
}

/// All rows.
fn table(count: usize) -> Option<()> {
    println!("| bytes | in flight | tonic µs | mesh | 25 % | 75 % | throughput, mesh / tonic |");
    println!("|---|---|---|---|---|---|---|");
    let to = server::start();
    for bytes in [0, 1024] {
        for in_flight in [16, 64] {
            let (runtime, all) = (runtime(), LocalSet::new());
            let contenders =
                [0, 1].map(|contender| all.block_on(&runtime, clients(contender, to, in_flight)));
            let [tonic, mesh] = rounds((&runtime, &all), contenders, (bytes, CALLS), count);
            let ratio = Spread::ratio(&mesh, &tonic, |took| took.cpu);
            println!(
                "| {bytes} | {in_flight} | {:.2} | {:.3} | {:.3} | {:.3} | {:.3} |",
                Spread::of(tonic.iter().map(|took| took.cpu)).median / 1000.0,
                ratio.median,
                ratio.low,
                ratio.high,
                Spread::ratio(&tonic, &mesh, |took| took.time).median,
            );
        }
    }
    Some(())
}

/// As many users of one connection as there are to be calls at once.
async fn clients(contender: usize, to: SocketAddr, in_flight: usize) -> Vec<Client> {
    let client = match contender {
        0 => Client::tonic(to).await,
        _ => Client::mesh(to).await,
    };
    vec![client; in_flight]
}

/// One contender: a round that makes connections, and that many more.
fn alone(contender: &str, numbers: [&str; 3]) -> Option<()> {
    let contender = NAMES.iter().position(|name| *name == contender)?;
    let [bytes, in_flight, rounds] = numbers.map(|number| number.parse().ok());
    let (runtime, all) = (runtime(), LocalSet::new());
    let started = clients(contender, server::start(), in_flight?);
    let mut clients = all.block_on(&runtime, started);
    for _ in 0..=rounds? {
        (clients, _) = all.block_on(&runtime, send(clients, bytes?, ROUND_ALONE));
    }
    Some(())
}

/// Allocations of one call, in the client's thread.
fn allocations() {
    const WARM: usize = 100;
    const COUNTED: usize = 1_000;
    let to = server::start();
    for (contender, name) in NAMES.iter().enumerate() {
        let runtime = runtime();
        let mut client = runtime.block_on(clients(contender, to, 1)).remove(0);
        let mut calls = |count| {
            runtime.block_on(async {
                for _ in 0..count {
                    client.send(0).await;
                }
            });
        };
        calls(WARM);
        let counted = allocation_counter::measure(|| calls(COUNTED));
        println!("{name}: {:.1} allocations", counted.count_total as f64 / COUNTED as f64);
    }
}

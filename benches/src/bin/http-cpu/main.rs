//! CPU of the client's thread per request over loopback: a `Channel` of the mesh beside hyper's own
//! `SendRequest` on the same kind of connection, with and without Istio's default retry policy.
//!
//! `http-cpu [ROUNDS]`. Paired rounds in turning order; a ratio is that of one round. The server has
//! a thread of its own, which does not count.
//!
//! `http-cpu http1|http2 raw|mesh|retries BYTES IN_FLIGHT ROUNDS` runs one of them alone, for counting
//! its instructions: `benches/http-instructions`.

mod client;
mod server;

use std::net::SocketAddr;
use std::process::ExitCode;

use tokio::runtime::Runtime;
use tokio::task::LocalSet;

use client::{Client, Mesh, Raw};

/// Requests of each contender in a round.
const REQUESTS: usize = 20_000;

/// Requests of a round of one alone, which callgrind makes some fifty times slower.
const ROUND_ALONE: usize = 1_024;

/// Which HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Http1,
    Http2,
}

/// What is measured in one row.
#[derive(Clone, Copy, Debug)]
struct Case {
    version: Version,
    /// Bytes of each request's body and of each answer's.
    bytes: usize,
    in_flight: usize,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => table(9),
        [rounds] => rounds.parse().ok().filter(|rounds| *rounds > 0).and_then(table),
        [version, contender, bytes, in_flight, rounds] => {
            alone(version, contender, [bytes, in_flight, rounds])
        }
        _ => None,
    };
    if done.is_none() {
        eprintln!("usage: http-cpu [ROUNDS]");
        eprintln!("       http-cpu http1|http2 raw|mesh|retries BYTES IN_FLIGHT ROUNDS");
        return ExitCode::from(2);
    }
    ExitCode::SUCCESS
}

/// All rows.
fn table(rounds: usize) -> Option<()> {
    println!("| | bytes | in flight | raw µs | mesh | 25 % | retry policy | 25 % |");
    println!("|---|---|---|---|---|---|---|---|");
    for version in [Version::Http1, Version::Http2] {
        let to = server::start(version);
        for bytes in [0, 1024] {
            for in_flight in [16, 64] {
                row(Case { version, bytes, in_flight }, to, rounds);
            }
        }
    }
    Some(())
}

/// One contender: a round that makes connections, and that many more.
fn alone(version: &str, contender: &str, numbers: [&str; 3]) -> Option<()> {
    let version = match version {
        "http1" => Version::Http1,
        "http2" => Version::Http2,
        _ => return None,
    };
    let contender = ["raw", "mesh", "retries"].iter().position(|name| *name == contender)?;
    let [bytes, in_flight, rounds] = numbers.map(|number| number.parse().ok());
    let case = Case { version, bytes: bytes?, in_flight: in_flight? };
    let (runtime, all) = (runtime(), LocalSet::new());
    let mut clients = all.block_on(&runtime, clients(case, server::start(version), contender));
    for _ in 0..=rounds? {
        (clients, _) = all.block_on(&runtime, send(clients, case, ROUND_ALONE));
    }
    Some(())
}

fn runtime() -> Runtime {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime can be built")
}

/// Those of one contender: raw, the mesh, the mesh with a retry policy.
async fn clients(case: Case, to: SocketAddr, contender: usize) -> Vec<Client> {
    if contender == 0 {
        return Raw::open(case, to).await.into_iter().map(Client::Raw).collect();
    }
    let mesh = Mesh::new(case, to, contender == 2);
    (0..case.in_flight).map(|_| Client::Mesh(mesh.clone())).collect()
}

/// Measures one row and prints it.
fn row(case: Case, to: SocketAddr, rounds: usize) {
    let (runtime, all) = (runtime(), LocalSet::new());
    let mut contenders =
        [0, 1, 2].map(|contender| all.block_on(&runtime, clients(case, to, contender)));
    let mut measured = [const { Vec::new() }; 3];
    for round in 0..=rounds {
        for turn in 0..contenders.len() {
            let at = (round + turn) % contenders.len();
            let each =
                all.block_on(&runtime, send(std::mem::take(&mut contenders[at]), case, REQUESTS));
            let (clients, nanos) = each;
            contenders[at] = clients;
            // The first round makes connections.
            if round > 0 {
                measured[at].push(nanos);
            }
        }
    }
    let [raw, mesh, retries] = measured;
    let over_raw = |these: &[f64]| sorted(these.iter().zip(&raw).map(|(one, raw)| one / raw));
    let (mesh, retries) = (over_raw(&mesh), over_raw(&retries));
    let at = |list: &[f64], part: usize| list[(list.len() - 1) * part / 4];
    println!(
        "| {:?} | {} | {} | {:.2} | {:.3} | {:.3} | {:.3} | {:.3} |",
        case.version,
        case.bytes,
        case.in_flight,
        at(&sorted(raw.iter().copied()), 2) / 1000.0,
        at(&mesh, 2),
        at(&mesh, 1),
        at(&retries, 2),
        at(&retries, 1),
    );
}

fn sorted(figures: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut all: Vec<_> = figures.collect();
    all.sort_by(f64::total_cmp);
    all
}

/// Sends a round's requests, each client its share; nanoseconds of this thread per request.
async fn send(clients: Vec<Client>, case: Case, requests: usize) -> (Vec<Client>, f64) {
    let each = requests / case.in_flight;
    let before = mesh_benches::cpu_time();
    let start = |mut client: Client| {
        tokio::task::spawn_local(async move {
            for _ in 0..each {
                client.send(case.bytes).await;
            }
            client
        })
    };
    let tasks: Vec<_> = clients.into_iter().map(start).collect();
    let mut clients = Vec::with_capacity(tasks.len());
    for task in tasks {
        clients.push(task.await.expect("no request fails"));
    }
    let used = mesh_benches::cpu_time() - before;
    (clients, used as f64 / (each * case.in_flight) as f64)
}

//! CPU of the client's thread per request over loopback: a `Channel` of the mesh beside hyper's own
//! `SendRequest` on the same kind of connection, with and without Istio's default retry policy; and
//! its throughput beside that of hyper-util's legacy client, which has a pool and no mesh.
//!
//! `http-cpu [ROUNDS]`. Paired rounds in turning order; a ratio is that of one round. The server has
//! a thread of its own, which does not count.
//!
//! `http-cpu http1|http2 raw|mesh|retries|legacy BYTES IN_FLIGHT ROUNDS` runs one of them alone, for counting
//! its instructions: `benches/http-instructions`.

mod client;
mod server;

use std::net::SocketAddr;
use std::process::ExitCode;

use mesh_benches::paired::{Spread, rounds, runtime, send};
use tokio::task::LocalSet;

use client::{Client, Legacy, Mesh, Raw};

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
        eprintln!("       http-cpu http1|http2 raw|mesh|retries|legacy BYTES IN_FLIGHT ROUNDS");
        return ExitCode::from(2);
    }
    ExitCode::SUCCESS
}

/// All rows.
fn table(rounds: usize) -> Option<()> {
    println!(
        "| | bytes | in flight | raw µs | mesh | 25 % | retry policy | 25 % | legacy \
         | throughput, mesh / legacy | 75 % |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
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
    let contender = NAMES.iter().position(|name| *name == contender)?;
    let [bytes, in_flight, rounds] = numbers.map(|number| number.parse().ok());
    let case = Case { version, bytes: bytes?, in_flight: in_flight? };
    let (runtime, all) = (runtime(), LocalSet::new());
    let mut clients = all.block_on(&runtime, clients(case, server::start(version), contender));
    for _ in 0..=rounds? {
        (clients, _) = all.block_on(&runtime, send(clients, case.bytes, ROUND_ALONE));
    }
    Some(())
}

const NAMES: [&str; 4] = ["raw", "mesh", "retries", "legacy"];

/// Those of one contender, by the place of its name.
async fn clients(case: Case, to: SocketAddr, contender: usize) -> Vec<Client> {
    let each = |client: Client| match client {
        Client::Mesh(mesh) => (0..case.in_flight).map(|_| Client::Mesh(mesh.clone())).collect(),
        Client::Legacy(one) => (0..case.in_flight).map(|_| Client::Legacy(one.clone())).collect(),
        raw => vec![raw],
    };
    match contender {
        0 => Raw::open(case, to).await.into_iter().map(Client::Raw).collect(),
        3 => each(Client::Legacy(Legacy::new(case, to).into())),
        _ => each(Client::Mesh(Mesh::new(case, to, contender == 2))),
    }
}

/// Measures one row and prints it.
fn row(case: Case, to: SocketAddr, count: usize) {
    let (runtime, all) = (runtime(), LocalSet::new());
    let contenders =
        [0, 1, 2, 3].map(|contender| all.block_on(&runtime, clients(case, to, contender)));
    let load = (case.bytes, REQUESTS);
    let [raw, mesh, retries, legacy] = rounds((&runtime, &all), contenders, load, count);
    let by_cpu = |these: &[_]| Spread::ratio(these, &raw, |took| took.cpu);
    let throughput = Spread::ratio(&legacy, &mesh, |took| took.time);
    println!(
        "| {:?} | {} | {} | {:.2} | {:.3} | {:.3} | {:.3} | {:.3} | {:.3} | {:.3} | {:.3} |",
        case.version,
        case.bytes,
        case.in_flight,
        Spread::of(raw.iter().map(|took| took.cpu)).median / 1000.0,
        by_cpu(&mesh).median,
        by_cpu(&mesh).low,
        by_cpu(&retries).median,
        by_cpu(&retries).low,
        by_cpu(&legacy).median,
        throughput.median,
        throughput.high,
    );
}

//! CPU of the client's thread per request over loopback: a `Channel` of the mesh beside hyper's own
//! `SendRequest` on the same kind of connection, with and without Istio's default retry policy.
//!
//! `http-cpu [ROUNDS]`. Paired rounds in turning order; a ratio is that of one round. The server has
//! a thread of its own, which does not count.

mod client;
mod server;

use std::net::SocketAddr;
use std::process::ExitCode;

use tokio::task::LocalSet;

use client::{Client, Mesh, Raw};

/// Requests of each contender in a round.
const REQUESTS: usize = 20_000;

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
    let rounds = std::env::args().nth(1).map_or(Ok(9), |text| text.parse::<usize>());
    let Ok(rounds @ 1..) = rounds else {
        eprintln!("usage: http-cpu [ROUNDS]");
        return ExitCode::from(2);
    };
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
    ExitCode::SUCCESS
}

/// Measures one row and prints it.
fn row(case: Case, to: SocketAddr, rounds: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime can be built");
    let all = LocalSet::new();
    let mut contenders = all.block_on(&runtime, async {
        let mut raw = Vec::new();
        for client in Raw::open(case, to).await {
            raw.push(Client::Raw(client));
        }
        let mesh = |retries| {
            let mesh = Mesh::new(case, to, retries);
            (0..case.in_flight).map(|_| Client::Mesh(mesh.clone())).collect::<Vec<_>>()
        };
        [raw, mesh(false), mesh(true)]
    });
    let mut measured = [const { Vec::new() }; 3];
    for round in 0..=rounds {
        for turn in 0..contenders.len() {
            let at = (round + turn) % contenders.len();
            let each = all.block_on(&runtime, send(std::mem::take(&mut contenders[at]), case));
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
async fn send(clients: Vec<Client>, case: Case) -> (Vec<Client>, f64) {
    let each = REQUESTS / case.in_flight;
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

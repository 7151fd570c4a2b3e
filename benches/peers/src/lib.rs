//! The mesh's request path beside those of its peers, in one run.
//!
//! > Every contender gets the same configuration and the same requests, in turns.
//!
//! ```text
//! Shape ──protobuf──▶ ADS server (own thread) ──▶ mesh, tonic-xds ─┐
//!   │                                                tower stack ──┴─▶ stub, always ready
//!   └─────protobuf──▶ static bootstrap ──▶ Envoy ──▶ server on loopback
//! ```
//!
//! `cargo run --release --manifest-path benches/peers/Cargo.toml` prints Markdown; with `-- quick`
//! it takes fewer sizes and shorter batches. Envoy is the `ENVOY` of the environment, or `envoy` on
//! the path; without one its rows say that it was skipped, and why.
//!
//! `-- sidecar` instead measures what lies between a client and a server on loopback: nothing, the
//! mesh in the client, or Envoy as a process between them.
//!
//! Allocations are counted by a program of its own, which the first one has cargo run: a counting
//! allocator costs every allocation some nanoseconds, so that peers with many of them would look
//! slower than they are.

mod ads;
mod background;
mod config;
mod contender;
mod counting;
mod envoy;
mod machine;
mod pipeline;
mod plan;
mod report;
mod rounds;
mod scaling;
mod sidecar;

pub use contender::BoxError;
pub use counting::count_allocations;
pub use plan::Plan;
pub use report::chain;
pub use sidecar::run as sidecar;

use contender::Bench;

/// Measures all there is to measure and prints it.
///
/// # Errors
/// When a contender does not start or does not answer. An Envoy that does not is skipped.
pub fn run(plan: &Plan) -> Result<(), BoxError> {
    println!("{}\n", machine::describe(plan));
    // Everything in-process runs on one thread, so that its CPU time is all that a request costs.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let control = ads::Control::start()?;
    let bench = Bench { runtime: &runtime, control: &control };
    pipeline::run(&bench, plan)?;
    scaling::run(&bench, plan)
}

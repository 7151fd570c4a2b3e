//! Allocations per request, counted in a process of its own.

use std::process::{Command, Stdio};

use crate::ads::Control;
use crate::contender::{Batch, Bench, BoxError, Caller, Contender};
use crate::pipeline;

/// Prints allocations per request of the pipeline's contenders, in their order, one to a line.
/// `count` does the work it is given and says how often it allocated, on this thread.
///
/// # Errors
/// When a contender does not start or does not answer.
pub fn count_allocations(count: impl Fn(&mut dyn FnMut()) -> u64) -> Result<(), BoxError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let control = Control::start()?;
    let bench = Bench { runtime: &runtime, control: &control };
    for contender in pipeline::contenders(&bench)? {
        println!("{:.1}", each(&bench, &contender, &count)?);
    }
    Ok(())
}

fn each(
    bench: &Bench<'_>,
    contender: &Contender,
    count: impl Fn(&mut dyn FnMut()) -> u64,
) -> Result<f64, BoxError> {
    const COUNTED: u64 = 2_000;
    let batch = Batch { from: Caller::BlockOn, requests: COUNTED };
    contender.start(bench.runtime)?;
    // Clients are made and pools grow with the first requests.
    contender.run(bench.runtime, batch)?;
    let mut ran = Ok(());
    let counted = count(&mut || ran = contender.run(bench.runtime, batch));
    ran.map(|()| counted as f64 / COUNTED as f64)
}

/// The same from the program that counts; cargo builds it when it has to.
pub(crate) fn counted() -> Result<Vec<f64>, BoxError> {
    let cargo =
        std::env::var_os("CARGO").ok_or("allocations are counted under `cargo run` only")?;
    let output = Command::new(cargo)
        .args(["run", "--release", "--quiet", "--bin", "allocations", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("the program that counts allocations: {}", output.status).into());
    }
    let text = String::from_utf8(output.stdout)?;
    text.lines().map(|line| line.parse().map_err(BoxError::from)).collect()
}

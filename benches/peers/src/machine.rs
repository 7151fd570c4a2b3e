//! What was measured where.

use std::process::Command;

use crate::plan::Plan;

/// The versions built in, of what is measured against.
const LOCK: &str = include_str!("../Cargo.lock");
const PEERS: [&str; 5] = ["tonic-xds", "tower", "tonic", "hyper", "tokio"];

/// One paragraph: machine, compiler, versions, rounds.
pub(crate) fn describe(plan: &Plan) -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.and_then(|rest| rest.split_once(": ")).map_or("?", |(_, model)| model);
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or("?");
    let versions: Vec<_> =
        PEERS.iter().map(|name| format!("{name} {}", version(name).unwrap_or("?"))).collect();
    format!(
        "{cpus} CPUs ({model}), Linux {}, {}, release, thin LTO, one codegen unit; {}. Medians of \
         {} interleaved rounds in turning order; load average {load} at the start.",
        read("/proc/sys/kernel/osrelease").trim(),
        compiler(),
        versions.join(", "),
        plan.rounds,
    )
}

fn version(package: &str) -> Option<&'static str> {
    let after = LOCK.split_once(&format!("name = \"{package}\"\nversion = \""))?.1;
    after.split('"').next()
}

/// The compiler on the path: the one that built this when `cargo run` started it.
fn compiler() -> String {
    let output = Command::new("rustc").arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.unwrap_or_else(|_| "rustc ?".to_owned())
}

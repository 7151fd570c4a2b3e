//! Runs the pipeline a given number of times, for counting instructions and allocations.
//!
//! `pipeline-count stub|mesh|retries|wide N` runs it; `pipeline-count allocations` prints allocations
//! per request of each, as a JSON object. Instructions: `benches/instructions`.

use std::process::ExitCode;

use http::Request;
use mesh_benches::{Config, Stub, meshed, once};
use mesh_tower::Body;
use tower_service::Service;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime can be built");
    let _entered = runtime.enter();
    let retries = Config { retries: true, ..Config::default() };
    let wide = Config { endpoints: 10_000, ..Config::default() };
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["allocations"] => {
            let stub = allocations(&mut Stub);
            let mesh = allocations(&mut meshed(Config::default()));
            let retries = allocations(&mut meshed(retries));
            println!("{{\"stub\":{stub},\"mesh\":{mesh},\"retries\":{retries}}}");
        }
        ["stub", n] => return repeat(&mut Stub, n),
        ["mesh", n] => return repeat(&mut meshed(Config::default()), n),
        ["retries", n] => return repeat(&mut meshed(retries), n),
        ["wide", n] => return repeat(&mut meshed(wide), n),
        _ => {
            eprintln!("usage: pipeline-count allocations | stub|mesh|retries|wide N");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn repeat<S>(service: &mut S, times: &str) -> ExitCode
where
    S: Service<Request<Body>>,
{
    let Ok(times) = times.parse::<u64>() else { return ExitCode::from(2) };
    for _ in 0..times {
        once(service);
    }
    ExitCode::SUCCESS
}

/// Allocations of one request, after the first ones made the clients and grew the pools.
fn allocations<S>(service: &mut S) -> f64
where
    S: Service<Request<Body>>,
{
    const WARM: u64 = 1_000;
    const COUNTED: u64 = 1_000;
    for _ in 0..WARM {
        once(service);
    }
    let counted = allocation_counter::measure(|| {
        for _ in 0..COUNTED {
            once(service);
        }
    });
    counted.count_total as f64 / COUNTED as f64
}

//! Prints the allocations per request of each contender, one to a line.

use std::process::ExitCode;

fn main() -> ExitCode {
    let count = |work: &mut dyn FnMut()| allocation_counter::measure(work).count_total;
    match mesh_peers::count_allocations(count) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", mesh_peers::chain(&*error));
            ExitCode::FAILURE
        }
    }
}

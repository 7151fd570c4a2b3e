//! CPU per request of two threads against one, of the bare stub and of the mesh. What the mesh adds
//! to the stub's own factor is what its threads share.

use http::Request;
use mesh_benches::{Config, Stub, cpu_time, meshed, once};
use mesh_tower::Body;
use tower_service::Service;

/// How many requests each thread sends in a round.
const REQUESTS: u32 = 300_000;
const ROUNDS: usize = 9;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.expect("a runtime can be built");
    let _entered = runtime.enter();
    let mesh = meshed(Config::default());
    let mut ratios = Vec::new();
    println!("{:>10} {:>10} {:>10} {:>10} {:>8}", "stub 1", "stub 2", "mesh 1", "mesh 2", "ratio");
    for _ in 0..ROUNDS {
        let [stub_one, stub_two] = [1, 2].map(|threads| each(&Stub, threads));
        let [mesh_one, mesh_two] = [1, 2].map(|threads| each(&mesh, threads));
        let ratio = (mesh_two / mesh_one) / (stub_two / stub_one);
        println!("{stub_one:10.1} {stub_two:10.1} {mesh_one:10.1} {mesh_two:10.1} {ratio:8.2}");
        ratios.push(ratio);
    }
    ratios.sort_by(f64::total_cmp);
    println!("median ratio: {:.2}", ratios[ROUNDS / 2]);
}

/// Nanoseconds of CPU per request, of that many threads at once.
fn each<S>(service: &S, threads: u32) -> f64
where
    S: Service<Request<Body>> + Clone + Send,
{
    let used: u64 = std::thread::scope(|scope| {
        let spawn = |_| {
            let mut service = service.clone();
            scope.spawn(move || {
                let before = cpu_time();
                for _ in 0..REQUESTS {
                    once(&mut service);
                }
                cpu_time() - before
            })
        };
        let all: Vec<_> = (0..threads).map(spawn).collect();
        all.into_iter().map(|thread| thread.join().expect("the stub does not fail")).sum()
    });
    used as f64 / f64::from(REQUESTS * threads)
}

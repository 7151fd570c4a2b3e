//! Route changes under load: none fails, none is mixed, and each takes effect soon.
//!
//! Every generation has a subset of its own, so its cluster is new; a header set by the same
//! route; and a backend by turns. A request that saw two versions of the configuration would
//! carry the header of one and go to the cluster, or the backend, of the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::Request;
use mesh_tests::{Backend, Control, Load, eventually, mesh, send, yaml};
use mesh_tower::{Body, Channel, Record};

const CHANGES: usize = 100;
const RATE_PER_SECOND: u32 = 500;
/// 500 a second, each answered after 60 ms, are 30 in flight.
const DELAY_MS: &str = "60";
const IN_FLIGHT: usize = 20;
const BACKENDS: usize = 4;

/// One request: when it was decided, and by which generation in each part of the decision.
#[derive(Debug)]
struct Decided {
    at: Instant,
    result: Result<Parts, String>,
}

#[derive(Debug, PartialEq, Eq)]
struct Parts {
    /// By the header that the route set, as the backend saw it.
    header: usize,
    /// By the cluster that the route chose.
    cluster: usize,
    /// The backend that answered.
    backend: usize,
}

fn generation(number: usize) -> String {
    // The subset before is gone at once: requests decided on it must end well all the same.
    let version = number % BACKENDS + 1;
    let rule = format!(
        "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\n\
         metadata: {{name: echo}}\nspec:\n  host: echo\n  \
         subsets: [{{name: g{number}, labels: {{version: v{version}}}}}]\n"
    );
    let http = format!(
        "  - headers: {{request: {{set: {{x-generation: \"{number}\"}}}}}}\n    \
         route: [{{destination: {{host: echo, subset: g{number}}}}}]\n"
    );
    rule + &yaml::routes("echo", &http)
}

async fn decide(channel: Channel, seen: Arc<AtomicUsize>) -> Decided {
    let record = Record::new();
    let at = Instant::now();
    let result = async {
        let request = Request::get("/").header("x-echo-delay-ms", DELAY_MS);
        let request = request.extension(record.clone()).body(Body::empty())?;
        let answer = send(&channel, request).await?;
        let header = answer.seen_header("x-generation").ok_or("no generation")?.parse()?;
        let cluster = record.cluster().ok_or("no cluster")?;
        let subset = cluster.split('|').nth(2).ok_or("no subset")?;
        let version = answer.version().strip_prefix('v').ok_or("no version")?;
        seen.fetch_max(header, Ordering::Relaxed);
        Ok(Parts {
            header,
            cluster: subset.trim_start_matches('g').parse()?,
            backend: version.parse::<usize>()? - 1,
        })
    }
    .await;
    Decided { at, result: result.map_err(|error: mesh_tower::BoxError| error.to_string()) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn route_changes_under_load_fail_nothing_and_mix_nothing() {
    let _turn = super::turn().await;
    let backends = Backend::versions("echo", BACKENDS).await;
    let service = yaml::service_of("echo", 9080, "HTTP", &backends);
    let files = [("service.yaml", service.as_str()), ("routes.yaml", &generation(0))];
    let control = Control::start(&files).await;
    let mesh = mesh(control.xds());
    let channel = Channel::new(&mesh, "echo:9080").unwrap();
    channel.ready().await.unwrap();

    let seen = Arc::new(AtomicUsize::new(0));
    let requests = {
        let seen = seen.clone();
        move |_| decide(channel.clone(), seen.clone())
    };
    let load = Load::start(RATE_PER_SECOND, requests);
    let mut saved = vec![Instant::now()];
    for number in 1..=CHANGES {
        eventually("load in flight", || (load.in_flight() >= IN_FLIGHT).then_some(())).await;
        saved.push(control.write("routes.yaml", &generation(number)));
        let taken = || (seen.load(Ordering::Relaxed) >= number).then_some(());
        eventually(&format!("request on generation {number}"), taken).await;
    }
    let decided = load.finish().await;

    let failed: Vec<_> = decided.iter().filter(|request| request.result.is_err()).collect();
    assert!(failed.is_empty(), "{} of {} failed: {failed:?}", failed.len(), decided.len());
    let parts = |request: &Decided| request.result.as_ref().map(|parts| parts.header).unwrap();
    for request in &decided {
        let Parts { header, cluster, backend } = request.result.as_ref().unwrap();
        assert_eq!((cluster, *backend), (header, header % BACKENDS), "mixed: {request:?}");
    }
    // From each save to the last request that was still decided by what was there before.
    let mut delays: Vec<Duration> = (1..=CHANGES)
        .map(|number| {
            let old = decided.iter().filter(|request| parts(request) < number);
            let last = old.map(|request| request.at).max().unwrap();
            last.saturating_duration_since(saved[number])
        })
        .collect();
    delays.sort_unstable();
    let (p50, p99) = (delays[CHANGES / 2 - 1], delays[CHANGES - 2]);
    println!(
        "{CHANGES} route changes under {} requests: 0 failed, 0 mixed; from save to the last \
         request on the old route p50 {p50:.1?}, p99 {p99:.1?}, max {:.1?}",
        decided.len(),
        delays[CHANGES - 1],
    );
    assert!(p99 <= Duration::from_secs(1), "p99 {p99:?}");
}

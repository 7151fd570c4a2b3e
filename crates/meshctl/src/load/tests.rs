use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::StatusCode;
use mesh_core::exchange::ResponseFlags;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::answer::{Answer, Failure, GrpcEnd, Way};

const PLAN: Plan = Plan { requests: None, duration: None, rate_per_second: None, concurrency: 2 };

/// Runs a plan against a server that takes `service` for each request. Returns the latencies, the
/// most requests in flight at once, and how many did not end.
async fn load(plan: Plan, service: Duration) -> (Vec<Duration>, usize, u64) {
    let latencies = Arc::new(Mutex::new(Vec::new()));
    let flight = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
    let (seen, counts) = (latencies.clone(), flight.clone());
    let call = move || {
        let counts = counts.clone();
        async move {
            let now = counts.0.fetch_add(1, Ordering::Relaxed) + 1;
            counts.1.fetch_max(now, Ordering::Relaxed);
            sleep(service).await;
            counts.0.fetch_sub(1, Ordering::Relaxed);
            Answer::default()
        }
    };
    let record = move |_, latency| seen.lock().unwrap().push(latency);
    let unfinished = run(plan, call, record, CancellationToken::new()).await;
    let latencies = latencies.lock().unwrap().clone();
    (latencies, flight.1.load(Ordering::Relaxed), unfinished)
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[tokio::test(start_paused = true)]
async fn closed_loop_keeps_its_workers_busy() {
    let start = Instant::now();
    let plan = Plan { requests: Some(10), ..PLAN };
    let (latencies, most, unfinished) = load(plan, ms(100)).await;
    assert_eq!(latencies, [ms(100); 10]);
    assert_eq!((most, unfinished), (2, 0));
    assert_eq!(start.elapsed(), ms(500));
}

#[tokio::test(start_paused = true)]
async fn closed_loop_stops_starting_after_its_duration() {
    let plan = Plan { duration: Some(ms(250)), ..PLAN };
    let (latencies, _, _) = load(plan, ms(100)).await;
    assert_eq!(latencies.len(), 6);
}

#[tokio::test(start_paused = true)]
async fn open_loop_starts_by_the_clock() {
    let start = Instant::now();
    let plan = Plan { requests: Some(11), rate_per_second: Some(10.0), concurrency: 100, ..PLAN };
    let (latencies, most, _) = load(plan, ms(250)).await;
    assert_eq!(latencies, [ms(250); 11]);
    assert_eq!(most, 3);
    assert_eq!(start.elapsed(), ms(1_250));
}

#[tokio::test(start_paused = true)]
async fn open_loop_counts_the_wait_for_a_free_worker() {
    let plan = Plan { requests: Some(3), rate_per_second: Some(10.0), concurrency: 1, ..PLAN };
    let (latencies, most, _) = load(plan, ms(300)).await;
    assert_eq!(most, 1);
    assert_eq!(latencies, [ms(300), ms(500), ms(700)]);
}

#[tokio::test(start_paused = true)]
async fn gives_up_on_requests_that_never_end() {
    let start = Instant::now();
    let plan = Plan { duration: Some(ms(100)), ..PLAN };
    let (latencies, _, unfinished) = load(plan, Duration::from_secs(3_600)).await;
    assert_eq!((latencies.len(), unfinished), (0, 2));
    assert_eq!(start.elapsed(), ms(15_100));
}

#[tokio::test(start_paused = true)]
async fn stops_when_told() {
    let stop = CancellationToken::new();
    let call = || async {
        sleep(ms(10)).await;
        Answer::default()
    };
    let load = tokio::spawn(run(PLAN, call, |_, _| {}, stop.clone()));
    sleep(ms(105)).await;
    stop.cancel();
    let stopped = Instant::now();
    assert_eq!(load.await.unwrap(), 0);
    assert_eq!(stopped.elapsed(), ms(5));
}

fn answer(name: Option<&str>) -> Answer {
    let mut answer = Answer {
        status: StatusCode::OK,
        way: Way { endpoint: Some("127.0.0.1:80".parse().unwrap()), attempts: 1, ..Way::default() },
        ..Answer::default()
    };
    if let Some(name) = name {
        answer.headers.insert("x-echo-name", name.parse().unwrap());
    }
    answer
}

#[test]
fn counts_everything_the_contract_names() {
    let mut tally = Tally::new();
    let mut versioned = answer(Some("reviews"));
    versioned.headers.insert("x-echo-version", "v2".parse().unwrap());
    tally.record(&versioned, ms(1));
    tally.record(&answer(Some("ratings")), ms(2));
    tally.record(
        &Answer {
            status: StatusCode::SERVICE_UNAVAILABLE,
            grpc: Some(GrpcEnd { status: 14, message: String::new() }),
            failure: Some(Failure { kind: "connect".to_owned(), text: String::new() }),
            way: Way {
                attempts: 3,
                flags: ResponseFlags::UPSTREAM_CONNECTION_FAILURE
                    | ResponseFlags::UPSTREAM_RETRY_LIMIT_EXCEEDED,
                details: Some("because".to_owned()),
                ..Way::default()
            },
            ..Answer::default()
        },
        ms(3),
    );
    tally.abandon(2);
    assert!(tally.is_answered());
    let report = serde_json::to_value(tally.report(ms(2_500))).unwrap();
    let expected = serde_json::json!({
        "requests": 5,
        "rps": 2.0,
        "status": {"200": 2, "503": 1},
        "grpc_status": {"14": 1},
        "by": {"ratings/-": 1, "reviews/v2": 1},
        "endpoints": {"127.0.0.1:80": 2},
        "attempts": {"1": 2, "3": 1},
        "flags": {"UF": 1, "URX": 1},
        "details": {"because": 1},
        "errors": {"connect": 1, "unfinished": 2},
        "latency_us": {"p50": 2000, "p90": 3001, "p99": 3001, "p999": 3001, "max": 3001},
        "duration_s": 2.5,
    });
    assert_eq!(report, expected);
}

#[test]
fn bounds_the_names_it_counts() {
    let mut tally = Tally::new();
    for index in 0..1_010 {
        tally.record(&answer(Some(&index.to_string())), ms(1));
    }
    let report = tally.report(ms(1));
    assert_eq!(report.by.len(), 1_001);
    assert_eq!(report.by["other"], 10);
}

#[test]
fn knows_when_nothing_answered() {
    let mut tally = Tally::new();
    assert!(!tally.is_answered());
    tally.abandon(1);
    assert!(!tally.is_answered());
    tally.record(&answer(None), ms(1));
    assert!(tally.is_answered());
}

//! Ten times what a service can do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::any;
use mesh_core::resource::Cluster;
use mesh_test::{Load, TestMesh, get};
use mesh_tower::{BoxError, Channel, ErrorKind};
use tokio::sync::Mutex;
use tokio::time::{MissedTickBehavior, interval};

use super::{TARGET, is_long, turn};

/// Requests at the service that keep it busy; a build without optimizations has no time for more.
const WORKERS: usize = if cfg!(debug_assertions) { 1 } else { 8 };

/// How long it works on as many: it answers one after the other at that pace.
const WORK: Duration = Duration::from_millis(10);

/// Requests from which its capacity is told, and how many times that is asked of it.
const MEASURED: usize = 100 * WORKERS;
const TIMES: u32 = 10;

/// What may be lost of the capacity, and how long what is shed may take.
const GOODPUT: f64 = 0.8;
const SHED: Duration = Duration::from_millis(5);
const RECOVERY: Duration = Duration::from_secs(5);
const GROWTH_BYTES: usize = 64 << 20;

/// Since when, for how long, and with what end.
struct Done {
    began: Instant,
    took: Duration,
    end: End,
}

#[derive(PartialEq, Eq, Debug)]
enum End {
    Answered,
    Shed,
    Failed,
}

async fn one(channel: Channel) -> Done {
    let began = Instant::now();
    let result = get(&channel, "/").await;
    let kind = |error: &BoxError| error.downcast_ref().map(mesh_tower::Error::kind);
    let end = match result {
        Ok(answer) if answer.status == 200 => End::Answered,
        Err(error) if kind(&error) == Some(ErrorKind::Overloaded) => End::Shed,
        _ => End::Failed,
    };
    Done { began, took: began.elapsed(), end }
}

fn load(channel: &Channel, rate_per_second: u32) -> Load<Done> {
    let channel = channel.clone();
    Load::start(rate_per_second, move |_| one(channel.clone()))
}

/// Answers a second when no more is asked than the service works on.
async fn capacity(channel: &Channel) -> f64 {
    let began = Instant::now();
    let callers = (0..WORKERS).map(|_| {
        let channel = channel.clone();
        tokio::spawn(async move {
            for _ in 0..MEASURED / WORKERS {
                assert_eq!(one(channel.clone()).await.end, End::Answered);
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    MEASURED as f64 / began.elapsed().as_secs_f64()
}

/// Resident memory of this process.
#[cfg(target_os = "linux")]
fn resident_bytes() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_times_the_capacity_is_shed_at_once_and_the_rest_is_served() {
    let _turn = turn().await;
    let mut pace = interval(WORK / u32::try_from(WORKERS).unwrap());
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let pace = Arc::new(Mutex::new(pace));
    let app = Router::new().fallback(any(move || {
        let pace = pace.clone();
        async move {
            pace.lock().await.tick().await;
        }
    }));
    // As many wait as are worked on: no worker is idle, and nobody waits for long.
    let limit = |cluster: &mut Cluster| {
        let limit = u32::try_from(2 * WORKERS).unwrap();
        cluster.circuit_breakers.default.max_requests = limit;
    };
    let test = TestMesh::fixed().service(TARGET, "v1", app).cluster(TARGET, limit).start().await;
    let channel = test.channel(TARGET);
    let capacity = capacity(&channel).await;

    let before = resident_bytes();
    let requests = load(&channel, capacity as u32 * TIMES);
    let (began, seconds) = (Instant::now(), if is_long() { 60 } else { 3 });
    requests.starts(capacity as usize * TIMES as usize * seconds).await;
    let lasted = began.elapsed();
    let done = requests.finish().await;
    let after = resident_bytes();

    assert!(done.iter().all(|one| one.end != End::Failed));
    let answered = done.iter().filter(|one| one.end == End::Answered).count();
    let goodput = answered as f64 / lasted.as_secs_f64() / capacity;
    let shed = done.iter().filter(|one| one.end == End::Shed);
    let mut shed: Vec<_> = shed.map(|one| one.took).collect();
    shed.sort_unstable();
    let most = shed[shed.len() * 99 / 100];
    let grown = after.saturating_sub(before);

    // Half of what it can do is served again, from when on?
    let requests = load(&channel, (capacity / 2.0) as u32);
    let ended = Instant::now();
    requests.starts((capacity / 2.0 * (RECOVERY.as_secs_f64() + 1.0)) as usize).await;
    let later = requests.finish().await;
    let lost = later.iter().filter(|one| one.end != End::Answered);
    let recovered = lost.map(|one| one.began - ended).max().unwrap_or_default();
    println!(
        "{} requests, {:.1} times the capacity of {capacity:.0} a second: {:.0} % of it served, \
         99 % of the {} shed ones within {most:.1?}, memory +{} MiB; all served after {recovered:.1?}",
        done.len(),
        done.len() as f64 / lasted.as_secs_f64() / capacity,
        goodput * 100.0,
        shed.len(),
        grown >> 20,
    );
    assert!(goodput >= GOODPUT, "{goodput:.2} of the capacity");
    assert!(most <= SHED, "{most:?}");
    assert!(grown <= GROWTH_BYTES, "{grown} bytes");
    assert!(recovered <= RECOVERY, "{recovered:?}");
}

//! Endpoints that die, vanish, or are slow, one of three and all of them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::any;
use http::Request;
use mesh_core::resource::{
    Action, Cluster, ClusterSpecifier, Forward, HealthCheck, HealthChecker, LbPolicy, RetryBudget,
    RetryConditions as On, RetryPolicy, Route, RouteMatch, TcpHealthCheck, UpstreamProtocol,
};
use mesh_test::fault::{Direction, Faults};
use mesh_test::{Load, TestMesh, eventually, send};
use mesh_tower::{Body, BoxError, Channel, ErrorKind, Record};

use super::{TARGET, ejection, is_long, retries, turn};

/// Requests a second, far from what a build of that kind can make.
const RATE_PER_SECOND: u32 = if cfg!(debug_assertions) { 300 } else { 2_000 };

fn app() -> Router {
    Router::new().fallback(any(|| async { "fine" }))
}

fn route(prefix: &str, policy: Option<RetryPolicy>) -> Route {
    let mut forward = Forward::new(ClusterSpecifier::Cluster(TARGET.into()));
    forward.retry_policy = policy.map(Into::into);
    Route::new(RouteMatch::prefix(prefix), Action::Forward(forward.into()))
}

/// Three endpoints; requests for `/once` are tried again only where nothing was sent.
async fn three(change: impl FnOnce(&mut Cluster) + Send + 'static) -> TestMesh {
    let mut policy = retries(On::FIVE_XX | On::RESET | On::CONNECT_FAILURE);
    policy.per_try_timeout = Some(Duration::from_millis(500));
    let once = retries(On::CONNECT_FAILURE | On::REFUSED_STREAM);
    TestMesh::fixed()
        .service(TARGET, "a", app())
        .service(TARGET, "b", app())
        .service(TARGET, "c", app())
        .routes(TARGET, [route("/once", Some(once)), route("/", Some(policy))])
        .cluster(TARGET, change)
        .start()
        .await
}

/// Envoy's three retries at once are fewer than what one endpoint has in flight.
fn every() -> RetryBudget {
    RetryBudget { budget_percent: 100.0, min_retry_concurrency: 100 }
}

/// One request: when it began, how long it took, its attempts and where it ended.
struct Done {
    began: Instant,
    took: Duration,
    record: Record,
    failure: Option<String>,
    kind: Option<ErrorKind>,
}

async fn one(channel: Channel, path: &'static str) -> Done {
    let (record, began) = (Record::new(), Instant::now());
    let request = Request::get(path).extension(record.clone()).body(Body::empty()).unwrap();
    let result = send(&channel, request).await;
    let failure = match &result {
        Ok(answer) if answer.status == 200 => None,
        Ok(answer) => Some(answer.status.to_string()),
        Err(error) => Some(error.to_string()),
    };
    let kind = |error: BoxError| error.downcast_ref().map(mesh_tower::Error::kind);
    let kind = result.err().and_then(kind);
    Done { began, took: began.elapsed(), record, failure, kind }
}

fn load(channel: &Channel, path: &'static str) -> Load<Done> {
    let channel = channel.clone();
    Load::start(RATE_PER_SECOND, move |_| one(channel.clone(), path))
}

fn went_to(done: &[Done], address: SocketAddr) -> usize {
    done.iter().filter(|one| one.record.endpoint() == Some(address)).count()
}

fn failures(done: &[Done]) -> Vec<&String> {
    done.iter().filter_map(|one| one.failure.as_ref()).collect()
}

/// As many requests as start in that time.
async fn lasts(seconds: f64, requests: &Load<Done>) {
    requests.starts((seconds * f64::from(RATE_PER_SECOND)) as usize).await;
}

async fn killed(protocol: UpstreamProtocol) {
    let _turn = turn().await;
    let test = three(move |cluster| {
        cluster.protocol = protocol;
        cluster.outlier_detection = Some(ejection().into());
        cluster.circuit_breakers.default.retry_budget = Some(every());
    })
    .await;
    let channel = test.channel(TARGET);
    let victim = test.endpoint(TARGET, "b");
    let (again, once) = (load(&channel, "/"), load(&channel, "/once"));
    lasts(1.0, &again).await;
    let in_flight = again.in_flight() + once.in_flight();
    let killed_at = Instant::now();
    victim.kill().await;
    lasts(1.5, &again).await;
    let healed_at = Instant::now();
    victim.heal().await;
    lasts(4.0, &again).await;
    let (again, once) = (again.finish().await, once.finish().await);

    assert!(failures(&again).is_empty(), "{:?}", failures(&again));
    // Those that were sent and not answered, and no others.
    let lost = failures(&once);
    let all_reset = once.iter().all(|one| one.kind.is_none_or(|kind| kind == ErrorKind::Reset));
    assert!(lost.len() <= in_flight.max(3) && all_reset, "{in_flight} in flight: {lost:?}");
    let late = |one: &&Done| {
        let since = one.began.saturating_duration_since(killed_at);
        since > Duration::from_secs(1) && one.began < healed_at && one.record.attempts() > 1
    };
    let late = again.iter().chain(&once).filter(late).count();
    assert!(late <= 1, "{late} requests still met it after a second");
    let back = again.iter().filter(|one| one.began > healed_at);
    let back: Vec<_> = back.filter(|one| one.record.endpoint() == Some(victim.address())).collect();
    let after = back.iter().map(|one| one.began - healed_at).min();
    assert!(after.is_some_and(|after| after < Duration::from_secs(5)), "back after {after:?}");
    println!(
        "{protocol:?}: one of three killed under {} requests: 0 of {} idempotent ones lost, {} \
         of {} others; back after {:.1?}",
        again.len() + once.len(),
        again.len(),
        lost.len(),
        once.len(),
        after.unwrap()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_endpoint_loses_nothing_that_may_be_sent_again() {
    killed(UpstreamProtocol::Http1).await;
    killed(UpstreamProtocol::Http2).await;
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vanished_endpoint_loses_nothing_that_may_be_sent_again() {
    let _turn = turn().await;
    let test = three(|cluster| {
        cluster.connect_timeout = Duration::from_millis(250);
        cluster.outlier_detection = Some(ejection().into());
        cluster.circuit_breakers.default.retry_budget = Some(every());
    })
    .await;
    let channel = test.channel(TARGET);
    let victim = test.endpoint(TARGET, "b");
    let requests = load(&channel, "/");
    lasts(1.0, &requests).await;
    victim.vanish().await;
    lasts(if is_long() { 20.0 } else { 4.0 }, &requests).await;
    let done = requests.finish().await;
    assert!(failures(&done).is_empty(), "{:?}", failures(&done));
    let met = done.iter().filter(|one| one.record.attempts() > 1).count();
    println!("one of three vanished: 0 of {} lost, {met} tried again", done.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_endpoint_gets_a_small_share_under_least_request() {
    let _turn = turn().await;
    let test =
        three(|cluster| cluster.lb_policy = LbPolicy::LeastRequest { choice_count: 2 }).await;
    let slow = test.endpoint(TARGET, "b");
    slow.set(Direction::ToClient, Faults::none().with_delay(Duration::from_millis(500)));
    // Nothing may be tried again elsewhere.
    let requests = load(&test.channel(TARGET), "/once");
    lasts(if is_long() { 20.0 } else { 4.0 }, &requests).await;
    let done = requests.finish().await;
    assert!(failures(&done).is_empty(), "{:?}", failures(&done));
    let share = went_to(&done, slow.address()) as f64 / done.len() as f64;
    println!("endpoint that is 500 ms slower: {:.1} % of {}", share * 100.0, done.len());
    assert!(share <= 0.1, "{:.1} %", share * 100.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_fail_at_once_while_all_are_down_and_recover_soon() {
    let _turn = turn().await;
    let test = three(|cluster| {
        let checker = HealthChecker::Tcp(TcpHealthCheck::default());
        let (timeout, interval) = (Duration::from_secs(1), Duration::from_millis(200));
        let mut check = HealthCheck::new(checker, timeout, interval, 2, 1);
        check.no_traffic_interval = interval;
        check.no_traffic_healthy_interval = interval;
        cluster.health_check = Some(check.into());
        cluster.balancing.healthy_panic_threshold = 0;
        let budget = RetryBudget { budget_percent: 20.0, min_retry_concurrency: 0 };
        cluster.circuit_breakers.default.retry_budget = Some(budget);
    })
    .await;
    let channel = test.channel(TARGET);
    let is_up = || async { one(channel.clone(), "/").await.failure.is_none() };
    assert!(is_up().await);
    for endpoint in test.endpoints(TARGET) {
        endpoint.kill().await;
    }
    // Checks find out; from then on nobody waits.
    let noticed = Arc::new(AtomicBool::new(false));
    let (seen, channel_of) = (noticed.clone(), channel.clone());
    let looks = Load::start(50, move |_| {
        let (seen, channel) = (seen.clone(), channel_of.clone());
        async move {
            let done = one(channel, "/").await;
            seen.fetch_or(done.kind == Some(ErrorKind::NoEndpoints), Ordering::Relaxed);
        }
    });
    eventually("notice", || noticed.load(Ordering::Relaxed).then_some(())).await;
    looks.finish().await;

    let requests = load(&channel, "/");
    lasts(if is_long() { 30.0 } else { 3.0 }, &requests).await;
    let done = requests.finish().await;
    let mut took: Vec<_> = done.iter().map(|one| one.took).collect();
    took.sort_unstable();
    let most = took[took.len() * 99 / 100];
    assert!(most <= Duration::from_millis(10), "99 % failed within {most:?}");
    assert!(done.iter().all(|one| one.kind == Some(ErrorKind::NoEndpoints)));
    let text = done[0].failure.as_ref().unwrap();
    for part in [TARGET, "listener", "route configuration", "cluster"] {
        assert!(text.contains(part), "no {part:?} in {text:?}");
    }
    let tried: u32 = done.iter().map(|one| one.record.attempts()).sum();
    assert_eq!(tried, 0, "nothing was sent");

    let healed_at = Instant::now();
    for endpoint in test.endpoints(TARGET) {
        endpoint.heal().await;
    }
    let answered = Arc::new(AtomicUsize::new(0));
    let (counted, channel_of) = (answered.clone(), channel.clone());
    let looks = Load::start(50, move |_| {
        let (counted, channel) = (counted.clone(), channel_of.clone());
        async move {
            let done = one(channel, "/").await;
            counted.fetch_add(done.failure.is_none().into(), Ordering::Relaxed);
        }
    });
    eventually("answer", || (answered.load(Ordering::Relaxed) > 0).then_some(())).await;
    let recovered = healed_at.elapsed();
    looks.finish().await;
    println!("all down: {} failed, 99 % within {most:.1?}; back after {recovered:.1?}", done.len());
    assert!(recovered <= Duration::from_secs(2), "{recovered:?}");
}

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use mesh_core::resource::{
    AbortKind, DelayKind, FaultAbort, FaultDelay, FractionalPercent, HttpFault, LbPolicy,
    OutlierDetection, RetryBudget, RetryConditions, RetryPolicy, RingHash, Thresholds, TokenBucket,
};
use tokio::time::Instant;
use tower::util::BoxCloneSyncService;
use tower::{Layer as _, ServiceExt as _};

use super::*;
use crate::body::Body;
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind};

type Client = BoxCloneSyncService<Request<Body>, Response<Body>, BoxError>;

/// A client that answers attempt by attempt; `None` never answers, and its last answer stays.
fn scripted(script: &[Option<u16>]) -> (Client, Arc<AtomicUsize>) {
    let (script, attempts) = (script.to_vec(), Arc::new(AtomicUsize::new(0)));
    let counted = attempts.clone();
    let client = tower::service_fn(move |request: Request<Body>| {
        let attempt = counted.fetch_add(1, Ordering::Relaxed);
        let act = script[attempt.min(script.len() - 1)];
        async move {
            let body = request.into_body().collect().await?.to_bytes();
            // Others have their turn first: what is sent together is under way together.
            tokio::task::yield_now().await;
            let Some(status) = act else { return std::future::pending().await };
            Ok::<_, BoxError>(Response::builder().status(status).body(Body::from(body))?)
        }
    });
    (BoxCloneSyncService::new(client), attempts)
}

fn request(body: &'static str) -> Request<Body> {
    Request::new(Body::from(body))
}

fn kind(error: &BoxError) -> ErrorKind {
    error.downcast_ref::<Error>().unwrap_or_else(|| panic!("another error: {error}")).kind()
}

fn policy(retries: u32) -> RetryPolicy {
    let mut policy = RetryPolicy::new(RetryConditions::FIVE_XX);
    policy.num_retries = retries;
    policy
}

#[tokio::test(start_paused = true)]
async fn retries_with_the_same_body_until_an_answer_counts() {
    let (client, attempts) = scripted(&[Some(503), None, Some(500), Some(200)]);
    let mut policy = policy(5);
    policy.per_try_timeout = Some(Duration::from_secs(1));
    let start = Instant::now();
    let response = RetryLayer::new(policy).layer(client).oneshot(request("kept")).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "kept");
    assert_eq!(attempts.load(Ordering::Relaxed), 4);
    // One attempt timed out, and three waits of 25, 50 and 100 ms at most.
    let took = start.elapsed();
    assert!((1000..1176).contains(&took.as_millis()), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn retries_end_with_their_number_and_with_the_deadline() {
    let (client, attempts) = scripted(&[Some(503)]);
    let layer = RetryLayer::new(policy(2));
    let response = layer.layer(client.clone()).oneshot(request("")).await.unwrap();
    assert_eq!((response.status().as_u16(), attempts.load(Ordering::Relaxed)), (503, 3));
    let mut late = request("");
    late.extensions_mut().insert(Deadline(Instant::now().into_std()));
    layer.layer(client).oneshot(late).await.unwrap();
    assert_eq!(attempts.load(Ordering::Relaxed), 4);
}

#[tokio::test(start_paused = true)]
async fn long_body_goes_on_without_another_attempt() {
    let (client, attempts) = scripted(&[Some(503), Some(200)]);
    let pieces = (0..10).map(|_| Ok::<_, BoxError>(Frame::data(Bytes::from_static(b"0123456789"))));
    let body = Body::new(StreamBody::new(futures_util::stream::iter(pieces)));
    let client = RetryLayer::new(policy(3)).with_body_cap(50).layer(client);
    let response = client.oneshot(Request::new(body)).await.unwrap();
    assert_eq!((response.status().as_u16(), attempts.load(Ordering::Relaxed)), (503, 1));
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes().len(), 100);
}

#[tokio::test(start_paused = true)]
async fn budget_bounds_what_a_failing_service_gets() {
    let (client, attempts) = scripted(&[Some(503)]);
    let budget = RetryBudget { budget_percent: 20.0, min_retry_concurrency: 0 };
    let client = RetryLayer::new(policy(3)).with_budget(budget).layer(client);
    let all = (0..100).map(|_| client.clone().oneshot(request("")));
    let answers = futures_util::future::join_all(all).await;
    assert!(answers.into_iter().all(|answer| answer.unwrap().status() == 503));
    let attempts = attempts.load(Ordering::Relaxed);
    assert!((110..=180).contains(&attempts), "{attempts} attempts of 100 requests");
}

#[tokio::test(start_paused = true)]
async fn timeout_ends_heads_and_bodies_and_the_sooner_deadline_counts() {
    let (never, _) = scripted(&[None]);
    let client = TimeoutLayer::new(Duration::from_secs(5)).layer(never.clone());
    let start = Instant::now();
    assert_eq!(kind(&client.clone().oneshot(request("")).await.unwrap_err()), ErrorKind::Deadline);
    assert_eq!(start.elapsed(), Duration::from_secs(5));
    let mut sooner = request("");
    sooner.extensions_mut().insert(Deadline((Instant::now() + Duration::from_secs(1)).into_std()));
    let start = Instant::now();
    assert_eq!(kind(&client.oneshot(sooner).await.unwrap_err()), ErrorKind::Deadline);
    assert_eq!(start.elapsed(), Duration::from_secs(1));

    let slow = tower::service_fn(|request: Request<Body>| async move {
        let Deadline(_) = request.extensions().get().expect("told of the deadline");
        let pending = futures_util::stream::pending::<Result<Frame<Bytes>, BoxError>>();
        Ok::<_, BoxError>(Response::new(Body::new(StreamBody::new(pending))))
    });
    let client = TimeoutLayer::new(Duration::from_secs(5)).layer(slow);
    let start = Instant::now();
    let body = client.oneshot(request("")).await.unwrap().into_body();
    assert_eq!(kind(&body.collect().await.unwrap_err()), ErrorKind::Deadline);
    assert_eq!(start.elapsed(), Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn circuit_breaker_counts_until_bodies_end_and_requests_are_given_up() {
    let mut limits = Thresholds::default();
    limits.max_requests = 2;
    let layer = CircuitBreakerLayer::new(limits);
    let (answers, _) = scripted(&[Some(200)]);
    let (never, _) = scripted(&[None]);
    let (answers, never) = (layer.layer(answers), layer.layer(never));
    let mut waiting = tokio_test_poll(never.clone().oneshot(request("")));
    let read = answers.clone().oneshot(request("body")).await.unwrap();
    let full = answers.clone().oneshot(request("")).await.unwrap_err();
    assert_eq!(kind(&full), ErrorKind::Overloaded);
    assert_eq!(read.into_body().collect().await.unwrap().to_bytes(), "body");
    answers.clone().oneshot(request("")).await.unwrap();
    waiting.take();
    for _ in 0..2 {
        answers.clone().oneshot(request("")).await.unwrap();
    }
}

/// A future that was polled once, and is held.
fn tokio_test_poll<F: Future>(future: F) -> Option<Pin<Box<F>>> {
    let mut future = Box::pin(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(future.as_mut().poll(&mut context).is_pending());
    Some(future)
}

#[tokio::test(start_paused = true)]
async fn fault_delays_then_aborts_a_share() {
    let (client, attempts) = scripted(&[Some(200)]);
    let mut fault = HttpFault::new();
    let all = FractionalPercent::percent(100);
    let kind = DelayKind::Fixed(Duration::from_secs(3));
    fault.delay = Some(FaultDelay { kind, percentage: all });
    let kind = AbortKind::HttpStatus(http::StatusCode::SERVICE_UNAVAILABLE);
    fault.abort = Some(FaultAbort { kind, percentage: FractionalPercent::percent(30) });
    let client = FaultLayer::new(fault).layer(client);
    let start = Instant::now();
    let requests = (0..1000).map(|_| client.clone().oneshot(request("")));
    let answers = futures_util::future::join_all(requests).await;
    assert_eq!(start.elapsed(), Duration::from_secs(3));
    let aborted = answers.iter().filter(|one| one.as_ref().unwrap().status() == 503).count();
    assert!((220..380).contains(&aborted), "{aborted} of 1000");
    assert_eq!(attempts.load(Ordering::Relaxed), 1000 - aborted);
}

#[tokio::test(start_paused = true)]
async fn rate_limit_gives_tokens_back_with_time() {
    let (client, attempts) = scripted(&[Some(200)]);
    let bucket = TokenBucket::new(2, 1, Duration::from_secs(1));
    let client = RateLimitLayer::new(bucket).layer(client);
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(client.clone().oneshot(request("")).await.unwrap().status().as_u16());
    }
    tokio::time::advance(Duration::from_secs(1)).await;
    for _ in 0..2 {
        statuses.push(client.clone().oneshot(request("")).await.unwrap().status().as_u16());
    }
    assert_eq!(statuses, [200, 200, 429, 200, 429]);
    assert_eq!(attempts.load(Ordering::Relaxed), 3);
}

#[tokio::test(start_paused = true)]
async fn ejected_endpoint_is_refused_until_its_time_is_over() {
    let mut detection = OutlierDetection::new();
    detection.consecutive_5xx = 2;
    detection.max_ejection_percent = 50;
    detection.base_ejection_time = Duration::from_secs(30);
    let layer = OutlierLayer::new(&Detector::new(detection));
    let (bad, attempts) = scripted(&[Some(500), Some(500), Some(200)]);
    let (good, _) = scripted(&[Some(200)]);
    let (bad, _good) = (layer.layer(bad), layer.layer(good));
    for _ in 0..2 {
        bad.clone().oneshot(request("")).await.unwrap();
    }
    assert_eq!(kind(&bad.clone().oneshot(request("")).await.unwrap_err()), ErrorKind::NoEndpoints);
    assert_eq!(attempts.load(Ordering::Relaxed), 2);
    // The first look begins the interval, so that the ejection may end one interval late.
    for _ in 0..4 {
        tokio::time::advance(Duration::from_secs(10)).await;
        let _refused = bad.is_ejected();
    }
    assert_eq!(bad.oneshot(request("")).await.unwrap().status(), 200);
}

fn named(names: &[&'static str]) -> Vec<(&'static str, Client)> {
    let one = |name: &'static str| {
        let client = tower::service_fn(move |_: Request<Body>| async move {
            Ok::<_, BoxError>(Response::new(Body::from(name)))
        });
        (name, BoxCloneSyncService::new(client))
    };
    names.iter().map(|name| one(name)).collect()
}

async fn name_of<S, B>(client: &S, request: Request<Body>) -> String
where
    S: tower_service::Service<Request<Body>, Response = Response<B>, Error = BoxError> + Clone,
    B: http_body::Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    let response = client.clone().oneshot(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn balance_follows_its_list_and_its_policy() {
    let client = Balance::new(named(&["a", "b", "c"])).with_policy(LbPolicy::RoundRobin);
    let mut counts = BTreeMap::new();
    for _ in 0..300 {
        *counts.entry(name_of(&client, request("")).await).or_insert(0) += 1;
    }
    assert_eq!(counts.into_values().collect::<Vec<_>>(), [100; 3]);
    client.set(named(&["b"]));
    for _ in 0..10 {
        assert_eq!(name_of(&client, request("")).await, "b");
    }
    client.set([]);
    let error = client.clone().oneshot(request("")).await.unwrap_err();
    assert_eq!(kind(&error), ErrorKind::NoEndpoints);
}

#[tokio::test(start_paused = true)]
async fn balance_sends_a_hash_to_one_place_while_it_is_there() {
    let ring = RingHash::default();
    let client = Balance::new(named(&["a", "b", "c"])).with_policy(LbPolicy::RingHash(ring));
    let hashed = |hash| {
        let mut request = request("");
        request.extensions_mut().insert(RequestHash(hash));
        request
    };
    let hashes = || (0..100_u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut before = Vec::new();
    for hash in hashes() {
        before.push(name_of(&client, hashed(hash)).await);
    }
    for (hash, before) in hashes().zip(&before) {
        assert_eq!(name_of(&client, hashed(hash)).await, *before);
    }
    client.set(named(&["a", "b"]));
    let mut stayed = 0;
    for (hash, before) in hashes().zip(&before) {
        stayed += usize::from(name_of(&client, hashed(hash)).await == *before);
    }
    // A third was at the one that is gone, and the places of the others become closer.
    assert!(stayed >= 40, "{stayed} of 100");
}

#[tokio::test(start_paused = true)]
async fn balance_leaves_out_a_service_that_fails() {
    let (bad, attempts) = scripted(&[Some(500)]);
    let mut services = named(&["a", "b"]);
    services.push(("bad", bad));
    let mut detection = OutlierDetection::new();
    detection.consecutive_5xx = 3;
    detection.max_ejection_percent = 50;
    let client =
        Balance::new(services).with_policy(LbPolicy::RoundRobin).with_outlier_detection(detection);
    for _ in 0..60 {
        client.clone().oneshot(request("")).await.unwrap();
    }
    assert_eq!(attempts.load(Ordering::Relaxed), 3);
}

#[tokio::test(start_paused = true)]
async fn split_is_by_weight_and_mirror_copies_a_share() {
    let services = named(&["one", "nine"]).into_iter().zip([10, 90]);
    let client = Split::new(services.map(|((key, service), weight)| (key, weight, service)));
    let copies = Arc::new(Mutex::new(Vec::new()));
    let seen = copies.clone();
    let mirror = tower::service_fn(move |request: Request<Body>| {
        let seen = seen.clone();
        async move {
            let host = request.headers()["host"].clone();
            let body = request.into_body().collect().await?.to_bytes();
            seen.lock().unwrap().push((host, body));
            Ok::<_, BoxError>(Response::new(Body::empty()))
        }
    });
    let client = MirrorLayer::of_share(mirror, 500_000).layer(client);
    let mut nines = 0;
    for _ in 0..1000 {
        let request = Request::get("/").header("host", "a:80").body(Body::from("text")).unwrap();
        nines += usize::from(name_of(&client, request).await == "nine");
        tokio::task::yield_now().await;
    }
    assert!((860..940).contains(&nines), "{nines} of 1000");
    // Copies run in tasks; each has had a turn.
    tokio::time::sleep(Duration::from_millis(1)).await;
    let copies = copies.lock().unwrap();
    assert!((420..580).contains(&copies.len()), "{} of 1000", copies.len());
    assert!(copies.iter().all(|(host, body)| host == "a-shadow:80" && body == "text"));
}

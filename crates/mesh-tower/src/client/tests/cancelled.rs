//! Requests that are given up, at every point where they wait and at random.

use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::Request;
use http_body_util::BodyExt as _;
use mesh_core::resource::{OutlierDetection, RetryConditions as On};
use tokio::task::JoinSet;

use super::script::{Fixture, Options, Step, retry};
use crate::{Body, Deadline};

/// A mesh whose requests are slow, retried, timed out, and watched.
fn fixture() -> Fixture {
    let mut policy = retry(On::FIVE_XX | On::RESET | On::CONNECT_FAILURE, 3);
    policy.per_try_timeout = Some(Duration::from_millis(40));
    let options = Options {
        timeout: Some(Duration::from_millis(200)),
        retry: Some(policy),
        cluster: |cluster| {
            let limits = &mut cluster.circuit_breakers.default;
            (limits.max_requests, limits.max_retries) = (1000, 100);
            cluster.outlier_detection = Some(Arc::new(OutlierDetection::new()));
        },
        ..Options::default()
    };
    Fixture::new([], options)
}

/// A step drawn from what endpoints do.
fn step() -> Step {
    match fastrand::u8(..10) {
        0 => Step::Answer(503),
        1 => Step::Refuse,
        2 => Step::Break,
        3 => Step::Hang,
        4..=6 => Step::Slow(Duration::from_millis(fastrand::u64(..60)), 200),
        _ => Step::Answer(200),
    }
}

#[tokio::test(start_paused = true)]
async fn request_given_up_at_any_of_its_waits_holds_nothing() {
    let steps =
        [Step::Answer(503), Step::Refuse, Step::Hang, Step::Slow(Duration::from_millis(10), 200)];
    // Each time it is polled once more before it is dropped, until it ends by itself.
    for polls in 0.. {
        let fixture = fixture();
        fixture.script.push(steps);
        let mut request = Box::pin(async {
            let response = fixture.send("body").await?;
            response.into_body().collect().await
        });
        let mut context = Context::from_waker(Waker::noop());
        let mut ended = false;
        for _ in 0..polls {
            ended = request.as_mut().poll(&mut context).is_ready();
            if ended {
                break;
            }
            tokio::time::advance(Duration::from_millis(5)).await;
        }
        drop(request);
        assert_eq!(fixture.under_way(), (0, 0, 0), "given up after {polls} polls");
        if ended {
            assert!(polls > 10, "it never waited");
            return;
        }
    }
}

/// How many requests are given up here, and in a long run.
const FEW: usize = 20_000;
const MANY: usize = 1_000_000;

/// Requests at once.
const AT_ONCE: usize = 100;

#[tokio::test(start_paused = true)]
async fn permits_and_gauges_return_to_zero_after_random_cancellations() {
    let is_long = std::env::var_os("MESH_SCENARIOS").is_some();
    let count = if is_long { MANY } else { FEW };
    let fixture = Arc::new(fixture());
    let (mut running, mut given_up) = (JoinSet::new(), 0);
    for number in 0..count {
        fixture.script.push([step()]);
        // What is kept of scripts and requests is not what is tested here.
        fixture.script.forget();
        let (fixture, patience) = (fixture.clone(), Duration::from_millis(fastrand::u64(..80)));
        running.spawn(async move {
            let request = Request::post("/").body(Body::from("body")).unwrap();
            let mut request = Some(request);
            if number % 7 == 0 {
                let until = tokio::time::Instant::now() + Duration::from_millis(30);
                request.as_mut().unwrap().extensions_mut().insert(Deadline(until.into_std()));
            }
            let sent = async {
                let response = fixture.call(request.take().unwrap()).await.ok()?;
                // Some bodies are never read, some not to their end.
                (number % 3 == 0).then_some(())?;
                response.into_body().collect().await.ok()
            };
            tokio::time::timeout(patience, sent).await.is_err()
        });
        while running.len() >= AT_ONCE {
            given_up += usize::from(running.join_next().await.unwrap().unwrap());
        }
    }
    while let Some(ended) = running.join_next().await {
        given_up += usize::from(ended.unwrap());
    }
    println!("{given_up} of {count} requests given up");
    assert!(given_up > count / 20, "{given_up} of {count}");
    assert_eq!(fixture.under_way(), (0, 0, 0));
    let snapshot = fixture.mesh.inner().hold();
    let cluster = snapshot.cluster_named("things").unwrap();
    assert!(cluster.admit().is_ok(), "there is room again");
}

/// Polling once is enough to know that nothing is held by a request that was never polled.
#[tokio::test(start_paused = true)]
async fn request_that_is_never_polled_holds_nothing_when_it_is_dropped() {
    let fixture = fixture();
    let request = Box::pin(fixture.send("body"));
    drop(request);
    assert_eq!(fixture.under_way(), (0, 0, 0));
    let mut first = Box::pin(fixture.send("body"));
    let mut context = Context::from_waker(Waker::noop());
    let polled: Poll<_> = first.as_mut().poll(&mut context);
    drop((polled, first));
    assert_eq!(fixture.under_way(), (0, 0, 0));
}

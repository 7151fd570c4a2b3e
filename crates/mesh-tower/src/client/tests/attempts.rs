use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use http::Request;
use http_body_util::BodyExt;
use mesh_core::Dialect;
use mesh_core::resource::{OutlierDetection, RetryBudget, RetryConditions as On};

use super::script::{Fixture, Options, Step, retry};
use crate::{Body, Deadline, ErrorKind, Record};

const MS: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn retries_with_the_same_path_and_body_on_another_endpoint() {
    let mut policy = retry(On::FIVE_XX, 2);
    policy.avoid_previous_hosts = true;
    policy.host_selection_retry_max_attempts = 5;
    let options = Options { retry: Some(policy), ..Options::default() };
    let fixture = Fixture::new([Step::Answer(503), Step::Break], options);
    let response = fixture.send("hello").await.unwrap();
    assert_eq!(response.status(), 200);
    let seen = fixture.script.seen();
    assert_eq!(seen.len(), 3);
    for attempt in &seen {
        assert_eq!((attempt.path.as_str(), &attempt.body[..]), ("/things", &b"hello"[..]));
    }
    let mut endpoints: Vec<_> = seen.iter().map(|attempt| attempt.endpoint).collect();
    endpoints.sort();
    endpoints.dedup();
    assert_eq!(endpoints.len(), 3, "each attempt goes to an endpoint not tried before");
}

#[tokio::test(start_paused = true)]
async fn takes_the_last_answer_when_retries_are_used_up() {
    let options = Options { retry: Some(retry(On::FIVE_XX, 2)), ..Options::default() };
    let fixture = Fixture::new([Step::Answer(503); 9], options);
    let response = fixture.send("").await.unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(fixture.script.seen().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn waits_between_attempts_within_the_backoff_caps() {
    let options = Options { retry: Some(retry(On::FIVE_XX, 4)), ..Options::default() };
    let fixture = Fixture::new([Step::Answer(503); 4], options);
    fixture.send("").await.unwrap();
    let at: Vec<_> = fixture.script.seen().iter().map(|attempt| attempt.at).collect();
    for (pair, cap) in at.windows(2).zip([25, 50, 100, 200]) {
        // A timer fires at the next whole millisecond.
        assert!(pair[1] - pair[0] <= (cap + 1) * MS, "{at:?}");
    }
    assert!(at[4] > Duration::ZERO, "there was a wait at all");
}

#[tokio::test(start_paused = true)]
async fn does_not_retry_what_the_policy_does_not_name() {
    let options = Options { retry: Some(retry(On::CONNECT_FAILURE, 2)), ..Options::default() };
    let fixture = Fixture::new([Step::Answer(503)], options);
    assert_eq!(fixture.send("").await.unwrap().status(), 503);
    assert_eq!(fixture.script.seen().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn refused_connection_is_a_connect_failure_whatever_client_says_so() {
    let options = Options { retry: Some(retry(On::CONNECT_FAILURE, 1)), ..Options::default() };
    let fixture = Fixture::new([Step::Refuse], options);
    assert_eq!(fixture.send("body").await.unwrap().status(), 200);
    let fixture = Fixture::new([Step::Refuse], Options::default());
    assert_eq!(fixture.send("").await.unwrap_err().kind(), ErrorKind::Connect);
}

#[tokio::test(start_paused = true)]
async fn retry_budget_bounds_retries_under_way() {
    let options = Options {
        retry: Some(retry(On::FIVE_XX, 5)),
        cluster: |cluster| {
            cluster.circuit_breakers.default.retry_budget =
                Some(RetryBudget { budget_percent: 0.0, min_retry_concurrency: 0 });
        },
        ..Options::default()
    };
    let fixture = Fixture::new([Step::Answer(503)], options);
    assert_eq!(fixture.send("").await.unwrap().status(), 503);
    assert_eq!(fixture.script.seen().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn total_timeout_ends_the_request_and_per_try_timeout_the_attempt() {
    let mut policy = retry(On::FIVE_XX, 1);
    policy.per_try_timeout = Some(100 * MS);
    let options = Options { retry: Some(policy), timeout: Some(5000 * MS), ..Options::default() };
    let fixture = Fixture::new([Step::Hang], options);
    assert_eq!(fixture.send("x").await.unwrap().status(), 200);
    let seen = fixture.script.seen();
    assert!(seen[1].at >= 100 * MS && seen[1].at < 130 * MS, "{seen:?}");

    let options = Options { timeout: Some(300 * MS), ..Options::default() };
    let fixture = Fixture::new([Step::Hang], options);
    let started = tokio::time::Instant::now();
    let error = fixture.send("").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deadline);
    assert_eq!(started.elapsed(), 300 * MS);
    assert_eq!(fixture.under_way(), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn no_attempt_begins_after_the_request_has_ended() {
    let mut policy = retry(On::FIVE_XX, 3);
    policy.base_interval = 60_000 * MS;
    policy.max_interval = 60_000 * MS;
    let options = Options { retry: Some(policy), timeout: Some(10 * MS), ..Options::default() };
    let fixture = Fixture::new([Step::Answer(503); 4], options);
    assert_eq!(fixture.send("").await.unwrap_err().kind(), ErrorKind::Deadline);
    assert_eq!(fixture.script.seen().len(), 1);
    assert_eq!(fixture.under_way(), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn unset_timeout_is_fifteen_seconds_and_zero_is_none() {
    let fixture = Fixture::new([Step::Slow(16_000 * MS, 200)], Options::default());
    assert_eq!(fixture.send("").await.unwrap_err().kind(), ErrorKind::Deadline);
    let options = Options { timeout: Some(Duration::ZERO), ..Options::default() };
    let fixture = Fixture::new([Step::Slow(100_000 * MS, 200)], options);
    assert_eq!(fixture.send("").await.unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn callers_deadline_is_kept_when_it_is_earlier() {
    let fixture = Fixture::new([Step::Hang], Options::default());
    let mut request = Request::new(Body::empty());
    let deadline = Instant::from(tokio::time::Instant::now() + 70 * MS);
    request.extensions_mut().insert(Deadline(deadline));
    let started = tokio::time::Instant::now();
    assert_eq!(fixture.call(request).await.unwrap_err().kind(), ErrorKind::Deadline);
    assert_eq!(started.elapsed(), 70 * MS);
}

#[tokio::test(start_paused = true)]
async fn record_tells_route_cluster_endpoint_and_attempts() {
    let options = Options { retry: Some(retry(On::FIVE_XX, 1)), ..Options::default() };
    let fixture = Fixture::new([Step::Answer(500)], options);
    let record = Record::new();
    let mut request = Request::new(Body::empty());
    request.extensions_mut().insert(record.clone());
    fixture.call(request).await.unwrap();
    assert_eq!(record.route().as_deref(), Some("all"));
    assert_eq!(record.cluster().as_deref(), Some("things"));
    assert_eq!(record.attempts(), 2);
    assert_eq!(record.endpoint(), fixture.script.seen().last().map(|seen| seen.endpoint));
}

#[tokio::test(start_paused = true)]
async fn counts_as_under_way_until_the_body_has_ended() {
    let fixture = Fixture::new([], Options::default());
    let response = fixture.send("").await.unwrap();
    assert_eq!(fixture.under_way(), (1, 0, 1));
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes(), "answer");
    assert_eq!(fixture.under_way(), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn dropping_a_request_or_a_body_gives_everything_back() {
    let options = Options { retry: Some(retry(On::FIVE_XX, 3)), ..Options::default() };
    let steps = [Step::Answer(503), Step::Answer(503), Step::Hang];
    let fixture = Fixture::new(steps, options);
    // Dropped while an attempt hangs, after two retries.
    let outcome = tokio::time::timeout(1000 * MS, fixture.send("")).await;
    assert!(outcome.is_err());
    assert_eq!(fixture.script.seen().len(), 3);
    assert_eq!(fixture.under_way(), (0, 0, 0));
    drop(fixture.send("").await.unwrap());
    assert_eq!(fixture.under_way(), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn body_that_fails_is_neither_retried_nor_held_against_the_endpoint() {
    let options = Options {
        retry: Some(retry(On::FIVE_XX | On::RESET_BEFORE_REQUEST, 3)),
        cluster: |cluster| {
            let mut detection = OutlierDetection::new();
            detection.consecutive_5xx = 1;
            detection.max_ejection_percent = 100;
            cluster.outlier_detection = Some(detection.into());
        },
        ..Options::default()
    };
    let fixture = Fixture::new([], options);
    for _ in 0..5 {
        let broken = futures_util::stream::iter([Err(std::io::Error::other("disk on fire"))]);
        let frames = broken.map_ok(http_body::Frame::<bytes::Bytes>::data);
        let body = Body::new(http_body_util::StreamBody::new(frames));
        let error = fixture.call(Request::post("/").body(body).unwrap()).await.unwrap_err();
        assert_eq!(error.details().unwrap(), LOCAL_RESET);
    }
    assert!(fixture.script.seen().is_empty(), "no attempt came to its end");
    let snapshot = fixture.mesh.inner().hold();
    let cluster = snapshot.cluster_named("things").unwrap();
    for endpoint in cluster.tables().all() {
        assert_eq!(endpoint.failed(), 0);
        assert!(!endpoint.record(Dialect::Http).is_ejected());
    }
}

const LOCAL_RESET: &str = "upstream_reset_before_response_started{local_reset}";

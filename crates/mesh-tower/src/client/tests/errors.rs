use std::error::Error as _;

use http_body_util::BodyExt;
use mesh_core::resource::RetryConditions;

use super::script::{Fixture, Options, Step, retry};
use crate::{Channel, ErrorKind, Mesh};

/// Sends one request and gives the error's kind and text.
async fn failure(fixture: &Fixture) -> (ErrorKind, String) {
    let error = fixture.send("").await.unwrap_err();
    (error.kind(), error.to_string())
}

#[tokio::test(start_paused = true)]
async fn text_names_the_way_and_the_cause() {
    let options = Options { endpoints: 0, ..Options::default() };
    let (kind, text) = failure(&Fixture::new([], options)).await;
    assert_eq!(kind, ErrorKind::NoEndpoints);
    assert_eq!(
        text,
        "not sent (listener \"things:80\" → route configuration \"things-routes\" → virtual host \
         \"things\" → route \"all\" → cluster \"things\"): no endpoints"
    );
}

#[tokio::test(start_paused = true)]
async fn broken_attempt_names_endpoint_attempts_and_source() {
    let options = Options {
        endpoints: 1,
        retry: Some(retry(RetryConditions::RESET, 1)),
        ..Options::default()
    };
    let fixture = Fixture::new([Step::Break, Step::Break], options);
    let error = fixture.send("").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Reset);
    let text = error.to_string();
    assert!(text.contains("endpoint 127.0.0.1:80, 2 attempts"), "{text}");
    assert!(text.ends_with("connection reset"), "{text}");
    assert_eq!(error.source().unwrap().to_string(), "connection reset");
}

#[tokio::test(start_paused = true)]
async fn overload_is_refused_at_once_and_answers_as_envoy_does() {
    let options = Options {
        cluster: |cluster| cluster.circuit_breakers.default.max_requests = 1,
        ..Options::default()
    };
    let fixture = Fixture::new([], options);
    let first = fixture.send("").await.unwrap();
    let error = fixture.send("").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Overloaded);
    let response = error.to_response();
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["x-envoy-overloaded"], "true");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(body.ends_with(b"reset reason: overflow"));
    drop(first);
    assert!(fixture.send("").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn unknown_target_of_fixed_resources_fails_at_once() {
    let fixture = Fixture::new([], Options::default());
    let channel = Channel::new(&fixture.mesh, "others:80").unwrap();
    let error = channel.ready().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotReady);
    assert_eq!(error.to_string(), "target \"others:80\" is not resolved");
}

#[test]
fn mesh_outside_a_runtime_is_an_error() {
    let error = Mesh::disabled().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().starts_with("a mesh needs a tokio runtime"));
}

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use serde_json::Value;
use tokio::time::Instant;
use tonic::Code;
use tower::ServiceExt as _;

use super::*;
use crate::proto::echo_client::EchoClient;
use crate::proto::{EchoReply, EchoRequest};

fn echo() -> Echo {
    Echo::new(Settings::new("reviews").with_version("v2").with_seed(1)).unwrap()
}

fn get(headers: &[(&str, &str)]) -> Request<Full<Bytes>> {
    let mut request = Request::get("http://reviews:9080/reviews/0?x=1");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::default()).unwrap()
}

async fn answer(echo: &Echo, headers: &[(&str, &str)]) -> Response<Bytes> {
    let (head, body) = echo.clone().oneshot(get(headers)).await.unwrap().into_parts();
    Response::from_parts(head, body.collect().await.unwrap().to_bytes())
}

#[tokio::test]
async fn describes_the_request() {
    let request = Request::post("http://reviews:9080/reviews/0?x=1")
        .header("x-b", "1")
        .header("x-b", "2")
        .body(Full::from("twelve bytes"))
        .unwrap();
    let response = echo().oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["x-echo-name"], "reviews");
    assert_eq!(response.headers()["x-echo-version"], "v2");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let seen: Value = serde_json::from_slice(&body).unwrap();
    let expected = serde_json::json!({
        "name": "reviews",
        "version": "v2",
        "method": "POST",
        "path": "/reviews/0?x=1",
        "authority": "reviews:9080",
        "scheme": "http",
        "protocol": "HTTP/1.1",
        "headers": [["x-b", "1"], ["x-b", "2"]],
        "body_bytes": 12,
        "peer": {"address": null, "spiffe_id": null},
    });
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn answers_with_the_status_asked_for() {
    let response = answer(&echo(), &[("x-echo-status", "503")]).await;
    assert_eq!(response.status(), 503);
    assert!(serde_json::from_slice::<Value>(response.body()).is_ok());
}

#[tokio::test]
async fn gives_a_status_to_the_share_asked_for() {
    let echo = echo();
    let mut failed = 0;
    for _ in 0..1_000 {
        let status = answer(&echo, &[("x-echo-status", "500:30")]).await.status();
        failed += u32::from(status == StatusCode::INTERNAL_SERVER_ERROR);
    }
    // Six standard deviations of 1,000 draws at 30 % are 87.
    assert!((213..=387).contains(&failed), "{failed}");
    assert_eq!(answer(&echo, &[("x-echo-status", "500:0")]).await.status(), 200);
}

#[tokio::test]
async fn request_overrides_the_servers_own_failure() {
    let fail = "502:100".parse().unwrap();
    let echo = Echo::new(Settings::new("reviews").with_fail(fail)).unwrap();
    assert_eq!(answer(&echo, &[]).await.status(), 502);
    assert_eq!(answer(&echo, &[("x-echo-status", "200")]).await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn waits_for_its_own_delay_and_the_one_asked_for() {
    let settings = Settings::new("reviews").with_delay(Duration::from_millis(100));
    let start = Instant::now();
    answer(&Echo::new(settings).unwrap(), &[("x-echo-delay-ms", "400")]).await;
    assert_eq!(start.elapsed(), Duration::from_millis(500));
}

#[tokio::test]
async fn makes_the_body_as_long_as_asked() {
    for bytes in [0, 1, 1_000, 65_536, 200_000] {
        let response = answer(&echo(), &[("x-echo-body-bytes", &bytes.to_string())]).await;
        assert_eq!(response.body().len(), bytes);
        assert_eq!(response.headers()["content-length"], bytes.to_string());
        if bytes >= 1_000 {
            assert_eq!(
                serde_json::from_slice::<Value>(response.body()).unwrap()["name"],
                "reviews"
            );
        }
    }
}

#[tokio::test]
async fn adds_the_headers_asked_for() {
    let response = answer(
        &echo(),
        &[("x-echo-response-header", "X-A=1"), ("x-echo-response-header", "x-b=a=b")],
    )
    .await;
    assert_eq!(response.headers()["x-a"], "1");
    assert_eq!(response.headers()["x-b"], "a=b");
}

#[tokio::test]
async fn ends_without_an_answer_when_asked_to_close() {
    let result = echo().oneshot(get(&[("x-echo-close", "1")])).await;
    assert!(matches!(result, Err(Closed)));
}

#[tokio::test]
async fn refuses_instructions_it_cannot_read() {
    for (name, value) in [
        ("x-echo-status", "ok"),
        ("x-echo-status", "100"),
        ("x-echo-status", "600"),
        ("x-echo-status", "500:101"),
        ("x-echo-status", "500:-1"),
        ("x-echo-status", "500:NaN"),
        ("x-echo-delay-ms", "1.5"),
        ("x-echo-delay-ms", "600001"),
        ("x-echo-close", "yes"),
        ("x-echo-grpc-status", "17"),
        ("x-echo-body-bytes", "-1"),
        ("x-echo-body-bytes", "1073741825"),
        ("x-echo-response-header", "no value"),
    ] {
        let response = answer(&echo(), &[(name, value)]).await;
        assert_eq!(response.status(), 400, "{name}: {value}");
        assert_eq!(response.body(), &format!("invalid {name}"));
    }
}

fn client() -> EchoClient<Echo> {
    EchoClient::with_origin(echo(), "http://reviews:9080".parse().unwrap())
}

fn call<T>(message: T, metadata: &[(&'static str, &'static str)]) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    for (name, value) in metadata {
        request.metadata_mut().insert(*name, value.parse().unwrap());
    }
    request
}

fn say(message: &str, count: u32) -> EchoRequest {
    EchoRequest { message: message.to_owned(), count }
}

async fn collect(
    response: tonic::Response<tonic::Streaming<EchoReply>>,
) -> (Vec<EchoReply>, Option<Code>) {
    let mut stream = response.into_inner();
    let mut replies = Vec::new();
    loop {
        match stream.message().await {
            Ok(Some(reply)) => replies.push(reply),
            Ok(None) => return (replies, None),
            Err(status) => return (replies, Some(status.code())),
        }
    }
}

#[tokio::test]
async fn answers_the_four_kinds_of_call() {
    let reply = client().unary(call(say("a", 0), &[("x-b", "1")])).await.unwrap();
    assert_eq!(reply.metadata().get("x-echo-name").unwrap(), "reviews");
    let reply = reply.into_inner();
    assert_eq!((&*reply.name, &*reply.version, &*reply.message), ("reviews", "v2", "a"));
    assert_eq!(reply.path, "/mesh.echo.v1.Echo/Unary");
    assert_eq!(reply.authority, "reviews:9080");
    assert!(reply.headers.iter().any(|header| header.name == "x-b" && header.value == "1"));

    let (replies, end) = collect(client().server_stream(say("a", 3)).await.unwrap()).await;
    assert_eq!(replies.iter().map(|reply| reply.index).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(end, None);

    let requests = futures_util::stream::iter([say("a", 0), say("b", 0)]);
    let reply = client().client_stream(requests).await.unwrap().into_inner();
    assert_eq!((&*reply.message, reply.received), ("b", 2));

    let requests = futures_util::stream::iter([say("a", 0), say("b", 0)]);
    let (replies, _) = collect(client().bidi(requests).await.unwrap()).await;
    let messages: Vec<_> = replies.iter().map(|r| (&*r.message, r.index)).collect();
    assert_eq!(messages, [("a", 0), ("b", 1)]);
}

#[tokio::test]
async fn ends_calls_with_the_grpc_status_asked_for() {
    const ABORTED: &[(&str, &str)] = &[("x-echo-grpc-status", "10")];
    let status = client().unary(call(say("a", 0), ABORTED)).await.unwrap_err();
    assert_eq!(status.code(), Code::Aborted);

    let (replies, end) =
        collect(client().server_stream(call(say("a", 2), ABORTED)).await.unwrap()).await;
    assert_eq!((replies.len(), end), (2, Some(Code::Aborted)));

    let requests = futures_util::stream::iter([say("a", 0)]);
    let (replies, end) = collect(client().bidi(call(requests, ABORTED)).await.unwrap()).await;
    assert_eq!((replies.len(), end), (1, Some(Code::Aborted)));
}

#[tokio::test]
async fn steers_calls_by_metadata() {
    let failed = client().unary(call(say("", 0), &[("x-echo-status", "503")])).await;
    assert_eq!(failed.unwrap_err().code(), Code::Unavailable);

    let padded = client().unary(call(say("", 0), &[("x-echo-body-bytes", "70000")])).await;
    assert_eq!(padded.unwrap().into_inner().padding.len(), 70_000);

    let refused = client().unary(call(say("", 0), &[("x-echo-grpc-status", "x")])).await;
    assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);

    let header = client().unary(call(say("", 0), &[("x-echo-response-header", "x-a=1")])).await;
    assert_eq!(header.unwrap().metadata().get("x-a").unwrap(), "1");
}

#[tokio::test]
async fn bounds_the_replies_of_a_stream() {
    let error = client().server_stream(say("", 1_001)).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn answers_unimplemented_to_services_it_lacks() {
    let request = Request::post("http://reviews/other.Service/Method")
        .header("content-type", "application/grpc")
        .body(Full::<Bytes>::default())
        .unwrap();
    let response = echo().oneshot(request).await.unwrap();
    assert_eq!(response.headers()["grpc-status"], "12");
}

#[test]
fn refuses_names_that_cannot_be_headers() {
    assert!(Echo::new(Settings::new("a\nb")).is_err());
    assert!(Echo::new(Settings::new("a").with_version("\0")).is_err());
}

#[test]
fn is_send_and_sync() {
    fn check<T: Send + Sync>() {}
    check::<Echo>();
    check::<Connection>();
    check::<Settings>();
}

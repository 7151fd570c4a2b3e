//! Generated tonic clients and services with the mesh between them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use mesh_grpc::Channel;
use mesh_tests::serve::{any_port, serve};
use mesh_tests::{Backend, Control, mesh, within, yaml};
use mesh_tower::{Mesh, Server};
use meshctl::echo::{Echo, Settings};
use meshctl::proto::EchoRequest;
use meshctl::proto::echo_client::EchoClient;
use tonic::{Code, Status};

/// A client of an echo service behind a mesh server, and what keeps both alive.
struct Setup {
    client: EchoClient<Channel>,
    _control: Control,
    server: Mesh,
}

async fn setup() -> Setup {
    setup_with("").await
}

/// As [`setup`], with more configuration.
async fn setup_with(rules: &str) -> Setup {
    let server_mesh = Mesh::disabled().unwrap();
    let server = Server::bind(&server_mesh, any_port()).await.unwrap();
    let service = yaml::service("echo", 9080, "GRPC", &[(server.local_addr(), "v1")]) + rules;
    let echo = Echo::new(Settings::new("echo").with_version("v1")).unwrap();
    tokio::spawn(server.serve(echo));
    let control = Control::start(&[("service.yaml", &service)]).await;
    let client = client(&mesh(control.xds()));
    Setup { client, _control: control, server: server_mesh }
}

fn client(mesh: &Mesh) -> EchoClient<Channel> {
    EchoClient::new(Channel::new(mesh, "xds:///echo:9080").unwrap())
}

fn message(text: impl Into<String>) -> EchoRequest {
    EchoRequest { message: text.into(), count: 1 }
}

#[tokio::test]
async fn all_four_kinds_of_call_pass() {
    let mut setup = setup().await;
    let client = &mut setup.client;

    let reply = client.unary(message("one")).await.unwrap().into_inner();
    assert_eq!((reply.message.as_str(), reply.received), ("one", 1));
    assert_eq!(reply.authority, "echo:9080");

    let many = EchoRequest { message: "many".to_owned(), count: 500 };
    let mut replies = client.server_stream(many).await.unwrap().into_inner();
    let mut count = 0;
    while let Some(reply) = replies.message().await.unwrap() {
        assert_eq!((reply.message.as_str(), reply.index), ("many", count));
        count += 1;
    }
    assert_eq!(count, 500);

    let requests = tokio_stream::iter((0..500).map(|number| message(number.to_string())));
    let reply = client.client_stream(requests).await.unwrap().into_inner();
    assert_eq!((reply.message.as_str(), reply.received), ("499", 500));

    setup.server.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn both_sides_of_a_stream_go_on_at_once() {
    let mut setup = setup().await;
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    let requests = tokio_stream::wrappers::ReceiverStream::new(receiver);
    sender.send(message("0")).await.unwrap();
    let mut replies = setup.client.bidi(requests).await.unwrap().into_inner();
    for number in 0..200 {
        let reply = within("reply", replies.message()).await.unwrap().unwrap();
        assert_eq!(reply.message, number.to_string());
        sender.send(message((number + 1).to_string())).await.unwrap();
    }
    drop(sender);
    assert_eq!(within("last reply", replies.message()).await.unwrap().unwrap().message, "200");
    assert!(within("end", replies.message()).await.unwrap().is_none());
}

#[tokio::test]
async fn statuses_arrive_as_the_server_gave_them() {
    let mut setup = setup().await;
    for code in 1..=16 {
        let mut request = tonic::Request::new(message("fail"));
        request.metadata_mut().insert("x-echo-grpc-status", code.into());
        let status = setup.client.unary(request).await.unwrap_err();
        assert_eq!(status.code(), Code::from(code), "{status:?}");
    }
}

#[tokio::test]
async fn answer_that_is_no_grpc_becomes_a_status() {
    let mut setup = setup().await;
    for (http, code) in [
        ("401", Code::Unauthenticated),
        ("403", Code::PermissionDenied),
        ("404", Code::Unimplemented),
        ("503", Code::Unavailable),
    ] {
        let mut request = tonic::Request::new(message("fail"));
        request.metadata_mut().insert("x-echo-status", http.parse().unwrap());
        let status = setup.client.unary(request).await.unwrap_err();
        assert_eq!(status.code(), code, "{status:?}");
    }
}

#[tokio::test]
async fn timeout_travels_and_ends_the_call() {
    let mut setup = setup().await;
    let mut request = tonic::Request::new(message("soon"));
    request.set_timeout(Duration::from_secs(20));
    let reply = setup.client.unary(request).await.unwrap().into_inner();
    let header = reply.headers.iter().find(|header| header.name == "grpc-timeout");
    assert!(header.is_some_and(|header| header.value.starts_with(['1', '2'])), "{header:?}");

    let mut request = tonic::Request::new(message("late"));
    request.set_timeout(Duration::from_millis(200));
    request.metadata_mut().insert("x-echo-delay-ms", 60_000.into());
    let start = Instant::now();
    let status = setup.client.unary(request).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    assert!(start.elapsed() < Duration::from_secs(2), "took {:?}", start.elapsed());
}

#[tokio::test]
async fn timeout_of_a_virtual_service_ends_the_call() {
    let route = "  - route: [{destination: {host: echo}}]\n    timeout: 200ms\n";
    let mut setup = setup_with(&yaml::routes("echo", route)).await;
    let mut request = tonic::Request::new(message("late"));
    request.metadata_mut().insert("x-echo-delay-ms", 60_000.into());
    let start = Instant::now();
    let status = setup.client.unary(request).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    assert!(start.elapsed() < Duration::from_secs(2), "took {:?}", start.elapsed());
}

/// A server that answers UNAVAILABLE so many times, then leaves the rest to an echo.
async fn unavailable_first(failures: usize, code: Code) -> (Mesh, Control, Arc<AtomicUsize>, Kept) {
    let calls = Arc::new(AtomicUsize::new(0));
    let backend = Backend::start("echo", "v1").await;
    let echo = Echo::new(Settings::new("echo").with_version("v1")).unwrap();
    let counter = calls.clone();
    let service = tower::service_fn(move |request: Request<Incoming>| {
        let fail = counter.fetch_add(1, Ordering::Relaxed) < failures;
        let mut echo = echo.clone();
        async move {
            if fail {
                let status = Status::new(code, "not now");
                let response: Response<Empty<Bytes>> = status.into_http();
                return Ok(response.map(tonic::body::Body::new));
            }
            tower_service::Service::call(&mut echo, request).await
        }
    });
    let serving = serve(any_port(), service).await;
    let endpoints = [(serving.address(), "v1")];
    let http = "  - route: [{destination: {host: echo}}]\n    \
                retries: {attempts: 3, retryOn: unavailable, backoff: 1ms}\n";
    let files = [
        ("service.yaml", yaml::service("echo", 9080, "GRPC", &endpoints)),
        ("routes.yaml", yaml::routes("echo", http)),
    ];
    let control =
        Control::start(&files.each_ref().map(|(name, text)| (*name, text.as_str()))).await;
    let mesh = mesh(control.xds());
    (mesh, control, calls, (serving, backend))
}

type Kept = (mesh_tests::serve::Serving, Backend);

#[tokio::test]
async fn unavailable_is_tried_again() {
    let (mesh, _control, calls, _kept) = unavailable_first(2, Code::Unavailable).await;
    let reply = client(&mesh).unary(message("again")).await.unwrap().into_inner();
    assert_eq!(reply.message, "again");
    assert_eq!(calls.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn last_status_is_returned_when_retries_are_used_up() {
    let (mesh, _control, calls, _kept) = unavailable_first(100, Code::Unavailable).await;
    let status = client(&mesh).unary(message("again")).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "not now"));
    assert_eq!(calls.load(Ordering::Relaxed), 4);
}

#[tokio::test]
async fn other_statuses_are_not_tried_again() {
    let (mesh, _control, calls, _kept) = unavailable_first(100, Code::Internal).await;
    let status = client(&mesh).unary(message("once")).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn client_stream_is_replayed_to_the_next_attempt() {
    let (mesh, _control, calls, _kept) = unavailable_first(1, Code::Unavailable).await;
    let requests = tokio_stream::iter((0..10).map(|number| message(number.to_string())));
    let reply = client(&mesh).client_stream(requests).await.unwrap().into_inner();
    assert_eq!((reply.message.as_str(), reply.received), ("9", 10));
    assert_eq!(calls.load(Ordering::Relaxed), 2);
}

//! `meshctl echo`, over real sockets.

use std::net::SocketAddr;

use crate::support::{Client, DEADLINE, Server, grpc, run};
use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::Full;
use meshctl::proto::echo_client::EchoClient;
use meshctl::proto::{EchoReply, EchoRequest};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};
use tonic_reflection::pb::{v1, v1alpha};

fn origin() -> Uri {
    Uri::from_static("http://greeter:50051")
}

fn request(uri: String, headers: &[(&str, &str)]) -> Request<Full<Bytes>> {
    let mut request = Request::post(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::from("hello")).unwrap()
}

/// One request of each protocol, with the `host` or `:authority` of a service.
async fn both(
    address: SocketAddr,
    headers: &[(&str, &str)],
) -> [hyper::Result<http::Response<Bytes>>; 2] {
    let mut with_host = headers.to_vec();
    with_host.push(("host", "reviews:9080"));
    let mut http1 = Client::http1(address).await;
    let mut http2 = Client::http2(address).await;
    [
        http1.send(request("/reviews/0?x=1".to_owned(), &with_host)).await,
        http2.send(request("http://reviews:9080/reviews/0?x=1".to_owned(), headers)).await,
    ]
}

#[tokio::test]
async fn describes_requests_of_both_protocols() {
    let server =
        Server::start(&["echo", "--listen", "127.0.0.1:0", "--name", "reviews", "--version", "v3"])
            .await;
    assert_eq!(server.ready["grpc"], Value::Null);
    let protocols = ["HTTP/1.1", "HTTP/2"];
    for (answer, protocol) in both(server.address("http"), &[]).await.into_iter().zip(protocols) {
        let answer = answer.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["x-echo-name"], "reviews");
        assert_eq!(answer.headers()["x-echo-version"], "v3");
        let seen: Value = serde_json::from_slice(answer.body()).unwrap();
        assert_eq!(seen["protocol"], protocol);
        assert_eq!(seen["path"], "/reviews/0?x=1");
        assert_eq!(seen["authority"], "reviews:9080");
        assert_eq!(seen["scheme"], "http");
        assert_eq!(seen["body_bytes"], 5);
        let peer: SocketAddr = seen["peer"]["address"].as_str().unwrap().parse().unwrap();
        assert!(peer.ip().is_loopback());
        assert_eq!(seen["peer"]["spiffe_id"], Value::Null);
    }
}

#[tokio::test]
async fn steers_both_protocols_by_headers() {
    let server = Server::start(&["echo", "--name", "a"]).await;
    let steering = [
        ("x-echo-status", "503"),
        ("x-echo-delay-ms", "1"),
        ("x-echo-body-bytes", "300000"),
        ("x-echo-response-header", "x-set=yes"),
    ];
    for answer in both(server.address("http"), &steering).await {
        let answer = answer.unwrap();
        assert_eq!(answer.status(), 503);
        assert_eq!(answer.body().len(), 300_000);
        assert_eq!(answer.headers()["x-set"], "yes");
        assert!(!answer.headers().contains_key("x-echo-version"));
    }
}

#[tokio::test]
async fn drops_the_connection_when_asked() {
    let server = Server::start(&["echo", "--name", "a"]).await;
    let address = server.address("http");
    for answer in both(address, &[("x-echo-close", "1")]).await {
        assert!(answer.is_err());
    }

    let mut client = Client::http2(address).await;
    let uri = || "http://a/".to_owned();
    client.send(request(uri(), &[("x-echo-close", "1")])).await.unwrap_err();
    client.send(request(uri(), &[])).await.expect_err("the connection is still there");
}

#[tokio::test]
async fn fails_the_share_set_by_its_arguments() {
    let server = Server::start(&["echo", "--name", "a", "--fail", "503:50", "--seed", "7"]).await;
    let mut client = Client::http1(server.address("http")).await;
    let mut failed = 0;
    for _ in 0..200 {
        let answer = client.send(request("/".to_owned(), &[("host", "a")])).await.unwrap();
        failed += u32::from(answer.status() == 503);
    }
    // Six standard deviations of 200 draws at 50 % are 43.
    assert!((57..=143).contains(&failed), "{failed}");
}

#[tokio::test]
async fn serves_grpc_on_both_addresses() {
    let server = Server::start(&["echo", "--name", "greeter", "--grpc", "127.0.0.1:0"]).await;
    for field in ["http", "grpc"] {
        let mut client = EchoClient::with_origin(grpc(server.address(field)).await, origin());

        let message = EchoRequest { message: "hello".to_owned(), count: 2 };
        let reply = client.unary(message.clone()).await.unwrap().into_inner();
        assert_eq!((&*reply.name, &*reply.message), ("greeter", "hello"));
        assert_eq!(reply.authority, "greeter:50051");
        assert!(reply.peer.unwrap().address.starts_with("127.0.0.1:"));

        let mut replies = client.server_stream(message.clone()).await.unwrap().into_inner();
        assert_eq!(replies.message().await.unwrap().unwrap().index, 0);
        assert_eq!(replies.message().await.unwrap().unwrap().index, 1);
        assert!(replies.message().await.unwrap().is_none());

        let mut failing = tonic::Request::new(message);
        failing.metadata_mut().insert("x-echo-grpc-status", 8.into());
        let status = client.unary(failing).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted);
    }
}

#[tokio::test]
async fn reflects_its_service_in_both_versions() {
    let server = Server::start(&["echo", "--name", "a"]).await;
    let channel = grpc(server.address("http")).await;

    let list = v1::server_reflection_request::MessageRequest::ListServices(String::new());
    let request = v1::ServerReflectionRequest { host: String::new(), message_request: Some(list) };
    let answer = v1::server_reflection_client::ServerReflectionClient::with_origin(
        channel.clone(),
        origin(),
    )
    .server_reflection_info(tokio_stream::iter([request]))
    .await
    .unwrap()
    .into_inner()
    .message()
    .await
    .unwrap();
    assert!(format!("{answer:?}").contains("mesh.echo.v1.Echo"));

    let symbol = "mesh.echo.v1.Echo".to_owned();
    let find = v1alpha::server_reflection_request::MessageRequest::FileContainingSymbol(symbol);
    let request =
        v1alpha::ServerReflectionRequest { host: String::new(), message_request: Some(find) };
    let answer =
        v1alpha::server_reflection_client::ServerReflectionClient::with_origin(channel, origin())
            .server_reflection_info(tokio_stream::iter([request]))
            .await
            .unwrap()
            .into_inner()
            .message()
            .await
            .unwrap();
    assert!(format!("{answer:?}").contains("FileDescriptorResponse"));
}

/// A call that the server has begun to answer and that goes on until the sender is dropped.
async fn open_call(address: SocketAddr) -> (mpsc::Sender<EchoRequest>, Streaming<EchoReply>) {
    let (sender, requests) = mpsc::channel(1);
    sender.send(EchoRequest::default()).await.unwrap();
    let mut client = EchoClient::with_origin(grpc(address).await, origin());
    let mut replies = client.bidi(ReceiverStream::new(requests)).await.unwrap().into_inner();
    assert_eq!(replies.message().await.unwrap().unwrap().index, 0);
    (sender, replies)
}

/// Waits until the listener is closed, which is the first thing a stopping server does.
async fn refuses_connections(address: SocketAddr) {
    let refused = async { while TcpStream::connect(address).await.is_ok() {} };
    tokio::time::timeout(DEADLINE, refused).await.expect("still accepts connections");
}

#[tokio::test]
async fn finishes_what_is_under_way_when_terminated() {
    let mut server = Server::start(&["echo", "--name", "a"]).await;
    let (requests, mut replies) = open_call(server.address("http")).await;
    server.signal("-TERM").await;
    refuses_connections(server.address("http")).await;

    requests.send(EchoRequest::default()).await.unwrap();
    assert_eq!(replies.message().await.unwrap().unwrap().index, 1);
    drop(requests);
    assert!(replies.message().await.unwrap().is_none());
    assert!(server.wait().await.success());
    assert_eq!(server.rest().await, "");
}

#[tokio::test]
async fn ends_at_once_at_the_second_signal() {
    let mut server = Server::start(&["echo", "--name", "a"]).await;
    let (_requests, mut replies) = open_call(server.address("http")).await;
    server.signal("-TERM").await;
    refuses_connections(server.address("http")).await;
    server.signal("-INT").await;
    assert_eq!(server.wait().await.code(), Some(1));
    assert!(replies.message().await.is_err());
}

#[tokio::test]
async fn refuses_what_it_cannot_do() {
    for arguments in [
        &["echo"][..],
        &["echo", "--name", "a", "--fail", "600:1"],
        &["echo", "--name", "a", "--fail", "500:101"],
        &["echo", "--name", "a", "--listen", "nowhere"],
    ] {
        let output = run(arguments).await;
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty());
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run(&["echo", "--name", "a", "--listen", &address]).await;
    assert_eq!(output.status.code(), Some(1));
}

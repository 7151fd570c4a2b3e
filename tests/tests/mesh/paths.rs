//! The path a client sends is the path that routes are matched with.
//!
//! It reaches the matcher by another way in each protocol, so each is crossed with a request.

use mesh_grpc::Channel as GrpcChannel;
use mesh_tests::{Backend, Control, get, mesh, yaml};
use mesh_tower::Channel;
use meshctl::proto::EchoRequest;
use meshctl::proto::echo_client::EchoClient;

const VERSIONS: [&str; 3] = ["v1", "v2", "v3"];

async fn control(protocol: &str, backends: &[Backend], first: &str, second: &str) -> Control {
    let http = format!(
        "  - match: [{{uri: {first}}}]\n    route: [{{destination: {{host: echo, subset: v1}}}}]\n\
         \x20 - match: [{{uri: {second}}}]\n    route: [{{destination: {{host: echo, subset: v2}}}}]\n\
         \x20 - route: [{{destination: {{host: echo, subset: v3}}}}]\n"
    );
    let files = [
        ("service.yaml", yaml::service_of("echo", 9080, protocol, backends)),
        ("subsets.yaml", yaml::subsets("echo", &VERSIONS)),
        ("routes.yaml", yaml::routes("echo", &http)),
    ];
    Control::start(&files.each_ref().map(|(name, text)| (*name, text.as_str()))).await
}

async fn matches_paths(protocol: &str, spoken: &str) {
    let backends = Backend::versions("echo", 3).await;
    let control = control(protocol, &backends, "{prefix: /reviews}", "{exact: /ratings}").await;
    let mesh = mesh(control.xds());
    let echo = Channel::new(&mesh, "echo:9080").unwrap();
    let table = [
        ("/reviews", "v1"),
        ("/reviews/7?full=1", "v1"),
        ("/ratings", "v2"),
        ("/ratings?page=2", "v2"),
        ("/ratings/7", "v3"),
        ("/", "v3"),
        ("/review", "v3"),
    ];
    for (path, version) in table {
        let answer = get(&echo, path).await.unwrap();
        let seen = answer.json();
        assert_eq!(answer.version(), version, "{path}");
        assert_eq!(seen["path"], path);
        assert_eq!(seen["protocol"], spoken);
    }
}

#[tokio::test]
async fn path_reaches_the_matcher_over_http_1() {
    matches_paths("HTTP", "HTTP/1.1").await;
}

#[tokio::test]
async fn path_reaches_the_matcher_over_http_2() {
    matches_paths("HTTP2", "HTTP/2").await;
}

#[tokio::test]
async fn path_reaches_the_matcher_over_grpc() {
    let backends = Backend::versions("echo", 3).await;
    let (unary, streams) = ("{exact: /mesh.echo.v1.Echo/Unary}", "{prefix: /mesh.echo.v1.Echo/S}");
    let control = control("GRPC", &backends, unary, streams).await;
    let mesh = mesh(control.xds());
    let channel = GrpcChannel::new(&mesh, "xds:///echo:9080").unwrap();
    let mut client = EchoClient::new(channel);

    let reply = client.unary(EchoRequest::default()).await.unwrap().into_inner();
    assert_eq!((reply.version.as_str(), reply.path.as_str()), ("v1", "/mesh.echo.v1.Echo/Unary"));

    let mut replies = client.server_stream(EchoRequest::default()).await.unwrap().into_inner();
    let reply = replies.message().await.unwrap().unwrap();
    assert_eq!(reply.version, "v2");

    let requests = tokio_stream::iter([EchoRequest::default()]);
    let reply = client.client_stream(requests).await.unwrap().into_inner();
    assert_eq!(reply.version, "v3");
}

//! A server that goes away takes nothing with it.

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use mesh_tests::serve::any_port;
use mesh_tests::{Backend, Control, Load, get, mesh, send, within, yaml};
use mesh_tower::{Body, Channel, Mesh, Server};
use meshctl::echo::{Echo, Settings};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tower::ServiceExt as _;

/// A server behind a mesh of its own, which it ends with.
struct Node {
    mesh: Mesh,
    address: std::net::SocketAddr,
    arrived: Arc<Notify>,
    task: JoinHandle<std::io::Result<()>>,
}

async fn node(version: &str) -> Node {
    let mesh = Mesh::disabled().unwrap();
    let server = Server::bind(&mesh, any_port()).await.unwrap();
    let address = server.local_addr();
    let arrived = Arc::new(Notify::new());
    let echo = Echo::new(Settings::new("echo").with_version(version)).unwrap();
    let notify = arrived.clone();
    let app = echo.map_request(move |request: Request<mesh_tower::server::RequestBody>| {
        notify.notify_one();
        request
    });
    let task = tokio::spawn(server.serve(app));
    Node { mesh, address, arrived, task }
}

async fn requests_under_way_end_well(protocol: &str) {
    let node = node("v1").await;
    let service = yaml::service("echo", 9080, protocol, &[(node.address, "v1")]);
    let control = Control::start(&[("service.yaml", &service)]).await;
    let channel = Channel::new(&mesh(control.xds()), "echo:9080").unwrap();
    assert_eq!(get(&channel, "/").await.unwrap().version(), "v1");
    node.arrived.notified().await;

    let request = || {
        let request = Request::get("/").header("x-echo-delay-ms", "400");
        request.header("x-echo-body-bytes", "3000000").body(Body::empty()).unwrap()
    };
    let mut under_way = Vec::new();
    for _ in 0..10 {
        let (channel, request) = (channel.clone(), request());
        under_way.push(tokio::spawn(async move { send(&channel, request).await }));
        within("request", node.arrived.notified()).await;
    }
    within("shutdown", node.mesh.shutdown(Duration::from_secs(20))).await;
    for task in under_way {
        let answer = within("answer", task).await.unwrap().unwrap();
        assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 3_000_000));
    }
    within("end of the server", node.task).await.unwrap().unwrap();
    let refused = tokio::net::TcpStream::connect(node.address).await;
    assert!(refused.is_err(), "still accepts connections");
}

#[tokio::test]
async fn requests_under_way_end_well_over_http_1() {
    requests_under_way_end_well("HTTP").await;
}

#[tokio::test]
async fn requests_under_way_end_well_over_http_2() {
    requests_under_way_end_well("HTTP2").await;
}

#[tokio::test]
async fn shutdown_is_over_at_its_deadline() {
    let node = node("v1").await;
    let service = yaml::service("echo", 9080, "HTTP", &[(node.address, "v1")]);
    let control = Control::start(&[("service.yaml", &service)]).await;
    let channel = Channel::new(&mesh(control.xds()), "echo:9080").unwrap();
    let request = Request::get("/").header("x-echo-delay-ms", "60000").body(Body::empty()).unwrap();
    let cut = tokio::spawn(async move { send(&channel, request).await });
    within("request", node.arrived.notified()).await;
    within("shutdown", node.mesh.shutdown(Duration::from_millis(100))).await;
    assert!(within("failure", cut).await.unwrap().is_err());
}

async fn loses_nothing_when_one_of_two_servers_goes(protocol: &str) {
    let leaving = node("v1").await;
    let staying = Backend::start("echo", "v2").await;
    let endpoints = [(leaving.address, "v1"), (staying.address, "v2")];
    let service = yaml::service("echo", 9080, protocol, &endpoints);
    let files = [("service.yaml", service.as_str())];
    let control = Control::start(&files).await;
    let channel = Channel::new(&mesh(control.xds()), "echo:9080").unwrap();
    channel.ready().await.unwrap();

    let load = Load::start(200, move |_| {
        let channel = channel.clone();
        async move {
            let request = Request::get("/").header("x-echo-delay-ms", "20").body(Body::empty())?;
            let answer = send(&channel, request).await?;
            Ok::<_, mesh_tower::BoxError>((answer.status.as_u16(), answer.version().to_owned()))
        }
    });
    for _ in 0..50 {
        within("request", leaving.arrived.notified()).await;
    }
    within("shutdown", leaving.mesh.shutdown(Duration::from_secs(20))).await;
    within("end of the server", leaving.task).await.unwrap().unwrap();
    let results = load.finish().await;
    let failed: Vec<_> = results.iter().filter(|result| !is_good(result)).collect();
    assert!(failed.is_empty(), "{} of {} failed: {failed:?}", failed.len(), results.len());
}

fn is_good(result: &Result<(u16, String), mesh_tower::BoxError>) -> bool {
    matches!(result, Ok((200, _)))
}

#[tokio::test]
async fn nothing_is_lost_when_one_of_two_servers_goes_over_http_1() {
    loses_nothing_when_one_of_two_servers_goes("HTTP").await;
}

#[tokio::test]
async fn nothing_is_lost_when_one_of_two_servers_goes_over_http_2() {
    loses_nothing_when_one_of_two_servers_goes("HTTP2").await;
}

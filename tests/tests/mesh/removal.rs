//! Clusters and endpoints that go, with requests on the way to them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mesh_tests::serve::any_port;
use mesh_tests::{Ads, Backend, Control, get, mesh, within, xds, yaml};
use mesh_tower::{Channel, ErrorKind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A server that takes its time: the connection with a request, to be answered by hand.
struct Slow(TcpListener);

impl Slow {
    async fn start() -> (Self, SocketAddr) {
        let listener = TcpListener::bind(any_port()).await.unwrap();
        let address = listener.local_addr().unwrap();
        (Self(listener), address)
    }

    async fn request(&self) -> TcpStream {
        let (mut stream, _) = within("a connection", self.0.accept()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut bytes = [0; 1024];
            let count = within("a request", stream.read(&mut bytes)).await.unwrap();
            assert_ne!(count, 0, "closed within a request");
            head.extend_from_slice(&bytes[..count]);
        }
        stream
    }
}

async fn closed(mut stream: TcpStream) {
    let mut rest = Vec::new();
    // An error is an end as well.
    let _ = within("the end of the connection", stream.read_to_end(&mut rest)).await;
    assert!(rest.is_empty());
}

/// A request held by a server whose cluster is gone from routes, and from the mesh.
async fn removed_under_way() -> (tokio::task::JoinHandle<u16>, TcpStream) {
    let (slow, slow_at) = Slow::start().await;
    let quick = Backend::start("quick", "v2").await;
    let ads = Ads::start().await;
    ads.put_target("things:80", &[("/", "slow", slow_at)]);
    let mesh = mesh(ads.address());
    let channel = Channel::new(&mesh, "things:80").unwrap();
    let held = channel.clone();
    let request = tokio::spawn(async move { get(&held, "/").await.unwrap().status.as_u16() });
    let stream = slow.request().await;
    ads.put("quick", xds::endpoints("quick", &[quick.address]));
    ads.put("quick", xds::cluster("quick"));
    ads.put("routes", xds::routes("routes", &[("/", "quick")]));
    let moved = async { while get(&channel, "/").await.is_ok_and(|a| a.version() != "v2") {} };
    // Until then requests go where nobody answers them.
    let moved = async {
        while tokio::time::timeout(Duration::from_millis(100), get(&channel, "/")).await.is_err() {}
        moved.await;
    };
    within("the other cluster", moved).await;
    // The mesh goes with the channels that are left.
    std::mem::forget((mesh, ads, slow, quick));
    (request, stream)
}

#[tokio::test]
async fn request_under_way_to_a_removed_cluster_ends_well_and_its_connection_after_it() {
    let (request, mut stream) = removed_under_way().await;
    stream.write_all(b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    assert_eq!(within("the answer", request).await.unwrap(), 201);
    closed(stream).await;
}

#[tokio::test]
async fn request_given_up_on_a_removed_cluster_lets_go_of_it() {
    let (request, stream) = removed_under_way().await;
    request.abort();
    closed(stream).await;
}

#[tokio::test]
async fn backend_that_restarts_is_used_again() {
    let address = {
        let backend = Backend::start("echo", "v1").await;
        backend.address
    };
    let service = yaml::service("echo", 9080, "HTTP", &[(address, "v1")]);
    let control = Control::start(&[("service.yaml", &service)]).await;
    let mesh = mesh(control.xds());
    let channel = Channel::new(&mesh, "echo:9080").unwrap();
    for _ in 0..3 {
        get(&channel, "/").await.unwrap_err();
        let listener = TcpListener::bind(address).await.unwrap();
        let server = tokio::spawn(async move {
            let slow = Slow(listener);
            let mut stream = slow.request().await;
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        });
        assert_eq!(get(&channel, "/").await.unwrap().status, 204);
        within("the end of the server", server).await.unwrap();
    }
}

#[tokio::test]
async fn all_endpoints_down_fails_at_once() {
    // Bound and not listening: nobody else gets the ports.
    let sockets: Vec<_> = (0..3)
        .map(|_| {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind(any_port()).unwrap();
            let address = socket.local_addr().unwrap();
            (socket, address)
        })
        .collect();
    let endpoints: Vec<_> = sockets.iter().map(|(_, address)| (*address, "v1")).collect();
    let service = yaml::service("echo", 9080, "HTTP", &endpoints);
    let control = Control::start(&[("service.yaml", &service)]).await;
    let mesh = mesh(control.xds());
    let channel = Channel::new(&mesh, "echo:9080").unwrap();
    // The first one waits for the configuration.
    get(&channel, "/").await.unwrap_err();
    let started = Instant::now();
    let error = get(&channel, "/").await.unwrap_err();
    assert_eq!(mesh_tests::client::mesh_error(&error).kind(), ErrorKind::Connect);
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    let backends = [Backend::start("echo", "v2").await];
    control.write("service.yaml", &yaml::service_of("echo", 9080, "HTTP", &backends));
    within("recovery", async { while get(&channel, "/").await.is_err() {} }).await;
}

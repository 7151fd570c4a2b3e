//! Bytes that are no HTTP, over real sockets: from a `Connector`, through a server's TCP proxy.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mesh_core::resource::{
    Action, ChainAction, Cluster, ClusterSpecifier, FilterChain, Forward, HttpConnectionManager,
    Listener, MirrorCluster, MirrorPolicy, Resource, RouteSpecifier, ServerListener,
    TransportSocket,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::tls::{THEM, US, cluster, mesh, routes};
use crate::testing::{Ca, downstream, upstream};
use crate::{Connector, ErrorKind, Mesh, Server};

const LONG: Duration = Duration::from_secs(20);

/// A server that speaks first, reads to the end of what comes, and says how much that was.
async fn counting() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                stream.write_all(b"hello ").await?;
                let mut read = Vec::new();
                let count = stream.read_to_end(&mut read).await?;
                stream.write_all(count.to_string().as_bytes()).await
            });
        }
    });
    address
}

fn plain(endpoints: &[SocketAddr]) -> Cluster {
    let mut made = cluster(endpoints, upstream(&[]));
    made.transport_socket = TransportSocket::RawBuffer;
    made
}

/// A server over mutual TLS that passes bytes on to `to`; what guards it is changed.
async fn passing(
    ca: &Ca,
    to: Cluster,
    change: impl FnOnce(&mut HttpConnectionManager),
) -> (Mesh, SocketAddr) {
    let forward = Forward::new(ClusterSpecifier::Cluster(to.name.clone()));
    let routes = routes(Action::Forward(forward.into()));
    let mut manager = HttpConnectionManager::new(RouteSpecifier::Inline(routes));
    manager.clients.request_headers_timeout = Some(Duration::ZERO);
    change(&mut manager);
    let mut chain = FilterChain::new("tcp", ChainAction::Tcp(manager.into()));
    chain.tls = Some(Arc::new(downstream(true)));
    let mut listener = ServerListener::new("server", "127.0.0.1:0".parse().unwrap());
    listener.filter_chains = vec![chain];
    let mesh = Mesh::builder()
        .resources([Resource::from(listener), to.into()].into_iter().collect())
        .certificate_provider("default", ca.workload(THEM))
        .build()
        .unwrap();
    let server = Server::bind(&mesh, "127.0.0.1:0").await.unwrap();
    let address = server.local_addr();
    let app = tower::service_fn(|_| async {
        let answer = http::Response::new(crate::Body::from("no request is for the application"));
        Ok::<_, std::convert::Infallible>(answer)
    });
    tokio::spawn(server.serve(app));
    (mesh, address)
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, future).await.expect("takes too long")
}

#[tokio::test]
async fn bytes_go_both_ways_after_one_end_has_closed_its_own() {
    let ca = Ca::new();
    let (_server, address) = passing(&ca, plain(&[counting().await]), |_| ()).await;
    let client = mesh(cluster(&[address], upstream(&[THEM])), Some(ca.workload(US)));
    let connector = Connector::new(&client, "things:80").unwrap();
    for bytes in [0, 1, 1_000_000] {
        let mut connection = soon(connector.connect()).await.unwrap();
        assert_eq!((connection.endpoint(), connection.cluster()), (address, "things"));
        let counts = connection.counts().clone();
        let (mut reads, mut writes) = tokio::io::split(&mut connection);
        let sent = async {
            writes.write_all(&vec![7; bytes]).await.unwrap();
            writes.shutdown().await.unwrap();
        };
        let mut read = String::new();
        let (_, ended) = soon(async { tokio::join!(sent, reads.read_to_string(&mut read)) }).await;
        ended.unwrap();
        assert_eq!(read, format!("hello {bytes}"));
        assert_eq!(counts.sent(), bytes as u64);
        assert_eq!(counts.received(), read.len() as u64);
    }
}

#[tokio::test]
async fn connection_counts_as_a_request_until_it_is_gone() {
    let mut limited = plain(&[counting().await]);
    limited.circuit_breakers.default.max_requests = 1;
    let client = mesh(limited, None);
    let connector = Connector::new(&client, "things:80").unwrap();
    let first = soon(connector.connect()).await.unwrap();
    let error = soon(connector.connect()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Overloaded, "{error}");
    drop(first);
    soon(connector.connect()).await.unwrap();
}

#[tokio::test]
async fn endpoint_that_nobody_listens_at_is_told() {
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = dead.local_addr().unwrap();
    drop(dead);
    let client = mesh(plain(&[address]), None);
    let error = soon(Connector::new(&client, "things:80").unwrap().connect()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect);
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

#[tokio::test(start_paused = true)]
async fn silent_connection_ends_after_the_idle_timeout() {
    let (ca, idle) = (Ca::new(), Duration::from_secs(10));
    let upstreams = plain(&[counting().await]);
    let (_server, address) =
        passing(&ca, upstreams, |manager| manager.clients.idle_timeout = Some(idle)).await;
    let client = mesh(cluster(&[address], upstream(&[THEM])), Some(ca.workload(US)));
    let connector = Connector::new(&client, "things:80").unwrap();
    let began = Instant::now();
    let mut connection = soon(connector.connect()).await.unwrap();
    let mut read = Vec::new();
    // Whether it is told or broken off is for TLS to say.
    let _ended = soon(connection.read_to_end(&mut read)).await;
    assert_eq!(read, b"hello ");
    assert!(began.elapsed() >= idle);
}

#[tokio::test(start_paused = true)]
async fn connection_ends_with_the_server() {
    let ca = Ca::new();
    let (server, address) = passing(&ca, plain(&[counting().await]), |_| ()).await;
    let client = mesh(cluster(&[address], upstream(&[THEM])), Some(ca.workload(US)));
    let connector = Connector::new(&client, "things:80").unwrap();
    let mut connection = soon(connector.connect()).await.unwrap();
    let mut hello = [0; 6];
    soon(connection.read_exact(&mut hello)).await.unwrap();
    soon(server.shutdown(Duration::from_secs(10))).await;
    let _ended = soon(connection.read_to_end(&mut Vec::new())).await;
    let error = soon(connector.connect()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect, "{error}");
}

#[tokio::test(start_paused = true)]
async fn mirrors_of_the_route_get_nothing() {
    let shadow = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut shadows = plain(&[shadow.local_addr().unwrap()]);
    shadows.name = "shadows".into();
    let things = plain(&[counting().await]);
    let mut forward = Forward::new(ClusterSpecifier::Cluster(things.name.clone()));
    forward.request_mirror_policies =
        vec![MirrorPolicy::new(MirrorCluster::Cluster("shadows".into()))];
    let routes = routes(Action::Forward(forward.into()));
    let manager = HttpConnectionManager::new(RouteSpecifier::Inline(routes));
    let resources = [Listener::new("things:80", manager).into(), things.into(), shadows.into()];
    let resources = resources.into_iter().collect();
    let client = Mesh::builder().resources(resources).build().unwrap();
    let connector = Connector::new(&client, "things:80").unwrap();
    let mut connection = soon(connector.connect()).await.unwrap();
    let mut hello = [0; 6];
    soon(connection.read_exact(&mut hello)).await.unwrap();
    assert!(tokio::time::timeout(LONG, shadow.accept()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn connection_on_which_nothing_moves_ends_where_a_tcp_proxy_says_when() {
    let idle = Duration::from_secs(10);
    let forward = Forward::new(ClusterSpecifier::Cluster("things".into()));
    let routes = routes(Action::Forward(forward.into()));
    let mut manager = HttpConnectionManager::new(RouteSpecifier::Inline(routes));
    manager.clients.idle_timeout = Some(idle);
    for is_tcp in [true, false] {
        let mut listener = Listener::new("things:80", manager.clone());
        listener.is_tcp = is_tcp;
        let all: [Resource; 2] = [listener.into(), plain(&[counting().await]).into()];
        let mesh = Mesh::builder().resources(all.into_iter().collect()).build().unwrap();
        let mut connection = Connector::new(&mesh, "things:80").unwrap().connect().await.unwrap();
        let mut hello = [0; 6];
        connection.read_exact(&mut hello).await.unwrap();
        for _ in 0..3 {
            tokio::time::sleep(idle / 2).await;
            connection.write_all(b"x").await.unwrap();
        }
        let began = Instant::now();
        let read = tokio::time::timeout(10 * idle, connection.read_u8()).await;
        assert_eq!(read.is_ok(), is_tcp);
        if let Ok(read) = read {
            assert_eq!(read.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
            assert!((idle..idle + Duration::from_secs(1)).contains(&began.elapsed()));
        }
    }
}

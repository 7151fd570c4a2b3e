//! Connections of ours under a server of another library.

use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;

use super::*;
use crate::server::{Acceptor, Peer, ServerLayer};

/// Serves as somebody would who knows nothing of draining.
async fn foreign(mesh: &Mesh, held: &Held) -> (SocketAddr, JoinHandle<()>) {
    let mut acceptor = Acceptor::bind(mesh, ANY).await.unwrap();
    let address = acceptor.local_addr();
    let held = held.clone();
    let app = tower::service_fn(move |request: Request<Incoming>| {
        let held = held.clone();
        async move {
            let extensions = request.extensions();
            let (conn, peer) = (extensions.get::<Conn>(), extensions.get::<Peer>());
            let (conn, peer) = (conn.unwrap(), peer.unwrap());
            assert_eq!(conn.peer().address(), peer.address());
            let text = format!("{} {}", peer.address().ip(), conn.local_address());
            if request.uri().path() == "/held" {
                held.begun.send_modify(|n| *n += 1);
                held.release.subscribe().wait_for(|released| *released).await.unwrap();
            }
            Ok::<_, Infallible>(Response::new(Body::from(text)))
        }
    });
    let make = ServerLayer::new(mesh).make_service(app);
    let serving = tokio::spawn(async move {
        while let Some(accepted) = acceptor.accept().await {
            let service = TowerToHyperService::new(make.on(&accepted));
            tokio::spawn(async move {
                let builder = auto::Builder::new(TokioExecutor::new());
                let _ended = builder.serve_connection(TokioIo::new(accepted), service).await;
            });
        }
    });
    (address, serving)
}

#[tokio::test]
async fn handlers_of_another_server_know_the_connection() {
    let mesh = mesh();
    let (address, _serving) = foreign(&mesh, &Held::new()).await;
    let expected = format!("127.0.0.1 {address}");
    let one = client1(address).await.send_request(get1("/")).await.unwrap();
    assert_eq!(text(one).await, expected);
    let two = client2(address).await.send_request(get2("/")).await.unwrap();
    assert_eq!(text(two).await, expected);
}

#[tokio::test]
async fn shutdown_ends_connections_of_another_server_with_their_calls() {
    let (mesh, held) = (mesh(), Held::new());
    let (address, serving) = foreign(&mesh, &held).await;
    let (mut one, mut two) = (client1(address).await, client2(address).await);
    let mut idle = client2(address).await;
    assert!(idle.send_request(get2("/")).await.unwrap().status().is_success());
    let calls = tokio::spawn(async move {
        tokio::join!(one.send_request(get1("/held")), two.send_request(get2("/held")))
    });
    soon(held.begun(2)).await;
    let stopping = mesh.clone();
    let shutdown = tokio::spawn(async move { stopping.shutdown(Duration::from_secs(60)).await });
    soon(serving).await.unwrap();
    soon(async {
        while !idle.is_closed() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(TcpStream::connect(address).await.is_err());
    assert!(!shutdown.is_finished());

    held.release.send(true).unwrap();
    let (first, second) = soon(calls).await.unwrap();
    let first = first.unwrap();
    assert_eq!(first.headers()["connection"], "close");
    assert_eq!(text(first).await, text(second.unwrap()).await);
    soon(shutdown).await.unwrap();
}

#[tokio::test]
async fn calls_of_another_server_are_cut_at_the_deadline() {
    let (mesh, held) = (mesh(), Held::new());
    let (address, _serving) = foreign(&mesh, &held).await;
    let (mut one, mut two) = (client1(address).await, client2(address).await);
    let calls = tokio::spawn(async move {
        tokio::join!(one.send_request(get1("/held")), two.send_request(get2("/held")))
    });
    soon(held.begun(2)).await;
    soon(mesh.shutdown(Duration::from_millis(300))).await;
    let (first, second) = soon(calls).await.unwrap();
    assert!(first.is_err() && second.is_err());
}

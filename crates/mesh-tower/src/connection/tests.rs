mod http1;
mod http2;
mod options;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use mesh_core::resource::Resources;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;

use super::error::{ConnectFailure, SendError, SendErrorKind};
use super::{Config, Connections, Protocol, Received};
use crate::body::Body;
use crate::mesh::Mesh;
use crate::server::{Conn, RequestBody, Server};

const BOTH: [Protocol; 2] = [Protocol::Http1, Protocol::Http2];

fn connections(address: SocketAddr, protocol: Protocol) -> Arc<Connections> {
    Arc::new(Connections::new(Config::new(address, protocol), Handle::current()))
}

fn get(path: &str) -> Request<Body> {
    Request::get(format!("http://test{path}")).body(Body::empty()).unwrap()
}

async fn text(response: Response<Received>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Waits for something that happens in other tasks; a test that waits in vain fails.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(20), wait).await.is_ok(), "no {what}");
}

/// A server of ours that answers with `answer`, and counts connections by their peers' ports.
async fn serve<F>(
    answer: impl Fn(Request<RequestBody>) -> F + Clone + Send + 'static,
) -> (SocketAddr, Mesh)
where
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let mesh = Mesh::builder().resources(Resources::new()).build().unwrap();
    let server = Server::bind(&mesh, "127.0.0.1:0").await.unwrap();
    let address = server.local_addr();
    let app = tower::service_fn(move |request| {
        let answer = answer(request);
        async move { Ok::<_, std::convert::Infallible>(answer.await) }
    });
    tokio::spawn(server.serve(app));
    (address, mesh)
}

/// The peer's port, which tells connections apart.
async fn port(request: Request<RequestBody>) -> Response<Body> {
    let port = request.extensions().get::<Conn>().unwrap().peer().address().port();
    Response::new(Body::from(port.to_string()))
}

async fn echo(request: Request<RequestBody>) -> Response<Body> {
    Response::new(Body::new(request.into_body()))
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[tokio::test]
async fn sequential_requests_share_one_connection() {
    for protocol in BOTH {
        let (address, _mesh) = serve(port).await;
        let connections = connections(address, protocol);
        let first = text(connections.send_alone(get("/")).await.unwrap()).await;
        for _ in 0..50 {
            assert_eq!(text(connections.send_alone(get("/")).await.unwrap()).await, first);
        }
        assert_eq!(connections.open(), 1);
    }
}

#[tokio::test]
async fn large_bodies_pass_both_ways() {
    for protocol in BOTH {
        let (address, _mesh) = serve(echo).await;
        let connections = connections(address, protocol);
        let large: Bytes = (0..1 << 20).map(|i| i as u8).collect::<Vec<_>>().into();
        for _ in 0..3 {
            let request = Request::post("http://test/").body(Body::from(large.clone())).unwrap();
            let response = connections.send_alone(request).await.unwrap();
            let bytes = response.into_body().collect().await.unwrap().to_bytes();
            assert!(bytes == large);
        }
        assert_eq!(connections.open(), 1);
    }
}

#[tokio::test]
async fn path_arrives_as_it_was_sent() {
    for protocol in BOTH {
        let path = |request: Request<RequestBody>| async move {
            Response::new(Body::from(request.uri().path_and_query().unwrap().to_string()))
        };
        let (address, _mesh) = serve(path).await;
        let sent = "//a/../b%2Fc;d=1/%20?x=%31&x&y=/..";
        let response = connections(address, protocol).send_alone(get(sent)).await.unwrap();
        assert_eq!(text(response).await, sent);
    }
}

#[tokio::test]
async fn refused_connect_gives_the_request_back() {
    for protocol in BOTH {
        let (listener, address) = listen().await;
        drop(listener);
        let connections = connections(address, protocol);
        let mut error = connections.send_alone(get("/x")).await.unwrap_err();
        assert_eq!(error.kind(), SendErrorKind::Connect(ConnectFailure::Refused));
        let source = std::error::Error::source(&error).unwrap();
        assert!(source.is::<std::io::Error>());
        assert_eq!(error.take_request().unwrap().uri().path(), "/x");
        assert_eq!(connections.open(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn connect_times_out() {
    for protocol in BOTH {
        // A full queue of connections that nobody accepts leaves the next one without an answer.
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let _queued = TcpStream::connect(address).await.unwrap();

        let start = tokio::time::Instant::now();
        let error = connections(address, protocol).send_alone(get("/")).await.unwrap_err();
        assert_eq!(error.kind(), SendErrorKind::Connect(ConnectFailure::TimedOut));
        assert_eq!(start.elapsed().as_secs(), 5);
    }
}

#[tokio::test]
async fn draining_closes_idle_connections_and_still_sends() {
    for protocol in BOTH {
        let (address, _mesh) = serve(port).await;
        let connections = connections(address, protocol);
        connections.send_alone(get("/")).await.unwrap().into_body().collect().await.unwrap();
        assert_eq!(connections.open(), 1);
        connections.drain();
        until("closed connection", || connections.open() == 0).await;

        let response = connections.send_alone(get("/")).await.unwrap();
        text(response).await;
        until("closed connection", || connections.open() == 0).await;
    }
}

#[tokio::test]
async fn dropping_lets_requests_under_way_finish() {
    for protocol in BOTH {
        let (release, held) = tokio::sync::watch::channel(false);
        let answer = move |request| {
            let mut held = held.clone();
            async move {
                held.wait_for(|released| *released).await.unwrap();
                port(request).await
            }
        };
        let (address, _mesh) = serve(answer).await;
        let connections = connections(address, protocol);
        let open = Arc::clone(&connections.dialer.open);
        let request = {
            let connections = Arc::clone(&connections);
            tokio::spawn(async move { connections.send_alone(get("/")).await })
        };
        until("connection", || open.load(Ordering::Relaxed) == 1).await;
        connections.drain();
        release.send(true).unwrap();
        let response = request.await.unwrap().unwrap();
        drop(connections);
        text(response).await;
        until("closed connection", || open.load(Ordering::Relaxed) == 0).await;
    }
}

#[test]
fn connections_live_on_the_given_runtime() {
    for protocol in BOTH {
        let home = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (address, _mesh) = home.block_on(serve(port));
        let config = Config::new(address, protocol);
        let connections = Arc::new(Connections::new(config, home.handle().clone()));
        // No i/o and no timers here: a socket or a sleep of the caller's own would panic.
        let caller = tokio::runtime::Builder::new_current_thread().build().unwrap();
        caller.block_on(async {
            for _ in 0..20 {
                text(connections.send_alone(get("/")).await.unwrap()).await;
            }
            assert!(connections.open() <= 2, "{} connections", connections.open());
        });

        home.shutdown_timeout(Duration::from_secs(5));
        let error = caller.block_on(connections.send_alone(get("/"))).unwrap_err();
        assert_eq!(error.kind(), SendErrorKind::Shutdown, "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_requests_at_once_on_several_threads() {
    for protocol in BOTH {
        let (address, _mesh) = serve(echo).await;
        let connections = connections(address, protocol);
        let tasks = (0..16).map(|task| {
            let connections = Arc::clone(&connections);
            tokio::spawn(async move {
                for i in 0..200 {
                    let sent = format!("{task}:{i}");
                    let request = Request::post("http://test/").body(Body::from(sent.clone()));
                    let response = connections.send_alone(request.unwrap()).await.unwrap();
                    assert_eq!(text(response).await, sent);
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        assert!(connections.open() <= 32, "{} connections", connections.open());
    }
}

#[test]
fn types_are_send() {
    fn shared<T: Send + Sync>() {}
    shared::<Connections>();
    shared::<SendError>();
    fn send<T: Send>(_: T) {}
    send(async {
        let runtime = Handle::current();
        let config = Config::new(([127, 0, 0, 1], 1).into(), Protocol::Http1);
        Arc::new(Connections::new(config, runtime)).send_alone(get("/")).await.map(drop)
    });
}

/// Counts what a raw server has accepted.
#[derive(Clone, Default)]
struct Count(Arc<AtomicUsize>);

impl Count {
    fn add(&self) -> usize {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Reads an HTTP/1.1 request's head; `None` at the end of the connection.
async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).unwrap())
}

async fn write(stream: &mut TcpStream, bytes: impl AsRef<[u8]>) {
    stream.write_all(bytes.as_ref()).await.unwrap();
}

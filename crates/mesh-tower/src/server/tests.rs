mod acceptor;
mod attacks;
mod callers;
mod limits;
mod modes;
mod policy;
mod probes;
mod tcp;
mod tls;
mod unix;
mod upgrades;
mod who;

use std::convert::Infallible;
use std::future::{Future, pending};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use mesh_core::resource::Resources;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{Conn, RequestBody, Server};
use crate::body::Body;
use crate::mesh::Mesh;

const ANY: &str = "127.0.0.1:0";

/// A mesh without configuration.
fn mesh() -> Mesh {
    Mesh::builder().resources(Resources::new()).build().unwrap()
}

/// A server of a mesh of its own.
async fn bound() -> Server {
    Server::bind(&mesh(), ANY).await.unwrap()
}

/// An application of one function, in the background.
fn start<F>(
    server: Server,
    answer: impl Fn(Request<RequestBody>) -> F + Clone + Send + 'static,
) -> (SocketAddr, JoinHandle<std::io::Result<()>>)
where
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let address = server.local_addr();
    let app = tower::service_fn(move |request| {
        let answer = answer(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    (address, tokio::spawn(server.serve(app)))
}

async fn hello(_: Request<RequestBody>) -> Response<Body> {
    Response::new(Body::from("hello"))
}

/// Answers once told, and tells when it has begun and whether it was dropped.
#[derive(Clone)]
struct Held {
    begun: watch::Sender<u32>,
    release: watch::Sender<bool>,
    dropped: Arc<AtomicBool>,
}

impl Held {
    fn new() -> Self {
        let (begun, release) = (watch::Sender::new(0), watch::Sender::new(false));
        Self { begun, release, dropped: Arc::default() }
    }

    async fn answer(self, request: Request<RequestBody>) -> Response<Body> {
        struct Guard(Option<Arc<AtomicBool>>);
        impl Drop for Guard {
            fn drop(&mut self) {
                if let Some(dropped) = self.0.take() {
                    dropped.store(true, Ordering::Relaxed);
                }
            }
        }
        let mut guard = Guard(Some(self.dropped));
        self.begun.send_modify(|n| *n += 1);
        self.release.subscribe().wait_for(|released| *released).await.unwrap();
        guard.0 = None;
        hello(request).await
    }

    async fn begun(&self, requests: u32) {
        self.begun.subscribe().wait_for(|n| *n == requests).await.unwrap();
    }
}

async fn client1(address: SocketAddr) -> http1::SendRequest<Empty<Bytes>> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn client2(address: SocketAddr) -> http2::SendRequest<Empty<Bytes>> {
    let stream = TcpStream::connect(address).await.unwrap();
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    sender
}

fn get1(path: &str) -> Request<Empty<Bytes>> {
    Request::get(path).header("host", "test").body(Empty::new()).unwrap()
}

fn get2(path: &str) -> Request<Empty<Bytes>> {
    Request::get(format!("http://test{path}")).body(Empty::new()).unwrap()
}

async fn text(response: Response<Incoming>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("takes too long")
}

#[tokio::test]
async fn serves_an_axum_router_over_both_protocols_on_one_port() {
    let server = bound().await;
    let address = server.local_addr();
    let who = |axum::Extension(conn): axum::Extension<Conn>, version: Version| async move {
        format!("{version:?} {} {}", conn.peer().address().ip(), conn.local_address())
    };
    let app = axum::Router::new().route("/who", axum::routing::get(who));
    tokio::spawn(server.serve(app));

    let one = client1(address).await.send_request(get1("/who")).await.unwrap();
    assert_eq!(text(one).await, format!("HTTP/1.1 127.0.0.1 {address}"));
    let two = client2(address).await.send_request(get2("/who")).await.unwrap();
    assert_eq!(text(two).await, format!("HTTP/2.0 127.0.0.1 {address}"));
}

#[tokio::test]
async fn panic_in_a_handler_costs_its_request_alone() {
    let answer = |request: Request<RequestBody>| async move {
        assert!(request.uri().path() != "/panic", "as it was told");
        hello(request).await
    };
    let server = bound().await;
    let (address, _server) = start(server, answer);

    let mut two = client2(address).await;
    let (bad, good) =
        tokio::join!(two.clone().send_request(get2("/panic")), two.send_request(get2("/")));
    assert!(bad.is_err());
    assert_eq!(text(good.unwrap()).await, "hello");

    let mut other = client1(address).await;
    assert!(client1(address).await.send_request(get1("/panic")).await.is_err());
    assert_eq!(text(other.send_request(get1("/")).await.unwrap()).await, "hello");
    assert_eq!(text(client1(address).await.send_request(get1("/")).await.unwrap()).await, "hello");
}

#[tokio::test]
async fn graceful_shutdown_finishes_calls_and_refuses_new_connections() {
    let held = Held::new();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = bound().await.with_graceful_shutdown(async { drop(stopped.await) });
    let app = held.clone();
    let (address, server) = start(server, move |request| app.clone().answer(request));

    let (mut one, mut two) = (client1(address).await, client2(address).await);
    let idle = client1(address).await;
    let calls = tokio::spawn(async move {
        let (first, second) =
            tokio::join!(one.send_request(get1("/")), two.send_request(get2("/")));
        let after = two.send_request(get2("/")).await;
        (text(first.unwrap()).await, text(second.unwrap()).await, after)
    });
    soon(held.begun(2)).await;
    stop.send(()).unwrap();
    soon(async {
        while TcpStream::connect(address).await.is_ok() || !idle.is_closed() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(!server.is_finished());

    held.release.send(true).unwrap();
    let (first, second, after) = soon(calls).await.unwrap();
    assert_eq!((first.as_str(), second.as_str()), ("hello", "hello"));
    assert!(after.is_err(), "the client was told to go elsewhere");
    soon(server).await.unwrap().unwrap();
}

#[tokio::test]
async fn calls_are_cut_at_the_deadline() {
    for http2 in [false, true] {
        let held = Held::new();
        let mesh = mesh();
        let drain = &mesh.inner().drain;
        let server = Server::bind(&mesh, ANY).await.unwrap();
        let app = held.clone();
        let (address, server) = start(server, move |request| app.clone().answer(request));
        let call = tokio::spawn(async move {
            if http2 {
                client2(address).await.send_request(get2("/")).await
            } else {
                client1(address).await.send_request(get1("/")).await
            }
        });
        soon(held.begun(1)).await;

        drain.begin(Instant::now());
        soon(server).await.unwrap().unwrap();
        soon(drain.finished()).await;
        assert!(soon(call).await.unwrap().is_err());
        soon(async {
            while !held.dropped.load(Ordering::Relaxed) {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn mesh_shutting_down_cuts_a_longer_drain_short() {
    let held = Held::new();
    let mesh = mesh();
    let drain = &mesh.inner().drain;
    let (stop, stopped) = oneshot::channel::<()>();
    let server = Server::bind(&mesh, ANY)
        .await
        .unwrap()
        .with_graceful_shutdown(async { drop(stopped.await) })
        .with_drain_timeout(Duration::from_secs(3600));
    let app = held.clone();
    let (address, server) = start(server, move |request| app.clone().answer(request));
    let mut client = client1(address).await;
    let call = tokio::spawn(async move { client.send_request(get1("/")).await });
    soon(held.begun(1)).await;
    stop.send(()).unwrap();
    soon(async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    drain.begin(Instant::now());
    soon(server).await.unwrap().unwrap();
    assert!(soon(call).await.unwrap().is_err());
}

#[tokio::test]
async fn server_bound_after_the_drain_began_ends_at_once() {
    let mesh = mesh();
    mesh.inner().drain.begin(Instant::now());
    let (_, server) = start(Server::bind(&mesh, ANY).await.unwrap(), hello);
    soon(server).await.unwrap().unwrap();
}

#[tokio::test]
async fn dropping_the_server_cuts_its_connections() {
    let held = Held::new();
    let server = bound().await;
    let app = held.clone();
    let (address, server) = start(server, move |request| app.clone().answer(request));
    let mut client = client1(address).await;
    let call = tokio::spawn(async move { client.send_request(get1("/")).await });
    soon(held.begun(1)).await;
    server.abort();
    assert!(soon(call).await.unwrap().is_err());
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn connection_beyond_the_limit_waits_for_another_to_end() {
    let server = bound().await.with_max_connections(1);
    let (address, _server) = start(server, hello);
    let mut first = client1(address).await;
    assert_eq!(text(first.send_request(get1("/")).await.unwrap()).await, "hello");

    let mut second = client1(address).await;
    let waiting = tokio::spawn(async move { second.send_request(get1("/")).await });
    first.ready().await.unwrap();
    assert_eq!(text(first.send_request(get1("/")).await.unwrap()).await, "hello");
    assert!(!waiting.is_finished());
    drop(first);
    assert_eq!(text(soon(waiting).await.unwrap().unwrap()).await, "hello");
}

/// Whether it began to speak or not, and in whichever protocol.
#[tokio::test(start_paused = true)]
async fn silent_connection_is_closed() {
    for begun in ["", "PRI * HT", "GET / HTTP/1.1\r\nhost:"] {
        let server = bound().await;
        let (address, _server) = start(server, hello);
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        let start = Instant::now();
        let mut rest = Vec::new();
        let read = stream.read_to_end(&mut rest);
        let closed = tokio::time::timeout(Duration::from_secs(3600), read).await;
        assert!(closed.is_ok(), "open after an hour: {begun:?}");
        assert_eq!(start.elapsed().as_secs(), 60, "{begun:?}");
    }
}

#[tokio::test]
async fn refuses_headers_beyond_the_limit() {
    let server = bound().await;
    let (address, _server) = start(server, hello);
    let large = |bytes: usize, mut request: Request<Empty<Bytes>>| {
        request.headers_mut().insert("x-large", "x".repeat(bytes).parse().unwrap());
        request
    };
    let mut one = client1(address).await;
    let fits = one.send_request(large(50 << 10, get1("/"))).await.unwrap();
    assert_eq!(text(fits).await, "hello");
    one.ready().await.unwrap();
    let refused = one.send_request(large(64 << 10, get1("/"))).await.unwrap();
    assert_eq!(refused.status(), 431);

    let mut two = client2(address).await;
    assert!(two.send_request(large(50 << 10, get2("/"))).await.unwrap().status().is_success());
    match two.send_request(large(64 << 10, get2("/"))).await {
        Ok(refused) => assert_eq!(refused.status(), 431),
        Err(error) => assert!(!error.is_user(), "{error:?}"),
    }
}

#[tokio::test]
async fn many_streams_share_a_connection() {
    let held = Held::new();
    let server = bound().await;
    let app = held.clone();
    let (address, _server) = start(server, move |request| app.clone().answer(request));
    let two = client2(address).await;
    let calls: Vec<_> = (0..1000)
        .map(|_| {
            let mut two = two.clone();
            tokio::spawn(async move { two.send_request(get2("/")).await.unwrap().status() })
        })
        .collect();
    soon(held.begun(1000)).await;
    held.release.send(true).unwrap();
    for call in calls {
        assert!(soon(call).await.unwrap().is_success());
    }
}

#[tokio::test]
async fn serve_future_is_send_and_ends_with_its_signal() {
    fn send<T: Send>(future: T) -> T {
        future
    }
    let server = bound()
        .await
        .with_graceful_shutdown(std::future::ready(()))
        .with_drain_timeout(Duration::ZERO);
    let app = tower::service_fn(|_: Request<RequestBody>| {
        pending::<Result<Response<Body>, Infallible>>()
    });
    soon(send(server.serve(app))).await.unwrap();
}

//! Connections that are the application's from an answer on.

use http::StatusCode;
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};

use super::*;
use crate::server::{Acceptor, Limits, ServerLayer};

const MINUTE: Duration = Duration::from_secs(60);

/// What rounding and the drain itself add.
const MORE: Duration = Duration::from_secs(3);

/// Says yes to an upgrade or a tunnel, and sends back what comes over it.
pub(super) async fn echo<B>(mut request: Request<B>) -> Response<Body> {
    let is_tunnel = request.method() == http::Method::CONNECT;
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let (mut read, mut write) = tokio::io::split(TokioIo::new(upgrade.await.unwrap()));
        let _ended = tokio::io::copy(&mut read, &mut write).await;
    });
    let mut answer = Response::new(Body::empty());
    if !is_tunnel {
        *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        answer.headers_mut().insert("connection", "upgrade".parse().unwrap());
        answer.headers_mut().insert("upgrade", "echo".parse().unwrap());
    }
    answer
}

#[derive(Clone, Copy, Debug)]
enum By {
    Server,
    /// A server that knows nothing of draining.
    Other,
}

async fn serve(mesh: &Mesh, by: By, limits: Limits) -> (SocketAddr, JoinHandle<()>) {
    match by {
        By::Server => {
            let server = Server::bind(mesh, ANY).await.unwrap().with_limits(limits);
            let (address, serving) = start(server, echo);
            (address, tokio::spawn(async move { serving.await.unwrap().unwrap() }))
        }
        By::Other => {
            let mut acceptor = Acceptor::bind(mesh, ANY).await.unwrap().with_limits(limits);
            let address = acceptor.local_addr();
            let app = tower::service_fn(|request: Request<Incoming>| async move {
                Ok::<_, Infallible>(echo(request).await)
            });
            let make = ServerLayer::new(mesh).make_service(app);
            let serving = tokio::spawn(async move {
                while let Some(accepted) = acceptor.accept().await {
                    let service = TowerToHyperService::new(make.on(&accepted));
                    tokio::spawn(async move {
                        let builder = auto::Builder::new(TokioExecutor::new());
                        let io = TokioIo::new(accepted);
                        let _ended = builder.serve_connection_with_upgrades(io, service).await;
                    });
                }
            });
            (address, serving)
        }
    }
}

/// A connection that speaks something else from now on.
pub(super) async fn upgraded(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = "GET / HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    assert!(answer.starts_with(b"HTTP/1.1 101 "));
    assert!(echoes(&mut stream).await);
    stream
}

/// Whether what is sent comes back.
pub(super) async fn echoes(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> bool {
    let mut back = [0; 4];
    stream.write_all(b"ping").await.is_ok()
        && stream.read_exact(&mut back).await.is_ok_and(|_| &back == b"ping")
}

/// When the server closes a connection that is left alone.
async fn closed(mut stream: impl AsyncRead + Unpin) -> Duration {
    let began = Instant::now();
    let mut rest = Vec::new();
    let _end = stream.read_to_end(&mut rest).await;
    assert!(rest.is_empty());
    began.elapsed()
}

fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    change(&mut limits);
    limits
}

#[tokio::test]
async fn upgraded_connection_lasts_until_the_end_of_a_drain() {
    for by in [By::Server, By::Other] {
        let mesh = mesh();
        let (address, serving) = serve(&mesh, by, Limits::default()).await;
        let mut stream = upgraded(address).await;
        let began = Instant::now();
        let stopping = mesh.clone();
        let shutdown =
            tokio::spawn(async move { stopping.shutdown(Duration::from_millis(900)).await });
        soon(async {
            while TcpStream::connect(address).await.is_ok() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert!(echoes(&mut stream).await, "{by:?}");
        soon(closed(stream)).await;
        assert!(began.elapsed() >= Duration::from_millis(900), "{by:?}: {:?}", began.elapsed());
        soon(serving).await.unwrap();
        soon(shutdown).await.unwrap();
    }
}

#[tokio::test]
async fn drain_ends_with_the_last_upgraded_connection() {
    for by in [By::Server, By::Other] {
        let mesh = mesh();
        let (address, serving) = serve(&mesh, by, Limits::default()).await;
        let stream = upgraded(address).await;
        let stopping = mesh.clone();
        let shutdown = tokio::spawn(async move { stopping.shutdown(Duration::MAX).await });
        soon(mesh.draining()).await;
        assert!(!shutdown.is_finished());
        drop(stream);
        soon(serving).await.unwrap();
        soon(shutdown).await.unwrap();
    }
}

#[tokio::test]
async fn tunnel_over_http2_is_cut_at_the_end_of_a_drain() {
    for by in [By::Server, By::Other] {
        let mesh = mesh();
        let (address, serving) = serve(&mesh, by, Limits::default()).await;
        let mut two = client2(address).await;
        let request = Request::connect("test:80").body(Empty::new()).unwrap();
        let answer = two.send_request(request).await.unwrap();
        let mut tunnel = TokioIo::new(hyper::upgrade::on(answer).await.unwrap());
        assert!(echoes(&mut tunnel).await);
        let stopping = mesh.clone();
        let shutdown =
            tokio::spawn(async move { stopping.shutdown(Duration::from_millis(900)).await });
        soon(mesh.draining()).await;
        assert!(echoes(&mut tunnel).await, "{by:?}");
        soon(closed(tunnel)).await;
        soon(serving).await.unwrap();
        soon(shutdown).await.unwrap();
    }
}

#[tokio::test]
async fn dropping_the_server_cuts_upgraded_connections() {
    let server = bound().await;
    let (address, serving) = start(server, echo);
    let stream = upgraded(address).await;
    serving.abort();
    soon(closed(stream)).await;
}

#[tokio::test(start_paused = true)]
async fn upgraded_connection_is_idle_when_no_byte_moves() {
    for by in [By::Server, By::Other] {
        let limits = limits(|limits| limits.idle_timeout = 4 * MINUTE);
        let (address, _serving) = serve(&mesh(), by, limits).await;
        let mut stream = upgraded(address).await;
        for _ in 0..20 {
            tokio::time::sleep(MINUTE).await;
            assert!(echoes(&mut stream).await, "{by:?}");
        }
        let after = closed(stream).await;
        assert!((4 * MINUTE..=5 * MINUTE + MORE).contains(&after), "{by:?}: {after:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn old_upgraded_connection_is_cut_after_the_grace() {
    for by in [By::Server, By::Other] {
        let limits = limits(|limits| {
            limits.max_connection_age = Some(10 * MINUTE);
            limits.max_connection_age_grace = Some(5 * MINUTE);
        });
        let (address, _serving) = serve(&mesh(), by, limits).await;
        let began = Instant::now();
        let mut stream = upgraded(address).await;
        while echoes(&mut stream).await {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let after = began.elapsed();
        assert!((14 * MINUTE..=16 * MINUTE + MORE).contains(&after), "{by:?}: {after:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_limit_may_be_told_as_the_longest_time() {
    for by in [By::Server, By::Other] {
        let limits = limits(|limits| {
            limits.header_read_timeout = Duration::MAX;
            limits.body_idle_timeout = Duration::MAX;
            limits.request_timeout = Some(Duration::MAX);
            limits.send_timeout = Duration::MAX;
            limits.idle_timeout = Duration::MAX;
            limits.max_connection_age = Some(Duration::MAX);
            limits.max_connection_age_grace = Some(Duration::MAX);
        });
        let (address, _serving) = serve(&mesh(), by, limits).await;
        let mut stream = upgraded(address).await;
        tokio::time::sleep(10_000 * MINUTE).await;
        assert!(echoes(&mut stream).await);
    }
}

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use http::Extensions;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::Echo;

/// How long requests under way may go on after the server was told to stop.
const DRAIN: Duration = Duration::from_secs(10);

/// How long to wait after `accept` failed, which it mostly does for want of file descriptors: then
/// at once would fail at once again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The connection a request came on; in the extensions of requests from [`serve`].
#[derive(Clone, Debug)]
pub struct Connection {
    peer: SocketAddr,
    closed: CancellationToken,
}

impl Connection {
    /// The address at the other end, whichever server put it into the extensions of a request:
    /// [`serve`], or the mesh's own.
    pub(super) fn peer(extensions: &Extensions) -> Option<SocketAddr> {
        let own = extensions.get::<Self>().map(|connection| connection.peer);
        own.or_else(|| extensions.get::<mesh_tower::Conn>().map(|conn| conn.peer().address()))
    }

    /// Drops the connection, with every request on it.
    pub(super) fn close(&self) {
        self.closed.cancel();
    }
}

/// Serves HTTP/1.1, HTTP/2 with prior knowledge and gRPC on one listener until `stop`, then
/// finishes what is under way, for 10 seconds at most.
///
/// Dropping the future stops accepting; connections end with their own tasks.
///
/// # Errors
///
/// None at present: a failing `accept` is retried.
pub async fn serve(listener: TcpListener, echo: Echo, stop: CancellationToken) -> io::Result<()> {
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => connection(stream, peer, echo.clone(), &graceful),
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still under way {DRAIN:?} after the stop");
    }
    Ok(())
}

fn connection(stream: TcpStream, peer: SocketAddr, echo: Echo, graceful: &GracefulShutdown) {
    // Answers are small; without this each could wait for the acknowledgement of the one before.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "cannot send at once");
    }
    let closed = CancellationToken::new();
    let connection = Connection { peer, closed: closed.clone() };
    let service = echo.map_request(move |mut request: http::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(connection.clone());
        request
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new());
    builder.http2().timer(TokioTimer::new());
    let served = builder
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
        .into_owned();
    let served = graceful.watch(served);
    tokio::spawn(async move {
        tokio::select! {
            // First, so that the answer of a request that asked for none is never begun.
            biased;
            () = closed.cancelled() => {}
            result = served => {
                if let Err(error) = result {
                    tracing::debug!(%peer, %error, "connection ended");
                }
            }
        }
    });
}

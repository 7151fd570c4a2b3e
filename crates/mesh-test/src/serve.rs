//! A plain server for any service, independent of the one under test.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::{CancellationToken, DropGuard};
use tower_service::Service;

use crate::wait::eventually;

/// Any error a service or body may have.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A server of HTTP/1.1 and HTTP/2. Dropping it cuts every connection.
#[derive(Debug)]
pub struct Serving {
    address: SocketAddr,
    _stop: DropGuard,
}

impl Serving {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// A free port of the loopback interface.
pub fn any_port() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

/// A listener at `address`, waited for while an earlier one there is still going away.
pub async fn listen(address: SocketAddr) -> TcpListener {
    eventually("free address", || {
        let listener = std::net::TcpListener::bind(address).ok()?;
        listener.set_nonblocking(true).ok()?;
        TcpListener::from_std(listener).ok()
    })
    .await
}

/// An address that refuses connections for as long as the socket is kept.
pub fn refused() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().expect("sockets can be made");
    socket.bind(any_port()).expect("a port is free");
    let address = socket.local_addr().expect("a bound socket has an address");
    (socket, address)
}

/// Serves `service` at `address`.
pub async fn serve<S, B>(address: SocketAddr, service: S) -> Serving
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let listener = listen(address).await;
    let address = listener.local_addr().expect("a listener has an address");
    let stop = CancellationToken::new();
    tokio::spawn(stop.clone().run_until_cancelled_owned(accept(listener, service, stop.clone())));
    Serving { address, _stop: stop.drop_guard() }
}

async fn accept<S, B>(listener: TcpListener, service: S, stop: CancellationToken)
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    while let Ok((stream, _)) = listener.accept().await {
        stream.set_nodelay(true).expect("a connected socket takes the option");
        let service = TowerToHyperService::new(service.clone());
        let stop = stop.clone();
        tokio::spawn(async move {
            let builder = Builder::new(TokioExecutor::new());
            let served = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
            // How a connection ends is the client's to notice.
            let _ended = stop.run_until_cancelled(served).await;
        });
    }
}

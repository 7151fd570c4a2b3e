use std::io;
use std::pin::pin;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tower_service::Service;

use super::accept::accept;
use super::bind::Server;
use super::conn::{Closing, Conn, WithConn};
use super::limits;
use super::opening::Opening;
use crate::body::BoxError;

/// The connections of one server. Its drop ends them.
struct Connections<S> {
    app: S,
    builder: auto::Builder<TokioExecutor>,
    graceful: GracefulShutdown,
    closing: Closing,
    tasks: JoinSet<()>,
}

impl Server {
    /// Serves `app` until drained, and returns when the last connection has ended.
    ///
    /// A clone of `app` handles each request; its extensions hold the [`Conn`], and its path is
    /// what the client sent. An error of `app`, or a panic, ends the request: on HTTP/1.1 with its
    /// connection, on HTTP/2 by resetting its stream.
    ///
    /// Dropping the future stops accepting and cuts every connection.
    ///
    /// # Errors
    ///
    /// None today: errors of single connections are logged, those of accepting are waited out.
    pub async fn serve<S, B>(mut self, app: S) -> io::Result<()>
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let mut connections = Connections::new(app);
        let mut failures = 0;
        let deadline = loop {
            let room = connections.tasks.len() < self.max_connections;
            tokio::select! {
                // Shutting down comes first, or a stream of new connections could keep it away.
                biased;
                deadline = self.draining.begun() => break deadline,
                () = &mut self.signal => break Instant::now() + self.drain_timeout,
                Some(ended) = connections.tasks.join_next() => log_panic(ended),
                (stream, peer) = accept(&self.listener, &mut failures), if room => {
                    connections.spawn(stream, peer);
                }
            }
        };
        // Closed before connections drain: whoever comes now is refused at once, and goes
        // elsewhere.
        drop(self.listener);
        let Self { mut draining, .. } = self;
        let cut = async move {
            // The mesh may shut down while the signal's own drain is under way, and with less time.
            let sooner = async { tokio::time::sleep_until(draining.begun().await).await };
            tokio::select! {
                () = tokio::time::sleep_until(deadline) => {}
                () = sooner => {}
            }
        };
        connections.drain(cut).await;
        Ok(())
    }
}

impl<S> Connections<S> {
    fn new(app: S) -> Self {
        Self {
            app,
            builder: limits::connection_builder(),
            graceful: GracefulShutdown::new(),
            closing: Closing::default(),
            tasks: JoinSet::new(),
        }
    }

    /// Lets calls finish until `cut`, then ends what is left.
    ///
    /// An idle HTTP/1.1 connection cannot be closed without risk to a request that is just being
    /// sent on it. So for a moment connections that are in use are closed by their next answer,
    /// and only those that stayed idle meanwhile at once.
    async fn drain(self, cut: impl Future<Output = ()>) {
        let Self { graceful, closing, mut tasks, .. } = self;
        closing.begin();
        let mut cut = pin!(cut);
        let ended = async {
            while let Some(ended) = tasks.join_next().await {
                log_panic(ended);
            }
        };
        let is_cut = tokio::select! {
            biased;
            () = ended => false,
            () = tokio::time::sleep(limits::IDLE_GRACE) => false,
            () = &mut cut => true,
        };
        let is_cut = is_cut
            || tokio::select! {
                biased;
                () = graceful.shutdown() => false,
                () = cut => true,
            };
        if is_cut {
            tracing::warn!(connections = tasks.len(), "calls cut at the deadline of the drain");
        }
        tasks.shutdown().await;
    }
}

impl<S, B> Connections<S>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    fn spawn(&mut self, stream: TcpStream, peer: std::net::SocketAddr) {
        // Fails when the connection is already gone again, which its task will notice.
        let _ = crate::connection::tune(&stream);
        let Ok(local) = stream.local_addr() else { return };
        let app = WithConn {
            app: self.app.clone(),
            conn: Conn { peer, local },
            closing: self.closing.clone(),
        };
        let opening = Opening::new(stream, limits::HEADER_READ_TIMEOUT);
        let connection = self
            .builder
            .serve_connection_with_upgrades(TokioIo::new(opening), TowerToHyperService::new(app))
            .into_owned();
        let watched = self.graceful.watch(connection);
        self.tasks.spawn(async move {
            if let Err(error) = watched.await {
                // Peers vanish all the time; what the application failed with, it can log itself.
                let error: &dyn std::error::Error = &*error;
                tracing::debug!(%peer, error, "connection ended");
            }
        });
    }
}

fn log_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a handler ended its connection");
    }
}

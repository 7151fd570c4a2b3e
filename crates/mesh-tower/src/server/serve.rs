use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tower::ServiceExt;
use tower_service::Service;

use super::accepted::Accepted;
use super::bind::Server;
use super::closing;
use super::limits::Limits;
use super::request_body::RequestBody;
use super::service::{MakeService, ServerLayer};
use crate::body::BoxError;

/// The connections of one server. Its drop ends them.
struct Connections<S> {
    make: MakeService<S>,
    builder: auto::Builder<TokioExecutor>,
    limits: Arc<Limits>,
    tasks: JoinSet<()>,
}

impl Server {
    /// Serves `app` until drained, and returns when the last connection has ended.
    ///
    /// A clone of `app` handles each request; its extensions hold the [`Conn`](super::Conn), the
    /// [`Peer`](super::Peer) and the caller's [`Deadline`](crate::Deadline), and its path is what
    /// the client sent, in the form that configuration asks for. An error of `app`, or a panic,
    /// ends the request: on HTTP/1.1 with its connection, on HTTP/2 by resetting its stream.
    ///
    /// A connection that an answer hands over to the application (an HTTP/1.1 upgrade, CONNECT) is
    /// drained as one with a call that goes on: reading fails at the deadline, and when no byte
    /// has come or gone for the [idle timeout](super::Limits::idle_timeout).
    ///
    /// Dropping the future stops accepting and cuts every connection.
    ///
    /// # Errors
    ///
    /// When the listener of [probes](Self::with_probes) cannot be used. Errors of single
    /// connections are logged, those of accepting are waited out.
    pub async fn serve<S, B>(mut self, app: S) -> io::Result<()>
    where
        S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let probes = self.probes.take();
        let probes = probes.map(|probes| probes.spawn(&self.acceptor.mesh, &app)).transpose()?;
        let layer = ServerLayer::new(&self.acceptor.mesh);
        let mut connections = Connections {
            make: layer.make_service(app),
            builder: self.limits().connection_builder(),
            limits: self.limits().clone(),
            tasks: JoinSet::new(),
        };
        loop {
            tokio::select! {
                // Shutting down comes first, or a stream of new connections could keep it away.
                biased;
                () = &mut self.signal => {
                    self.acceptor.close(Instant::now().checked_add(self.drain_timeout));
                    break;
                }
                Some(ended) = connections.tasks.join_next() => log_panic(ended),
                accepted = self.acceptor.accept() => match accepted {
                    Some(accepted) => connections.spawn(accepted),
                    None => break,
                },
            }
        }
        let (mut is_cut, mut draining) = (false, self.acceptor.draining.clone());
        loop {
            if connections.tasks.is_empty() && self.acceptor.passing.is_empty() {
                break;
            }
            tokio::select! {
                // The mesh may shut down while the signal's own drain is under way, and with less
                // time.
                deadline = draining.begun(), if !is_cut => {
                    is_cut = true;
                    self.acceptor.close(Some(deadline));
                }
                Some(ended) = connections.tasks.join_next() => log_panic(ended),
                Some(ended) = self.acceptor.passing.join_next() => log_panic(ended),
            }
        }
        // Until the last call is over: who asks is told that this server goes, and not that it is
        // gone.
        drop(probes);
        Ok(())
    }
}

impl<S, B> Connections<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    fn spawn(&mut self, accepted: Accepted) {
        let (conn, limits) = (accepted.conn().clone(), accepted.limits().clone());
        let app = self.make.on(&accepted);
        let for_body = limits.clone();
        let app = app.map_request(move |request: Request<Incoming>| {
            request.map(|body| RequestBody::new(body, &for_body))
        });
        let (accepted, gone) = accepted.without_own_end();
        let io = TokioIo::new(accepted);
        let own = (!Arc::ptr_eq(&limits, &self.limits)).then(|| limits.connection_builder());
        let connection = own
            .as_ref()
            .unwrap_or(&self.builder)
            .serve_connection_with_upgrades(io, TowerToHyperService::new(app))
            .into_owned();
        self.tasks.spawn(closing::serve(connection, conn, limits, gone));
    }
}

/// Tells of the task of a connection that did not end by itself.
pub(super) fn log_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection's task failed");
    }
}

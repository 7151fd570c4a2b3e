use std::fmt;
use std::future::{Future, pending};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use tokio::net::{TcpListener, ToSocketAddrs};

use super::drain::{Drain, Draining};
use super::limits;
use crate::mesh::Mesh;

/// An HTTP server: HTTP/1.1 and HTTP/2 with prior knowledge on one port.
pub struct Server {
    pub(super) listener: TcpListener,
    pub(super) local: SocketAddr,
    pub(super) draining: Draining,
    pub(super) signal: Signal,
    pub(super) drain_timeout: Duration,
    pub(super) max_connections: usize,
}

pub(super) type Signal = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Server {
    /// A server on `address`, with the port chosen by the system when it is 0. It takes connections
    /// once it [serves](Self::serve), and drains when the mesh [shuts
    /// down](Mesh::shutdown).
    ///
    /// # Errors
    /// What binding the address gives.
    pub async fn bind(mesh: &Mesh, address: impl ToSocketAddrs) -> io::Result<Self> {
        Self::listen(&mesh.inner().drain, address).await
    }

    pub(crate) async fn listen(drain: &Drain, address: impl ToSocketAddrs) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        Ok(Self {
            local: listener.local_addr()?,
            listener,
            draining: drain.server(),
            signal: Box::pin(pending()),
            drain_timeout: limits::DRAIN_TIMEOUT,
            max_connections: limits::MAX_CONNECTIONS,
        })
    }

    /// The address it listens on, with the port that was chosen for 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Drains when `signal` completes: no more connections, `GOAWAY` on HTTP/2 and no more
    /// keep-alive on HTTP/1.1, calls under way finish.
    #[must_use]
    pub fn with_graceful_shutdown(self, signal: impl Future<Output = ()> + Send + 'static) -> Self {
        Self { signal: Box::pin(signal), ..self }
    }

    /// How long calls may take to finish after `signal`; 20 s unless told otherwise. Then they are
    /// cut.
    #[must_use]
    pub fn with_drain_timeout(self, drain_timeout: Duration) -> Self {
        Self { drain_timeout, ..self }
    }

    /// How many connections to hold at once; 32,768 unless told otherwise. Further ones wait in the
    /// system's queue until one ends.
    #[must_use]
    pub fn with_max_connections(self, max_connections: usize) -> Self {
        Self { max_connections, ..self }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("local", &self.local).finish_non_exhaustive()
    }
}

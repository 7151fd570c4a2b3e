use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, ToSocketAddrs};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::accept::accept;
use super::accepted::Accepted;
use super::conn::Conn;
use super::drain::Draining;
use super::limits::Limits;
use super::registry::Registry;
use crate::mesh::Mesh;

/// Takes connections for a server of another library: axum's, hyper's, tonic's.
///
/// With the feature `axum` it is a `Listener` for `axum::serve`; `mesh_grpc::Incoming` makes it a
/// stream for tonic; any accept loop can call [`accept`](Self::accept). Requests then go through a
/// [`ServerLayer`](super::ServerLayer).
///
/// It owns the listening socket, which closes when the mesh shuts down. Then its connections drain:
/// answers on HTTP/1.1 ask to close, and each connection ends when its last call has. Only who
/// speaks HTTP/2 can send `GOAWAY`: a [`Server`](super::Server) does, and another server when its
/// own graceful shutdown waits for [`Mesh::draining`].
pub struct Acceptor {
    pub(super) mesh: Mesh,
    local: SocketAddr,
    /// `None` once it takes no more connections.
    listener: Option<TcpListener>,
    pub(super) limits: Arc<Limits>,
    slots: Arc<Semaphore>,
    registry: Registry,
    draining: Draining,
    failures: u32,
}

impl Acceptor {
    /// Listens on `address`, with the port chosen by the system when it is 0.
    ///
    /// # Errors
    /// What binding the address gives.
    pub async fn bind(mesh: &Mesh, address: impl ToSocketAddrs) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let limits = Arc::new(Limits::default());
        Ok(Self {
            mesh: mesh.clone(),
            local: listener.local_addr()?,
            listener: Some(listener),
            slots: slots(&limits),
            limits,
            registry: Registry::default(),
            draining: mesh.inner().drain.server(),
            failures: 0,
        })
    }

    /// The address it listens on, with the port that was chosen for 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Other limits. Those of HTTP itself count for a [`Server`](super::Server) alone; set them in
    /// the server that this takes connections for.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { slots: slots(&limits), limits: Arc::new(limits), ..self }
    }

    /// The next connection; `None` once the mesh shuts down.
    ///
    /// Must be called again and again, also to notice that. Errors of accepting are logged and
    /// waited out. Cancel safe.
    pub async fn accept(&mut self) -> Option<Accepted> {
        loop {
            let listener = self.listener.as_ref()?;
            let (slots, failures) = (&self.slots, &mut self.failures);
            let next = async {
                // A place first: who finds none waits in the system's queue.
                let slot = slots.clone().acquire_owned().await.expect("it is never closed");
                (slot, accept(listener, failures).await)
            };
            let (slot, (stream, peer)) = tokio::select! {
                // Shutting down comes first, or a stream of new connections could keep it away.
                biased;
                deadline = self.draining.begun() => {
                    self.close(Some(deadline));
                    return None;
                }
                next = next => next,
            };
            // Both fail when the connection is already gone again.
            let _ = crate::connection::tune(&stream);
            let Ok(local) = stream.local_addr() else { continue };
            let conn = Conn::new(peer, local, self.limits.max_headers);
            let draining = self.draining.clone();
            let seat = self.registry.enter(conn.clone(), slot, draining.clone());
            return Some(Accepted::new(stream, conn, (&self.limits, draining), seat));
        }
    }

    /// Takes no more connections, and drains those there are. May be called again with another
    /// time; the earliest counts.
    pub(super) fn close(&mut self, cut: Option<Instant>) {
        // Closed before connections drain: whoever comes now is refused at once, and goes
        // elsewhere.
        self.listener = None;
        self.registry.drain(cut);
    }

    /// Waits until the mesh shuts down, and returns its deadline. Cancel safe.
    pub(super) async fn shutdown(&mut self) -> Instant {
        self.draining.begun().await
    }
}

fn slots(limits: &Limits) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(limits.max_connections.min(Semaphore::MAX_PERMITS)))
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").field("local", &self.local).finish_non_exhaustive()
    }
}

use std::error::Error;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, ToSocketAddrs};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::accepted::Accepted;
use super::conn::Conn;
use super::drain::Draining;
use super::limits::Limits;
use super::registry::Registry;
use super::serve::log_panic;
use super::serving::{Serving, ServingMode};
use super::socket::{Came, Socket, bound, listening, next};
use super::stream::Stream;
use super::tcp;
use super::tls::Session;
use super::unix::Unix;
use crate::mesh::Mesh;

/// Takes connections for a server of another library: axum's, hyper's, tonic's.
///
/// With the feature `axum` it is a `Listener` for `axum::serve`; `mesh_grpc::Incoming` makes it a
/// stream for tonic; any accept loop can call [`accept`](Self::accept). Requests then go through a
/// [`ServerLayer`](super::ServerLayer).
///
/// Where the mesh configures its servers (the bootstrap has a
/// `server_listener_resource_name_template`, or resources given by code hold a `ServerListener`), it
/// takes no connection before its listener is known (gRFC A36), and only those that one of the
/// listener's filter chains takes. When the listener changes, connections made before are drained,
/// within 10 minutes; those that it would not take any more, within 10 seconds. Where it cannot listen
/// then, as when another process does at its address, it is not serving, and tries again.
///
/// Connections of a chain with a TCP proxy are not for the server: their bytes are passed on to an
/// endpoint of the chain's cluster, for as long as this lives.
///
/// It owns the listening socket, which closes when the mesh shuts down. Then its connections drain:
/// answers on HTTP/1.1 ask to close, and each connection ends when its last call has. Only who
/// speaks HTTP/2 can send `GOAWAY`: a [`Server`](super::Server) does, and another server when its
/// own graceful shutdown waits for [`Mesh::draining`].
pub struct Acceptor {
    pub(super) mesh: Mesh,
    local: SocketAddr,
    socket: Socket,
    /// Why it cannot listen at present.
    trouble: Option<io::Error>,
    serving: Option<Serving>,
    pub(super) limits: Arc<Limits>,
    slots: Arc<Semaphore>,
    registry: Registry,
    pub(super) draining: Draining,
    failures: u32,
    /// Connections of which it is not known yet what takes them; each has its slot.
    opening: JoinSet<Option<Opened>>,
    /// Connections whose bytes are passed on; each has its slot.
    pub(super) passing: JoinSet<()>,
}

/// gRFC A36: how long calls on connections of an earlier listener may go on.
const DRAIN_CAP: Duration = Duration::from_secs(600);

/// How long calls of peers may go on that the listener does not take any more. A guess: those that
/// are answered at once still are.
const DISMISSAL: Duration = Duration::from_secs(10);

impl Acceptor {
    /// Listens on `address`, with the port chosen by the system when it is 0.
    ///
    /// # Errors
    /// What binding the address gives.
    pub async fn bind(mesh: &Mesh, address: impl ToSocketAddrs) -> io::Result<Self> {
        let inner = mesh.inner();
        let (socket, local) = match inner.governs_servers() {
            false => {
                let listener = TcpListener::bind(address).await?;
                let local = listener.local_addr()?;
                (Socket::Listening(listener), local)
            }
            true => {
                let socket = bound(address).await?;
                let local = socket.local_addr()?;
                (Socket::Bound(socket), local)
            }
        };
        let governing = inner.govern(local);
        let serving = governing.map(|governing| Serving::new(inner, governing, local));
        let mut acceptor = Self::of(mesh, (socket, local), serving);
        // What is known already need not be waited for.
        acceptor.look();
        Ok(acceptor)
    }

    /// Listens at a Unix domain socket: `path`, or an abstract name of Linux's, which begins with
    /// `@`. The file is made with the rights that the process's `umask` leaves, and taken away when
    /// this closes. One that a server has left behind which ended is replaced.
    ///
    /// Its connections have [no addresses](super::Peer::is_unix).
    ///
    /// # Errors
    /// `AddrInUse` when a server listens there or a file is there that is no socket; `Unsupported`
    /// where the mesh configures its servers, whose listeners are for addresses: without one nothing
    /// would say who may connect. Else what binding the path gives.
    pub fn bind_unix(mesh: &Mesh, path: impl AsRef<Path>) -> io::Result<Self> {
        if mesh.inner().governs_servers() {
            let why = "the mesh configures its servers, and has no listeners for unix sockets";
            return Err(io::Error::new(io::ErrorKind::Unsupported, why));
        }
        let socket = Socket::Unix(Unix::bind(path.as_ref())?);
        Ok(Self::of(mesh, (socket, UNNAMED), None))
    }

    fn of(mesh: &Mesh, (socket, local): (Socket, SocketAddr), serving: Option<Serving>) -> Self {
        let limits = Arc::new(Limits::default());
        Self {
            mesh: mesh.clone(),
            local,
            socket,
            trouble: None,
            serving,
            slots: slots(&limits),
            limits,
            registry: Registry::default(),
            draining: mesh.inner().drain.server(),
            failures: 0,
            opening: JoinSet::new(),
            passing: JoinSet::new(),
        }
    }

    /// The address it listens on, with the port that was chosen for 0. At a [Unix
    /// socket](Self::bind_unix) `0.0.0.0:0`, which is nobody's.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The path of the Unix domain socket it listens at, as it was given.
    pub fn unix_path(&self) -> Option<&Path> {
        match &self.socket {
            Socket::Unix(unix) => Some(unix.path()),
            _ => None,
        }
    }

    /// Other limits. Those of HTTP itself count for a [`Server`](super::Server) alone; set them in
    /// the server that this takes connections for.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { slots: slots(&limits), limits: Arc::new(limits), ..self }
    }

    /// Has `told` called whenever configuration changes whether connections are taken, also the
    /// first time. Never called where the mesh does not configure its servers.
    #[must_use]
    pub fn with_mode_callback(mut self, told: impl FnMut(&ServingMode) + Send + 'static) -> Self {
        if let Some(serving) = &mut self.serving {
            serving.tell(Box::new(told));
        }
        self
    }

    /// The next connection; `None` once the mesh shuts down.
    ///
    /// Must be called again and again, also to notice that, and changes of configuration. Errors of
    /// accepting are logged and waited out. Cancel safe.
    pub async fn accept(&mut self) -> Option<Accepted> {
        let mesh = self.mesh.inner().clone();
        loop {
            // Registered before the look, so that a publication between the two is not missed.
            let changed = mesh.changed();
            self.look();
            let (slots, failures, socket) = (&self.slots, &mut self.failures, &self.socket);
            let next = async {
                match socket {
                    Socket::Listening(listener) => {
                        let (slot, (stream, peer)) = next(slots, listener, failures).await;
                        Some(Some((slot, Came::Tcp(stream, peer))))
                    }
                    Socket::Unix(unix) => {
                        let (slot, stream) = next(slots, unix, failures).await;
                        Some(Some((slot, Came::Unix(stream))))
                    }
                    Socket::Bound(_) => std::future::pending().await,
                    Socket::Refused { again } => {
                        tokio::time::sleep_until(*again).await;
                        Some(None)
                    }
                    Socket::Closed => None,
                }
            };
            let next = tokio::select! {
                // Shutting down comes first, or a stream of new connections could keep it away.
                biased;
                deadline = self.draining.begun() => {
                    self.close(Some(deadline));
                    return None;
                }
                () = changed, if self.serving.is_some() => continue,
                Some(opened) = self.opening.join_next() => {
                    // One that panicked ends that connection alone.
                    let opened = opened.unwrap_or_else(|error| {
                        log_panic(Err(error));
                        None
                    });
                    match opened.and_then(|opened| self.admit(opened)) {
                        Some(accepted) => return Some(accepted),
                        None => continue,
                    }
                }
                next = next => match next? {
                    Some(next) => next,
                    None => continue,
                },
            };
            if let Some(accepted) = self.take(next) {
                return Some(accepted);
            }
        }
    }

    /// Follows configuration.
    fn look(&mut self) {
        let Some(serving) = &mut self.serving else { return };
        if serving.look() {
            let hold = self.mesh.inner().hold();
            let name = &serving.governing().listener;
            let now = Instant::now();
            self.registry.each(|conn| {
                let standing = conn.standing(&hold, name);
                let is_dismissed = standing.is_some_and(|standing| !standing.is_taken());
                let cap = if is_dismissed { DISMISSAL } else { DRAIN_CAP };
                conn.drain(Some(now + cap));
            });
        }
        if serving.serves() {
            let socket = std::mem::replace(&mut self.socket, Socket::Closed);
            let (socket, trouble) = listening(socket, self.local);
            (self.socket, self.trouble) = (socket, trouble.or(self.trouble.take()));
        }
        if matches!(self.socket, Socket::Listening(_)) {
            self.trouble = None;
        }
        serving.settle(self.trouble.as_ref());
    }

    /// Lets a connection in, unless nothing takes it, or it is not known yet what does.
    fn take(&mut self, (slot, came): Next) -> Option<Accepted> {
        let (stream, peer) = match came {
            Came::Tcp(stream, peer) => (stream, peer),
            Came::Unix(stream) => {
                let stream = Stream::Unix { stream };
                return self.admit((slot, stream, None, (UNNAMED, UNNAMED)));
            }
        };
        // Both fail when the connection is already gone again.
        let _ = crate::connection::tune(&stream);
        let local = stream.local_addr().ok()?;
        let Some(tls) = self.serving.as_ref().and_then(Serving::tls).cloned() else {
            return self.admit((slot, Stream::Plain { stream }, None, (local, peer)));
        };
        self.opening.spawn(async move {
            match tls.open(stream, (local, peer)).await {
                Ok(Some((stream, session))) => Some((slot, stream, session, (local, peer))),
                Ok(None) => None,
                Err(error) => {
                    tracing::debug!(%peer, error = &error as &dyn Error, "handshake failed");
                    None
                }
            }
        });
        None
    }

    /// Lets a connection in, unless nothing takes it.
    fn admit(&mut self, (slot, stream, session, (local, peer)): Opened) -> Option<Accepted> {
        let name = |serving: &Serving| serving.governing().listener.clone();
        let listener = self.serving.as_ref().map(name);
        let max_headers = self.limits.max_headers;
        let conn = match stream {
            Stream::Unix { .. } => Conn::at_unix(UNNAMED, max_headers),
            _ => Conn::new((peer, local), session, listener.clone(), max_headers),
        };
        let (mut limits, mut root) = (None, None);
        if let Some(name) = &listener {
            let serves = self.serving.as_ref().is_some_and(Serving::serves);
            let standing = conn.standing(&self.mesh.inner().hold(), name);
            if !serves || !standing.as_ref().is_some_and(|standing| standing.is_taken()) {
                tracing::debug!(%peer, "no filter chain takes the connection");
                return None;
            }
            let manager = standing.as_ref().and_then(|standing| standing.manager());
            limits = manager.and_then(|manager| self.limits.under(manager)).map(Arc::new);
            root = standing.and_then(|standing| standing.passes_on().cloned());
        }
        let limits = limits.unwrap_or_else(|| self.limits.clone());
        let draining = self.draining.clone();
        let seat = self.registry.enter(conn.clone(), slot, draining.clone());
        let accepted = Accepted::new(stream, conn, (limits, draining), seat);
        let Some(root) = root else { return Some(accepted) };
        while let Some(ended) = self.passing.try_join_next() {
            log_panic(ended);
        }
        let (mesh, draining) = (self.mesh.inner().clone(), self.draining.clone());
        self.passing.spawn(tcp::proxy(mesh, accepted, draining, root));
        None
    }

    /// Takes no more connections, and drains those there are. May be called again with another
    /// time; the earliest counts.
    pub(super) fn close(&mut self, cut: Option<Instant>) {
        // Closed before connections drain: whoever comes now is refused at once, and goes
        // elsewhere.
        self.socket = Socket::Closed;
        // Those already through their handshake are closed with the others.
        self.opening = JoinSet::new();
        self.registry.drain(cut);
    }
}

type Next = (OwnedSemaphorePermit, Came);

/// Of those who have no address.
const UNNAMED: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// A connection and what it said in TLS, with its addresses: ours and the peer's.
type Opened = (OwnedSemaphorePermit, Stream, Option<Session>, (SocketAddr, SocketAddr));

fn slots(limits: &Limits) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(limits.max_connections.min(Semaphore::MAX_PERMITS)))
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").field("local", &self.local).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use mesh_core::resource::Resources;
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn handshake_that_panics_ends_one_connection_and_not_the_server() {
        let mesh = Mesh::builder().resources(Resources::new()).build().unwrap();
        let mut acceptor = Acceptor::bind(&mesh, "127.0.0.1:0").await.unwrap();
        acceptor.opening.spawn(async { panic!("for the test") });
        let _client = TcpStream::connect(acceptor.local_addr()).await.unwrap();
        assert!(acceptor.accept().await.is_some());
        // It has been told of.
        assert!(acceptor.opening.is_empty());
    }
}

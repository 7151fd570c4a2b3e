use std::fmt;
use std::future::{Future, pending};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::ToSocketAddrs;

use super::acceptor::Acceptor;
use super::limits::{self, Limits};
use super::probes::Probes;
use super::serving::ServingMode;
use crate::mesh::Mesh;

/// An HTTP server: HTTP/1.1 and HTTP/2 with prior knowledge on one port.
pub struct Server {
    pub(super) acceptor: Acceptor,
    pub(super) signal: Signal,
    pub(super) drain_timeout: Duration,
    pub(super) probes: Option<Probes>,
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
        Ok(Self::of(Acceptor::bind(mesh, address).await?))
    }

    /// A server at a Unix domain socket, or at an abstract name (`@name`, Linux alone); see
    /// [`Acceptor::bind_unix`].
    ///
    /// # Errors
    /// As there.
    pub fn bind_unix(mesh: &Mesh, path: impl AsRef<Path>) -> io::Result<Self> {
        Ok(Self::of(Acceptor::bind_unix(mesh, path)?))
    }

    fn of(acceptor: Acceptor) -> Self {
        let drain_timeout = limits::DRAIN_TIMEOUT;
        Self { acceptor, signal: Box::pin(pending()), drain_timeout, probes: None }
    }

    /// The address it listens on, with the port that was chosen for 0; `0.0.0.0:0` at a Unix socket.
    pub fn local_addr(&self) -> SocketAddr {
        self.acceptor.local_addr()
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

    /// Other limits than the default ones.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { acceptor: self.acceptor.with_limits(limits), ..self }
    }

    /// How many connections to hold at once; 32,768 unless told otherwise. Further ones wait in the
    /// system's queue until one ends.
    #[must_use]
    pub fn with_max_connections(self, max_connections: usize) -> Self {
        let mut limits = Limits::clone(&self.acceptor.limits);
        limits.max_connections = max_connections;
        self.with_limits(limits)
    }

    /// Has `told` called whenever configuration changes whether connections are taken; see
    /// [`Acceptor::with_mode_callback`].
    #[must_use]
    pub fn with_mode_callback(self, told: impl FnMut(&ServingMode) + Send + 'static) -> Self {
        Self { acceptor: self.acceptor.with_mode_callback(told), ..self }
    }

    /// Answers health checks on `address` as well, in plain text and without policy, for who has no
    /// certificate or identity in the mesh, such as a kubelet: `/healthz/live` with 200,
    /// `/healthz/ready` with 200 or 503 by the mesh's [readiness](Mesh::readiness), and nothing
    /// else but what [`with_probe_path`](Self::with_probe_path) names.
    ///
    /// # Errors
    /// What binding the address gives.
    pub fn with_probes(self, address: SocketAddr) -> io::Result<Self> {
        Ok(Self { probes: Some(Probes::bind(address)?), ..self })
    }

    /// The address health checks are answered on, with the port that was chosen for 0; `None`
    /// without [probes](Self::with_probes).
    pub fn probes_addr(&self) -> Option<SocketAddr> {
        self.probes.as_ref()?.local_addr().ok()
    }

    /// Lets the application answer GET and HEAD requests for this very path among the
    /// [probes](Self::with_probes). No policy guards it there.
    #[must_use]
    pub fn with_probe_path(mut self, path: impl Into<String>) -> Self {
        if let Some(probes) = &mut self.probes {
            probes.add(path.into());
        }
        self
    }

    pub(super) fn limits(&self) -> &Arc<Limits> {
        &self.acceptor.limits
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("local", &self.local_addr()).finish_non_exhaustive()
    }
}

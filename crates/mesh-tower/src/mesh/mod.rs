//! The [`Mesh`] handle and the one task behind it.
//!
//! Updates come from one source (an xDS client, fixed resources, or DNS when the mesh is off);
//! the task compiles them to Snapshots and publishes them. Requests only ever read what is
//! published: losing the source never stops traffic.
//!
//! ```text
//! source ──Update──▶ task: apply, compile, publish ──▶ Published ──hold──▶ request
//!    ▲                                                     │
//!    └────────── subscribe (Channel::new) ◀────────────────┘ wait, for a first request
//! ```

mod builder;
mod cluster_io;
mod clusters;
mod dns;
mod io;
mod pins;
mod providers;
mod published;
mod random;
mod readiness;
mod refused;
mod source;
mod task;
#[cfg(test)]
mod tests;
mod wait;

pub use builder::Builder;
pub use clusters::ClusterStatus;
pub(crate) use io::{EndpointIo, Io};
pub(crate) use providers::Providers;
pub(crate) use published::Hold;
pub(crate) use random::Random;
pub use readiness::Readiness;
use readiness::Standings;
pub(crate) use readiness::Unserving;
pub use refused::ConnectionStatus;
pub(crate) use source::{Governing, Subscribed};
pub(crate) use wait::{Presence, RESOLUTION_TIMEOUT};

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use mesh_core::snapshot::Explanation;
use mesh_core::{Dialect, Finding, Head};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;

use crate::error::Error;
use crate::server::{Drain, end_of};
use published::Published;
use source::Source;

/// How long a server may take from its cut to its end: its tasks only have to be dropped.
const CUT_TIME: Duration = Duration::from_secs(1);

/// A service's place in the mesh: its configuration, live, and all it makes for it.
///
/// Cheap to clone; all clones are one mesh, with one stream to its control plane. One mesh per
/// process is the normal case. It ends when the last clone, channel and server is dropped.
#[derive(Clone, Debug)]
pub struct Mesh {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    published: Published,
    /// Woken at each publication.
    changed: Notify,
    waiters: wait::Waiters,
    random: random::Source,
    source: Source,
    /// The targets in use, for [`Mesh::ready`]. Weak: a target goes with its last channel.
    targets: Mutex<Vec<Weak<Subscribed>>>,
    pub(crate) drain: Drain,
    pub(crate) standings: Standings,
    pub(crate) providers: Arc<Providers>,
    /// Whether configuration says what servers do.
    governs_servers: bool,
    /// Wakes the task, which ends when the mesh is gone.
    signal: Arc<Notify>,
    /// Where tasks and connections live.
    runtime: Handle,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.signal.notify_one();
    }
}

impl Mesh {
    /// The mesh the environment names.
    ///
    /// `MESH=off`, in any case, gives [`disabled`](Self::disabled); else the bootstrap is the file
    /// named by `GRPC_XDS_BOOTSTRAP`, or the text in `GRPC_XDS_BOOTSTRAP_CONFIG`. Call it in a tokio
    /// runtime, on which connections and the configuration task will live.
    ///
    /// # Errors
    /// Kind `Config`: no bootstrap, a bad one (every fault is named), or no runtime.
    pub fn from_env() -> Result<Self, Error> {
        if std::env::var_os("MESH").is_some_and(|value| value.eq_ignore_ascii_case("off")) {
            return Self::disabled();
        }
        Self::builder().bootstrap_from_env().build()
    }

    /// No mesh: the same API, with targets resolved by DNS and requests passed through, without
    /// retries and timeouts.
    ///
    /// # Errors
    /// Kind `Config` outside a tokio runtime.
    pub fn disabled() -> Result<Self, Error> {
        Self::builder().disabled().build()
    }

    /// A mesh made by code.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Waits until every target so far is resolved: its configuration is complete and its
    /// clusters are known. At most 15 s, the time xDS gives a resource.
    ///
    /// # Errors
    /// The first target's failure, with the chain of reasons.
    pub async fn ready(&self) -> Result<(), Error> {
        let targets: Vec<_> = {
            let targets = self.inner.targets.lock().expect("no panic while held");
            targets.iter().filter_map(Weak::upgrade).collect()
        };
        let deadline = Instant::now() + RESOLUTION_TIMEOUT;
        for target in targets {
            self.inner.ready_by(&target, deadline).await?;
        }
        Ok(())
    }

    /// What configuration asks for and does not get.
    pub fn findings(&self) -> Vec<Finding> {
        self.inner.source.findings(&self.inner.published.findings())
    }

    /// What would happen to a request for `target`, and why. Waits for the target's first
    /// resolution as a request would, and makes none.
    ///
    /// # Errors
    /// Kinds `Config` for a bad target and `NotReady` when it is not resolved in time.
    pub async fn explain(
        &self,
        target: &str,
        head: &Head<'_>,
        dialect: Dialect,
    ) -> Result<Explanation, Error> {
        let target = self.subscribe(target, dialect)?;
        self.inner.resolved(&target).await?;
        let snapshot = self.inner.hold();
        let root = snapshot.root(target.listener(), target.hint());
        let root = root.ok_or_else(|| self.inner.not_ready(&target))?;
        let mut head = *head;
        if dialect == Dialect::Grpc || head.authority.is_empty() {
            head.authority = target.authority();
        }
        Ok(snapshot.explain(root, &head, dialect, self.inner.random.request().next()))
    }

    /// Ends this mesh's servers: readiness probes and health checks say that it goes, no new
    /// connections are taken, calls finish and their connections close, or are cut at `deadline`
    /// from now. Then connections to other services close, those in use with their last request.
    ///
    /// A server that does not end when it is cut (its handler blocks the thread, or it was bound
    /// and is not served) is waited for no longer than a second more.
    pub async fn shutdown(&self, deadline: Duration) {
        let deadline = end_of(deadline);
        self.inner.standings.stop();
        self.inner.drain.begin(deadline);
        let ended = self.inner.drain.finished();
        if tokio::time::timeout_at(deadline + CUT_TIME, ended).await.is_err() {
            tracing::warn!("a server did not end at the deadline of the shutdown");
        }
        for cluster in self.inner.hold().clusters() {
            cluster.tables().all().for_each(|endpoint| endpoint.attached().drain());
        }
    }

    /// Completes when [`shutdown`](Self::shutdown) begins: the signal for the graceful shutdown of
    /// a server that is not ours (`axum::serve`, tonic), which then sends `GOAWAY`.
    pub fn draining(&self) -> impl Future<Output = ()> + Send + use<> {
        self.readiness().stopping()
    }

    /// Whether this process should be sent requests, as probes and health checks tell.
    pub fn readiness(&self) -> Readiness {
        self.inner.standings.readiness()
    }

    /// Says that this process should be sent no requests (`true`), for reasons of the application.
    /// Requests that come are served.
    pub fn set_unready(&self, unready: bool) {
        self.inner.standings.set_unready(unready);
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    /// Follows a target until what is returned is dropped.
    pub(crate) fn subscribe(
        &self,
        target: &str,
        dialect: Dialect,
    ) -> Result<Arc<Subscribed>, Error> {
        let subscribed = Arc::new(self.inner.source.subscribe(target, dialect)?);
        let mut targets = self.inner.targets.lock().expect("no panic while held");
        targets.retain(|target| target.strong_count() > 0);
        targets.push(Arc::downgrade(&subscribed));
        Ok(subscribed)
    }
}

impl Inner {
    /// The Snapshot in force.
    #[inline(always)]
    pub(crate) fn hold(&self) -> Hold {
        self.published.hold()
    }

    /// Whether a control plane is asked about targets.
    pub(crate) fn asks_control_plane(&self) -> bool {
        matches!(self.source, Source::Xds(_))
    }

    /// Where tasks live.
    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Whether configuration says what servers do.
    #[inline]
    pub(crate) fn governs_servers(&self) -> bool {
        self.governs_servers
    }

    /// What governs a server that listens on `address`; `None` when nothing does.
    pub(crate) fn govern(&self, address: SocketAddr) -> Option<Governing> {
        self.source.govern(address, &self.hold())
    }

    /// Completes at the next publication after this was called.
    pub(crate) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// The random numbers of one request.
    pub(crate) fn random(&self) -> Random {
        self.random.request()
    }

    /// The error of a target nothing is known of.
    pub(crate) fn not_ready(&self, target: &Subscribed) -> Error {
        let error = target.unresolved();
        match self.source.trouble() {
            Some(trouble) => error.because(trouble),
            None => error,
        }
    }
}

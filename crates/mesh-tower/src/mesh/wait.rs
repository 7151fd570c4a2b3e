use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mesh_core::finding::{Failure, FailureKind, ResourceType};
use tokio::time::Instant;

use super::{Inner, Subscribed};
use crate::error::{Error, ErrorKind};

/// How long a first request waits for its target: the time xDS gives a resource (gRFC A57).
pub(crate) const RESOLUTION_TIMEOUT: Duration = Duration::from_secs(15);

/// How many requests wait at once. Each holds its body; more would only fail later.
const MAX_WAITERS: usize = 1024;

/// What is known of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// Nothing yet.
    Awaited,
    /// It has routes.
    Routed,
    /// It has a listener, or may have one, and no routes.
    Failed,
    /// It is not in the mesh.
    Absent,
}

/// Counts requests that wait for a first resolution.
#[derive(Debug, Default)]
pub(super) struct Waiters(AtomicUsize);

struct Waiting<'a>(&'a Waiters);

impl Waiters {
    fn enter(&self) -> Option<Waiting<'_>> {
        let waiting = Waiting(self);
        (self.0.fetch_add(1, Ordering::Relaxed) < MAX_WAITERS).then_some(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Inner {
    /// Waits until something is published for `target`, also a failure.
    pub(crate) async fn resolved(&self, target: &Subscribed) -> Result<(), Error> {
        self.resolved_by(target, Instant::now() + RESOLUTION_TIMEOUT).await
    }

    /// As [`resolved`](Self::resolved), no longer than until `deadline`.
    pub(crate) async fn resolved_by(
        &self,
        target: &Subscribed,
        deadline: Instant,
    ) -> Result<(), Error> {
        if self.is_published(target) {
            return Ok(());
        }
        if !self.source.is_live() {
            return Err(self.not_ready(target));
        }
        let Some(_waiting) = self.waiters.enter() else {
            let text = format!("{MAX_WAITERS} requests wait for targets already");
            return Err(Error::new(ErrorKind::NotReady, text));
        };
        loop {
            // Registered before the look, so that a publication between the two is not missed.
            let changed = self.changed.notified();
            if self.is_published(target) {
                return Ok(());
            }
            if tokio::time::timeout_at(deadline, changed).await.is_err() {
                return Err(self.not_ready(target));
            }
        }
    }

    /// Waits until `target` can serve requests.
    pub(crate) async fn ready(&self, target: &Subscribed) -> Result<(), Error> {
        self.ready_by(target, Instant::now() + RESOLUTION_TIMEOUT).await
    }

    /// As [`ready`](Self::ready), no longer than until `deadline`.
    pub(super) async fn ready_by(
        &self,
        target: &Subscribed,
        deadline: Instant,
    ) -> Result<(), Error> {
        loop {
            let changed = self.changed.notified();
            self.resolved_by(target, deadline).await?;
            let Some(error) = self.trouble_of(target) else { return Ok(()) };
            if !self.source.is_live() || tokio::time::timeout_at(deadline, changed).await.is_err() {
                return Err(error);
            }
        }
    }

    /// How long a connection to a target may be silent whose bytes are passed on.
    pub(crate) fn tcp_idle_timeout(&self, target: &Subscribed) -> Option<Duration> {
        let snapshot = self.hold();
        snapshot.tcp_idle_timeout(snapshot.root(target.listener(), target.hint())?)
    }

    /// What is known of a target.
    pub(crate) fn presence(&self, target: &Subscribed) -> Presence {
        let snapshot = self.hold();
        let Some(root) = snapshot.root(target.listener(), target.hint()) else {
            return if self.source.is_live() { Presence::Awaited } else { Presence::Absent };
        };
        if snapshot.has_routes(root) {
            return Presence::Routed;
        }
        let is_absent = |failure: &Arc<Failure>| {
            failure.kind == FailureKind::DoesNotExist
                && failure.resource.kind == ResourceType::Listener
        };
        match snapshot.failure(root).is_some_and(is_absent) {
            true => Presence::Absent,
            false => Presence::Failed,
        }
    }

    fn is_published(&self, target: &Subscribed) -> bool {
        self.hold().root(target.listener(), target.hint()).is_some()
    }

    /// Why no request of `target` can be served, if so.
    fn trouble_of(&self, target: &Subscribed) -> Option<Error> {
        let snapshot = self.hold();
        let root = snapshot.root(target.listener(), target.hint())?;
        if snapshot.has_routes(root) {
            return None;
        }
        let error = self.not_ready(target);
        Some(match snapshot.failure(root) {
            Some(failure) => error.because(failure.clone()),
            None => error,
        })
    }
}

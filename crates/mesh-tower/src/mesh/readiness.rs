use std::sync::Arc;

use tokio::sync::watch;

/// Whether this process should be sent requests: what readiness probes and gRPC health checks
/// answer.
///
/// Ready, until [`Mesh::shutdown`](crate::Mesh::shutdown) or
/// [`Mesh::set_unready`](crate::Mesh::set_unready), but for the time in which a server waits for its
/// configuration. Cheap to clone; it does not keep its mesh.
#[derive(Clone, Debug)]
pub struct Readiness(watch::Receiver<Standing>);

#[derive(Debug, Default)]
pub(crate) struct Standings(Arc<watch::Sender<Standing>>);

#[derive(Clone, Copy, Debug, Default)]
struct Standing {
    unready: bool,
    stopping: bool,
    /// Servers that may not serve.
    waiting: usize,
}

/// A server that may not serve. Its drop says that it may, or is gone.
#[derive(Debug)]
pub(crate) struct Unserving(Arc<watch::Sender<Standing>>);

impl Standing {
    fn is_ready(self) -> bool {
        !self.unready && !self.stopping && self.waiting == 0
    }
}

impl Standings {
    pub(super) fn readiness(&self) -> Readiness {
        Readiness(self.0.subscribe())
    }

    pub(super) fn set_unready(&self, unready: bool) {
        self.0.send_modify(|standing| standing.unready = unready);
    }

    pub(super) fn stop(&self) {
        self.0.send_modify(|standing| standing.stopping = true);
    }
}

impl Standings {
    /// A server may not serve until what is returned is dropped.
    pub(crate) fn unserving(&self) -> Unserving {
        self.0.send_modify(|standing| standing.waiting += 1);
        Unserving(self.0.clone())
    }
}

impl Drop for Unserving {
    fn drop(&mut self) {
        self.0.send_modify(|standing| standing.waiting -= 1);
    }
}

impl Readiness {
    /// Whether requests are welcome now.
    pub fn is_ready(&self) -> bool {
        self.0.borrow().is_ready()
    }

    /// Waits until it is another than `ready`, and for ever once the mesh is gone. Cancel safe.
    pub async fn changed_from(&mut self, ready: bool) {
        if self.0.wait_for(|standing| standing.is_ready() != ready).await.is_err() {
            std::future::pending().await
        }
    }

    /// Waits until the mesh shuts down. Cancel safe.
    pub(super) async fn stopping(mut self) {
        if self.0.wait_for(|standing| standing.stopping).await.is_err() {
            std::future::pending().await
        }
    }
}

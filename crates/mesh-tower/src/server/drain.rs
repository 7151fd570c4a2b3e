use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;

/// Tells servers to drain, and when they have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Drain(Arc<watch::Sender<Option<Instant>>>);

/// A server's or a connection's side. Its drop says that it has ended.
#[derive(Clone, Debug)]
pub(super) struct Draining(watch::Receiver<Option<Instant>>);

impl Drain {
    /// Drains the servers there are and those still to come. What is not done at `deadline` is cut.
    pub(crate) fn begin(&self, deadline: Instant) {
        self.0.send_replace(Some(deadline));
    }

    /// Waits until every server has ended.
    pub(crate) async fn finished(&self) {
        self.0.closed().await;
    }

    pub(super) fn server(&self) -> Draining {
        Draining(self.0.subscribe())
    }
}

impl Draining {
    /// Waits for the drain to begin and returns its deadline. Never, if the other side is gone.
    pub(super) async fn begun(&mut self) -> Instant {
        let deadline = self.0.wait_for(Option::is_some).await.ok().and_then(|deadline| *deadline);
        match deadline {
            Some(deadline) => deadline,
            None => std::future::pending().await,
        }
    }
}

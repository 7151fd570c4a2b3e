use std::sync::{Arc, Weak};
use std::time::Duration;

use mesh_core::Snapshot;
use mesh_core::cluster::Tables;
use mesh_core::resource::{Name, Resources, Update};
use mesh_xds_client::Updates;

use super::dns::Mailbox;
use super::{Inner, Io};

/// How often what was replaced is looked at, to free what no request holds any more.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Where updates come from.
pub(super) enum Feed {
    Xds(Updates),
    Dns(Arc<Mailbox>),
}

impl Feed {
    async fn next(&mut self) -> Option<Update> {
        match self {
            Self::Xds(updates) => updates.next().await,
            Self::Dns(mailbox) => mailbox.next().await,
        }
    }
}

/// Turns updates into Snapshots, one after the other, until the mesh is dropped.
pub(super) struct Task {
    feed: Feed,
    mesh: Weak<Inner>,
    io: Io,
    resources: Resources,
    snapshot: Arc<Snapshot<Io>>,
    replaced: Replaced,
}

/// What requests may still hold: kept here, so that no request drops the last hold.
#[derive(Default)]
struct Replaced {
    snapshots: Vec<Arc<Snapshot<Io>>>,
    tables: Vec<Arc<Tables<Io>>>,
}

impl Task {
    pub(super) fn new(feed: Feed, mesh: Weak<Inner>, io: Io, snapshot: Arc<Snapshot<Io>>) -> Self {
        let resources = Resources::new();
        Self { feed, mesh, io, resources, snapshot, replaced: Replaced::default() }
    }

    pub(super) async fn run(mut self) {
        loop {
            let update = if self.replaced.is_empty() {
                self.feed.next().await
            } else {
                match tokio::time::timeout(SWEEP_INTERVAL, self.feed.next()).await {
                    Ok(update) => update,
                    Err(_elapsed) => {
                        self.replaced.sweep();
                        continue;
                    }
                }
            };
            let Some(update) = update else { break };
            let Some(mesh) = self.mesh.upgrade() else { break };
            self.apply(update, &mesh);
            mesh.changed.notify_waiters();
            self.replaced.sweep();
        }
        tracing::debug!("configuration task ended");
    }

    fn apply(&mut self, update: Update, mesh: &Inner) {
        if update.is_endpoints_only() {
            let changed: Vec<Name> = update.endpoints.keys().cloned().collect();
            self.resources.apply(update);
            let replaced = self.snapshot.update_endpoints(&self.resources, &changed, &self.io);
            self.replaced.tables.extend(replaced);
            return;
        }
        self.resources.apply(update);
        let previous = Some(&*self.snapshot);
        let (mut snapshot, findings) = Snapshot::compile(&self.resources, previous, &self.io);
        self.replaced.tables.extend(snapshot.take_replaced());
        let snapshot = Arc::new(snapshot);
        mesh.published.publish(&snapshot, findings);
        let previous = std::mem::replace(&mut self.snapshot, snapshot);
        self.replaced.snapshots.push(previous);
    }
}

impl Replaced {
    fn is_empty(&self) -> bool {
        self.snapshots.is_empty() && self.tables.is_empty()
    }

    /// Frees what only this task holds. Nobody can take a new hold on it, so a count of one stays.
    fn sweep(&mut self) {
        self.snapshots.retain(|snapshot| Arc::strong_count(snapshot) > 1);
        self.tables.retain(|tables| Arc::strong_count(tables) > 1);
    }
}

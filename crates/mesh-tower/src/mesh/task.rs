use std::sync::{Arc, Weak};
use std::time::Duration;

use mesh_core::Snapshot;
use mesh_core::cluster::{ClusterState, Tables};
use mesh_core::resource::{Name, Resources, Update};
use mesh_xds_client::Updates;
use tokio::time::Instant;

use super::dns::Mailbox;
use super::{Inner, Io};
use crate::health::Checks;
use crate::reports::LoadReports;

/// How often what was replaced is looked at, to free what no request holds any more.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Where updates come from.
pub(super) enum Feed {
    Xds(Updates),
    Dns(Arc<Mailbox>),
    /// Resources that stay as they are.
    Fixed,
}

impl Feed {
    async fn next(&mut self) -> Option<Update> {
        match self {
            Self::Xds(updates) => updates.next().await,
            Self::Dns(mailbox) => mailbox.next().await,
            Self::Fixed => std::future::pending().await,
        }
    }
}

/// Turns updates into Snapshots and ejections into tables, one after the other, until the mesh is
/// dropped.
pub(super) struct Task {
    feed: Feed,
    mesh: Weak<Inner>,
    io: Io,
    resources: Resources,
    snapshot: Arc<Snapshot<Io>>,
    replaced: Replaced,
    checks: Checks,
    reports: LoadReports,
}

/// What requests may still hold: kept here, so that no request drops the last hold.
#[derive(Default)]
struct Replaced {
    snapshots: Vec<Arc<Snapshot<Io>>>,
    tables: Vec<Arc<Tables<Io>>>,
}

/// What a task woke up for.
enum Event {
    Update(Option<Box<Update>>),
    /// A request ejected an endpoint, or the mesh is gone.
    Signal,
    Time,
}

impl Task {
    pub(super) fn new(
        feed: Feed,
        mesh: Weak<Inner>,
        io: Io,
        (resources, snapshot): (Resources, Arc<Snapshot<Io>>),
    ) -> Self {
        let (replaced, checks, reports) = Default::default();
        Self { feed, mesh, io, resources, snapshot, replaced, checks, reports }
    }

    pub(super) async fn run(mut self) {
        let signal = self.io.signal.clone();
        // Resources that were given at once come with no update.
        self.follow();
        loop {
            let due = self.next_due();
            let time = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            // Each of them is as good later: an update stays in its queue, a signal is kept, and
            // what is due stays due.
            let event = tokio::select! {
                update = self.feed.next() => Event::Update(update.map(Box::new)),
                () = signal.notified() => Event::Signal,
                () = time => Event::Time,
            };
            let Some(mesh) = self.mesh.upgrade() else { break };
            match event {
                Event::Update(None) => break,
                Event::Update(Some(update)) => {
                    self.apply(*update, &mesh);
                    self.follow();
                    mesh.changed.notify_waiters();
                }
                Event::Signal => self.rebuild(&mesh, |cluster| cluster.attached().take_ejected()),
                Event::Time => {
                    let (now, random) = (Instant::now().into_std(), mesh.random().next());
                    self.rebuild(&mesh, |cluster| cluster.sweep(now, random));
                }
            }
            self.replaced.sweep();
        }
        tracing::debug!("configuration task ended");
    }

    /// Has the endpoints asked that are there now.
    fn follow(&mut self) {
        self.checks.follow(&self.snapshot, &self.io);
        self.reports.follow(&self.snapshot, &self.io);
    }

    /// When something is to be done without being told.
    fn next_due(&self) -> Option<Instant> {
        let now = Instant::now();
        let sweeps = self.snapshot.clusters().filter_map(|state| state.next_sweep(now.into_std()));
        let freeing = (!self.replaced.is_empty()).then(|| now + SWEEP_INTERVAL);
        sweeps.map(Instant::from_std).chain(freeing).min()
    }

    /// Builds the tables of the clusters anew in which endpoints went or returned.
    fn rebuild(&mut self, mesh: &Inner, changed: impl Fn(&ClusterState<Io>) -> bool) {
        let mut rebuilt = false;
        for cluster in self.snapshot.clusters().filter(|cluster| changed(cluster)) {
            self.replaced.tables.extend(cluster.rebuild());
            rebuilt = true;
        }
        if rebuilt {
            mesh.published.renew(&self.snapshot);
        }
    }

    fn apply(&mut self, update: Update, mesh: &Inner) {
        // First, so that what needs them finds them.
        let secrets = update.secrets.iter().map(|(name, entry)| (name, entry.as_ref()));
        mesh.providers.set_secrets(secrets);
        if update.is_endpoints_only() {
            let changed: Vec<Name> = update.endpoints.keys().cloned().collect();
            if changed.is_empty() {
                self.resources.apply(update);
                return;
            }
            self.resources.apply(update);
            let replaced = self.snapshot.update_endpoints(&self.resources, &changed, &self.io);
            self.replaced.tables.extend(replaced);
            mesh.published.renew(&self.snapshot);
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

//! Which clusters ask for their load to be reported, and to whom.

use std::collections::HashSet;

use mesh_core::ResourceType;
use mesh_core::resource::Name;
use mesh_pb::envoy::config::core::v3::Node;
use tokio::sync::Notify;

use super::{Core, State};
use crate::decode::Value;
use crate::session::{Event, ServerIndex};

/// In place of what is said of resources: every cluster there is may be asked for
/// (`send_all_clusters`).
const SENDS_ALL: &str = "envoy.lrs.supports_send_all_clusters";
const RESOURCES_IN_SOTW: &str = "xds.config.resource-in-sotw";

/// The clusters that ask, whoever they are from.
#[derive(Debug, Default)]
pub(super) struct Reporting {
    clusters: HashSet<Name>,
    is_changed: bool,
}

impl Reporting {
    pub(super) fn take(&mut self, event: &Event) {
        if event.id.kind != ResourceType::Cluster {
            return;
        }
        let asks = matches!(&event.value, Some(Value::Cluster(it)) if it.load_reporting.is_some());
        if asks {
            // Told again, it may be from another server than before.
            self.clusters.insert(event.id.name.clone());
            self.is_changed = true;
        } else {
            self.forget(&event.id.name);
        }
    }

    /// A cluster is not known any more.
    pub(super) fn forget(&mut self, name: &str) {
        self.is_changed |= !self.clusters.is_empty() && self.clusters.remove(name);
    }

    pub(super) fn tell(&mut self, wakers: &[Notify]) {
        if std::mem::take(&mut self.is_changed) {
            wakers.iter().for_each(Notify::notify_one);
        }
    }
}

impl Core {
    /// The clusters that came from the server and ask for their load to be reported there.
    pub(in crate::client) fn reporting(&self, server: ServerIndex) -> HashSet<Name> {
        let State { reporting, session, .. } = &*self.lock();
        let clusters = reporting.clusters.iter();
        let is_from = |name: &&Name| session.origin(ResourceType::Cluster, name) == Some(server);
        clusters.filter(is_from).cloned().collect()
    }

    /// Waits until [`reporting`](Self::reporting) may have changed. Cancel safe.
    pub(in crate::client) async fn reporting_changed(&self, server: ServerIndex) {
        self.reporters[server.get()].notified().await;
    }

    /// Who we are, in the first message of a stream of reports.
    pub(in crate::client) fn reporting_node(&self) -> Node {
        let mut node = self.lock().session.node();
        for feature in &mut node.client_features {
            if feature == RESOURCES_IN_SOTW {
                SENDS_ALL.clone_into(feature);
            }
        }
        node
    }
}

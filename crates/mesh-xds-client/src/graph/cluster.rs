//! Clusters and their endpoints.

use std::collections::BTreeSet;

use mesh_core::resource::{Cluster, ClusterLoadAssignment, Discovery, Entry, Name};
use mesh_core::{ResourceId, ResourceType};

use super::Graph;
use super::level::Level;

/// A cluster that some root may choose.
#[derive(Debug, Default)]
pub(super) struct ClusterNode {
    entry: Entry<Cluster>,
    published: Option<Entry<Cluster>>,
    /// How many published and pending selections it is in.
    uses: usize,
    /// The roots whose pending version cannot be published without it.
    waiting: BTreeSet<Name>,
    /// The endpoints of the published version and of the one that is to follow.
    attached: BTreeSet<Name>,
}

/// The endpoints of a cluster.
#[derive(Debug, Default)]
pub(super) struct EndpointsNode {
    entry: Entry<ClusterLoadAssignment>,
    clusters: BTreeSet<Name>,
}

impl ClusterNode {
    pub(super) fn set_entry(&mut self, entry: Entry<Cluster>) {
        self.entry = entry;
    }

    pub(super) fn wait(&mut self, root: &Name) {
        self.waiting.insert(root.clone());
    }

    pub(super) fn stop_waiting(&mut self, root: &Name) {
        self.waiting.remove(root);
    }
}

/// The name of the endpoints, if they are a resource of their own.
fn service_name(entry: &Entry<Cluster>) -> Option<Name> {
    match &entry.value.as_ref()?.discovery {
        Discovery::Eds { service_name } => Some(service_name.clone()),
        _ => None,
    }
}

impl Graph {
    pub(super) fn acquire_cluster(&mut self, name: &Name) {
        if !self.clusters.contains_key(name) {
            self.want(ResourceType::Cluster, name);
        }
        self.clusters.entry(name.clone()).or_default().uses += 1;
    }

    pub(super) fn release_cluster(&mut self, name: &Name) {
        let Some(node) = self.clusters.get_mut(name) else { return };
        node.uses -= 1;
        if node.uses == 0 {
            self.idle.push(ResourceId::new(ResourceType::Cluster, name.clone()));
        }
    }

    /// How much is known of a cluster as it is published.
    pub(super) fn cluster_level(&self, name: &Name) -> Level {
        let published = self.clusters.get(name).and_then(|node| node.published.as_ref());
        published.map_or(Level::Unknown, |entry| self.level_with_endpoints(entry))
    }

    fn level_with_endpoints(&self, entry: &Entry<Cluster>) -> Level {
        let own = Level::of(entry);
        match service_name(entry) {
            Some(name) => own.min(
                self.endpoints.get(&name).map_or(Level::Unknown, |node| Level::of(&node.entry)),
            ),
            None => own,
        }
    }

    /// Publishes a cluster's new version when its endpoints are known, and lets the roots that
    /// waited for it go on.
    pub(super) fn refresh_cluster(&mut self, name: &Name) {
        let Some(node) = self.clusters.get(name) else { return };
        let entry = node.entry.clone();
        let before = node.published.clone();
        if let Some(service) = service_name(&entry) {
            self.attach_endpoints(&service, name);
        }
        let works = before.as_ref().is_some_and(|entry| entry.value.is_some());
        let is_ready = self.level_with_endpoints(&entry) >= Level::required(works);
        let is_news = before.as_ref().is_none_or(|before| !before.is_same(&entry));
        if is_ready && is_news {
            self.update.clusters.insert(name.clone(), Some(entry.clone()));
            if let Some(node) = self.clusters.get_mut(name) {
                node.published = Some(entry);
            }
        }
        self.detach_unused(name);
        self.wake_roots(name);
    }

    /// Lets go of endpoints that neither the published version nor the next one has.
    fn detach_unused(&mut self, name: &Name) {
        let Some(node) = self.clusters.get(name) else { return };
        let next = service_name(&node.entry);
        let published = node.published.as_ref().and_then(service_name);
        let is_unused =
            |name: &&Name| next.as_ref() != Some(*name) && published.as_ref() != Some(*name);
        let unused: Vec<Name> = node.attached.iter().filter(is_unused).cloned().collect();
        unused.iter().for_each(|endpoints| self.detach_endpoints(endpoints, name));
    }

    fn wake_roots(&mut self, cluster: &Name) {
        let level = self.cluster_level(cluster);
        let Some(node) = self.clusters.get_mut(cluster) else { return };
        for root in std::mem::take(&mut node.waiting) {
            let is_done = self.cluster_came(&root, level);
            if let (false, Some(node)) = (is_done, self.clusters.get_mut(cluster)) {
                node.waiting.insert(root);
            }
        }
    }

    /// New endpoints. Nothing else is looked at, unless somebody waited for them.
    pub(super) fn apply_endpoints(&mut self, name: Name, entry: Entry<ClusterLoadAssignment>) {
        let Some(node) = self.endpoints.get_mut(&name) else { return };
        if Level::of(&node.entry) != Level::of(&entry) {
            self.changed_clusters.extend(node.clusters.iter().cloned());
        }
        node.entry = entry.clone();
        self.update.endpoints.insert(name, Some(entry));
    }

    fn attach_endpoints(&mut self, name: &Name, cluster: &Name) {
        if !self.endpoints.contains_key(name) {
            self.want(ResourceType::ClusterLoadAssignment, name);
        }
        let node = self.endpoints.entry(name.clone()).or_default();
        if node.clusters.insert(cluster.clone())
            && let Some(node) = self.clusters.get_mut(cluster)
        {
            node.attached.insert(name.clone());
        }
    }

    fn detach_endpoints(&mut self, name: &Name, cluster: &Name) {
        if let Some(node) = self.clusters.get_mut(cluster) {
            node.attached.remove(name);
        }
        let Some(node) = self.endpoints.get_mut(name) else { return };
        node.clusters.remove(cluster);
        if node.clusters.is_empty() {
            let id = ResourceId::new(ResourceType::ClusterLoadAssignment, name.clone());
            self.idle.push(id);
        }
    }

    pub(super) fn drop_cluster_if_idle(&mut self, name: &Name) -> bool {
        if self.clusters.get(name).is_none_or(|node| node.uses > 0) {
            return false;
        }
        let Some(node) = self.clusters.remove(name) else { return false };
        for endpoints in &node.attached {
            self.detach_endpoints(endpoints, name);
        }
        if node.published.is_some() {
            self.update.clusters.insert(name.clone(), None);
        }
        true
    }

    pub(super) fn drop_endpoints_if_idle(&mut self, name: &Name) -> bool {
        if self.endpoints.get(name).is_none_or(|node| !node.clusters.is_empty()) {
            return false;
        }
        let Some(node) = self.endpoints.remove(name) else { return false };
        if Level::of(&node.entry) != Level::Unknown {
            self.update.endpoints.insert(name.clone(), None);
        }
        true
    }
}

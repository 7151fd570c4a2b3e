//! Clusters and their endpoints.

use std::collections::HashSet;

use mesh_core::resource::{Cluster, ClusterLoadAssignment, Discovery, Entry, Name};
use mesh_core::{ResourceId, ResourceType};

use super::Graph;
use super::level::Level;
use super::names::Names;
use super::secrets::User;

/// A cluster that some root may choose.
#[derive(Debug, Default)]
pub(super) struct ClusterNode {
    entry: Entry<Cluster>,
    published: Option<Entry<Cluster>>,
    /// How many published and pending selections it is in.
    uses: u32,
    /// The roots whose pending version cannot be published without it.
    waiting: Names,
    /// The endpoints of the published version and of the one that is to follow.
    attached: Names,
    /// What few clusters have; `None` where it is empty.
    links: Option<Box<Links>>,
    /// How many aggregates are between it and a route, at least as far as was known when it was
    /// first wanted.
    depth: u32,
    /// How much was known of the next version, and of all it leads to, when it was last looked at.
    level: Option<Level>,
}

/// What else the published version of a cluster leads to, and the one that is to follow.
#[derive(Debug)]
struct Links {
    secrets: Names,
    /// Of an aggregate, its clusters.
    children: Names,
    /// The aggregates that have it among those.
    parents: Names,
}

static UNLINKED: Links =
    Links { secrets: Names::None, children: Names::None, parents: Names::None };

/// The endpoints of a cluster.
#[derive(Debug, Default)]
pub(super) struct EndpointsNode {
    entry: Entry<ClusterLoadAssignment>,
    clusters: Names,
    /// Whether they come from names, and not from the control plane.
    is_looked_up: bool,
}

impl ClusterNode {
    pub(super) fn set_entry(&mut self, entry: Entry<Cluster>) {
        self.entry = entry;
    }

    fn links(&self) -> &Links {
        self.links.as_deref().unwrap_or(&UNLINKED)
    }

    fn links_mut(&mut self) -> &mut Links {
        let (secrets, children, parents) = Default::default();
        self.links.get_or_insert_with(|| Box::new(Links { secrets, children, parents }))
    }

    pub(super) fn wait(&mut self, root: &Name) {
        self.waiting.insert(root.clone());
    }

    pub(super) fn stop_waiting(&mut self, root: &Name) {
        self.waiting.remove(root);
    }
}

/// What the endpoints go by, if they are not part of the cluster.
fn endpoints_name(entry: &Entry<Cluster>) -> Option<Name> {
    entry.value.as_ref()?.discovery.endpoints_name().cloned()
}

/// The secrets that connections are made with.
fn secrets(entry: &Entry<Cluster>) -> impl Iterator<Item = &Name> {
    entry.value.iter().flat_map(|value| value.secrets())
}

/// The clusters that stand for an aggregate.
fn children(entry: &Entry<Cluster>) -> &[Name] {
    match entry.value.as_ref().map(|value| &value.discovery) {
        Some(Discovery::Aggregate { clusters }) => clusters,
        _ => &[],
    }
}

impl Graph {
    /// There will be about so many clusters: tables that grow step by step are copied each time.
    pub(super) fn make_room(&mut self, clusters: usize) {
        let more = clusters.saturating_sub(self.clusters.len());
        self.clusters.reserve(more);
        self.endpoints.reserve(more);
    }

    pub(super) fn acquire_cluster(&mut self, name: &Name) {
        if !self.clusters.contains_key(name) {
            self.want(ResourceType::Cluster, name);
        }
        let node = self.clusters.entry(name.clone()).or_default();
        node.uses += 1;
        if std::mem::take(&mut node.depth) > 0 {
            // Nearer than was known, so that more of what is below may be wanted.
            self.changed_clusters.insert(name.clone());
        }
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
        published.map_or(Level::Unknown, |entry| self.level_with_all(entry, name))
    }

    /// How much is known of a cluster, its endpoints, and of an aggregate all clusters it leads
    /// to, each looked at once: they may lead back to it.
    fn level_with_all(&self, entry: &Entry<Cluster>, name: &Name) -> Level {
        let mut level = self.level_with_endpoints(entry);
        if children(entry).is_empty() {
            return level;
        }
        let mut seen = HashSet::from([name]);
        let node = self.clusters.get(name);
        let mut next: Vec<(&Name, u32)> = match node {
            Some(node) => children(entry).iter().map(|child| (child, node.depth + 1)).collect(),
            None => Vec::new(),
        };
        while let Some((name, depth)) = next.pop() {
            if depth >= DEPTH_LIMIT || !seen.insert(name) {
                continue;
            }
            let Some(node) = self.clusters.get(name) else { return Level::Unknown };
            level = level.min(self.level_with_endpoints(&node.entry));
            next.extend(children(&node.entry).iter().map(|child| (child, depth + 1)));
        }
        level
    }

    fn level_with_endpoints(&self, entry: &Entry<Cluster>) -> Level {
        let own = Level::of(entry).min(self.level_of_secrets(secrets(entry)));
        match endpoints_name(entry) {
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
        if let Some(value) = &entry.value {
            self.attach_endpoints(&value.discovery, name);
        }
        self.attach_secrets(&entry, name);
        self.attach_children(children(&entry), name);
        let works = before.as_ref().is_some_and(|entry| entry.value.is_some());
        let level = self.level_with_all(&entry, name);
        let is_ready = level >= Level::required(works);
        let is_news = before.as_ref().is_none_or(|before| !before.is_same(&entry));
        if is_ready && is_news {
            self.update.clusters.insert(name.clone(), Some(entry.clone()));
            if let Some(node) = self.clusters.get_mut(name) {
                node.published = Some(entry);
            }
        }
        self.detach_unused(name);
        if let Some(node) = self.clusters.get_mut(name)
            && node.level.replace(level) != Some(level)
        {
            // An aggregate that waits for it may go on. One that is its own parent stops here the
            // second time.
            self.changed_aggregates.extend(node.links().parents.iter().cloned());
        }
        self.wake_roots(name);
    }

    /// Lets go of endpoints that neither the published version nor the next one has.
    fn detach_unused(&mut self, name: &Name) {
        let Some(node) = self.clusters.get(name) else { return };
        let next = endpoints_name(&node.entry);
        let published = node.published.as_ref().and_then(endpoints_name);
        let is_unused =
            |name: &&Name| next.as_ref() != Some(*name) && published.as_ref() != Some(*name);
        let unused: Vec<Name> = node.attached.iter().filter(is_unused).cloned().collect();
        let used: HashSet<&Name> =
            node.published.iter().chain([&node.entry]).flat_map(children).collect();
        let children = node.links().children.iter().filter(|child| !used.contains(child));
        let children: Vec<Name> = children.cloned().collect();
        let kept: HashSet<&Name> =
            node.published.iter().chain([&node.entry]).flat_map(secrets).collect();
        let secrets = node.links().secrets.iter().filter(|secret| !kept.contains(secret));
        let secrets: Vec<Name> = secrets.cloned().collect();
        unused.iter().for_each(|endpoints| self.detach_endpoints(endpoints, name));
        for secret in &secrets {
            if let Some(node) = self.clusters.get_mut(name) {
                node.links_mut().secrets.remove(secret);
            }
            self.detach_secret(secret, User::Cluster(name));
        }
        children.iter().for_each(|child| self.detach_child(child, name));
    }

    fn attach_secrets(&mut self, entry: &Entry<Cluster>, cluster: &Name) {
        for secret in secrets(entry) {
            let Some(node) = self.clusters.get_mut(cluster) else { return };
            if node.links_mut().secrets.insert(secret.clone()) {
                self.attach_secret(secret, User::Cluster(cluster));
            }
        }
    }

    /// Wants the clusters of an aggregate, unless it is as deep as they may be.
    fn attach_children(&mut self, children: &[Name], parent: &Name) {
        let Some(node) = self.clusters.get(parent) else { return };
        let depth = node.depth + 1;
        if depth >= DEPTH_LIMIT {
            return;
        }
        for name in children {
            if !self.clusters.contains_key(name) {
                self.want(ResourceType::Cluster, name);
                let new = ClusterNode { depth, ..ClusterNode::default() };
                self.clusters.insert(name.clone(), Box::new(new));
            }
            let Some(child) = self.clusters.get_mut(name) else { continue };
            child.links_mut().parents.insert(parent.clone());
            if child.depth > depth {
                child.depth = depth;
                self.changed_clusters.insert(name.clone());
            }
            if let Some(node) = self.clusters.get_mut(parent) {
                node.links_mut().children.insert(name.clone());
            }
        }
    }

    fn detach_child(&mut self, child: &Name, parent: &Name) {
        if let Some(node) = self.clusters.get_mut(parent) {
            node.links_mut().children.remove(child);
        }
        let Some(node) = self.clusters.get_mut(child) else { return };
        node.links_mut().parents.remove(parent);
        self.idle.push(ResourceId::new(ResourceType::Cluster, child.clone()));
    }

    /// Whether a route leads to the cluster, itself or by way of aggregates. Those may lead to
    /// each other without any route.
    fn is_used(&self, name: &Name) -> bool {
        let mut seen = HashSet::from([name]);
        let mut next = vec![name];
        while let Some(name) = next.pop() {
            let Some(node) = self.clusters.get(name) else { continue };
            if node.uses > 0 {
                return true;
            }
            next.extend(node.links().parents.iter().filter(|parent| seen.insert(*parent)));
        }
        false
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

    fn attach_endpoints(&mut self, discovery: &Discovery, cluster: &Name) {
        let Some(name) = discovery.endpoints_name() else { return };
        if !self.endpoints.contains_key(name) {
            match discovery {
                Discovery::Dns(dns) => self.lookups.start(dns.clone()),
                _ => self.want(ResourceType::ClusterLoadAssignment, name),
            }
        }
        let node = self.endpoints.entry(name.clone()).or_default();
        node.is_looked_up = matches!(discovery, Discovery::Dns(_));
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
        if self.is_used(name) {
            return false;
        }
        let Some(node) = self.clusters.remove(name) else { return false };
        for endpoints in &node.attached {
            self.detach_endpoints(endpoints, name);
        }
        for secret in &node.links().secrets {
            self.detach_secret(secret, User::Cluster(name));
        }
        for child in &node.links().children {
            self.detach_child(child, name);
        }
        for parent in &node.links().parents {
            if let Some(parent) = self.clusters.get_mut(parent) {
                parent.links_mut().children.remove(name);
            }
        }
        if node.published.is_some() {
            self.update.clusters.insert(name.clone(), None);
        }
        true
    }

    /// Whether they were dropped, and the control plane has to be told.
    pub(super) fn drop_endpoints_if_idle(&mut self, name: &Name) -> bool {
        if self.endpoints.get(name).is_none_or(|node| !node.clusters.is_empty()) {
            return false;
        }
        let Some(node) = self.endpoints.remove(name) else { return false };
        if Level::of(&node.entry) != Level::Unknown {
            self.update.endpoints.insert(name.clone(), None);
        }
        if node.is_looked_up {
            self.lookups.stop(name);
            return false;
        }
        true
    }
}

/// gRFC A37: an aggregate may have others among its clusters, this many levels of them. Deeper ones
/// are not asked for, so that no chain of names is followed for ever.
const DEPTH_LIMIT: u32 = 16;

//! Roots: listeners with their routes.

use std::sync::Arc;

use mesh_core::finding::{Failure, FailureKind};
use mesh_core::resource::{Entry, Listener, Name, Root, RouteConfiguration, RouteSpecifier};
use mesh_core::{ResourceId, ResourceType};

use super::level::Level;
use super::{Graph, Interest, selection};

/// The listener of a target.
#[derive(Debug)]
pub(super) struct RootNode {
    interest: Interest,
    listener: Entry<Listener>,
    /// The RouteConfiguration that the listener refers to.
    routes_name: Option<Name>,
    /// The next version, while it lacks something.
    pending: Option<Version>,
    /// How many clusters the next version lacks.
    missing: usize,
    published: Option<Version>,
    /// The routes as they came and as they were narrowed for that interest.
    narrowed: Option<(Arc<RouteConfiguration>, Interest, Arc<RouteConfiguration>)>,
}

/// A root and the clusters it needs.
#[derive(Clone, Debug, Default)]
struct Version {
    root: Root,
    clusters: Vec<Name>,
}

impl RootNode {
    pub(super) fn new(interest: Interest) -> Self {
        Self {
            interest,
            listener: Entry::default(),
            routes_name: None,
            pending: None,
            missing: 0,
            published: None,
            narrowed: None,
        }
    }

    pub(super) fn set_interest(&mut self, interest: Interest) {
        self.interest = interest;
    }

    pub(super) fn set_listener(&mut self, listener: Entry<Listener>) {
        self.listener = listener;
    }

    /// A server's listener in place of a client's is an error of this root alone; what it has
    /// stays.
    pub(super) fn refuse_server(&self, name: &Name) -> Entry<Listener> {
        let id = ResourceId::new(ResourceType::Listener, name.clone());
        let text = "is a server's listener, and a client needs one with an api_listener";
        let failure = Failure::new(id, FailureKind::Invalid, text, None);
        Entry { value: self.listener.value.clone(), failure: Some(Arc::new(failure)) }
    }

    /// The routes of the targets' hosts alone. The same for the same, so that nothing is published
    /// anew.
    fn narrow(&mut self, routes: &Arc<RouteConfiguration>) -> Arc<RouteConfiguration> {
        if let Some((before, interest, narrowed)) = &self.narrowed
            && Arc::ptr_eq(before, routes)
            && *interest == self.interest
        {
            return narrowed.clone();
        }
        let narrowed = Arc::new(selection::narrowed(&self.interest, routes));
        self.narrowed = Some((routes.clone(), self.interest.clone(), narrowed.clone()));
        narrowed
    }

    /// What is asked of the parts of the next version.
    fn required(&self) -> Level {
        let published = self.published.as_ref();
        Level::required(published.is_some_and(|version| version.root.routes.value.is_some()))
    }
}

impl Graph {
    /// Makes the next version of a root from what is known now.
    pub(super) fn refresh_root(&mut self, name: &Name) {
        let Some(node) = self.roots.get(name) else { return };
        let required = node.required();
        let listener = node.listener.clone();
        if Level::of(&listener) < required {
            return;
        }
        let specifier = listener.value.as_ref().map(|listener| &listener.api_listener.routes);
        let rds = match specifier {
            Some(RouteSpecifier::Rds(rds)) => Some(rds.clone()),
            _ => None,
        };
        self.follow_routes(name, rds.as_ref());
        let routes = match (specifier, &rds) {
            (Some(RouteSpecifier::Inline(routes)), _) => Entry::of(routes.clone()),
            (_, Some(rds)) => self.routes.get(rds).map(|n| n.entry.clone()).unwrap_or_default(),
            _ => Entry::default(),
        };
        if rds.is_some() && Level::of(&routes) < required {
            self.set_pending(name, None);
            return;
        }
        let is_narrowed = self.narrows_routes;
        let Some(node) = self.roots.get_mut(name) else { return };
        let routes = match routes.value {
            Some(value) if is_narrowed => {
                Entry { value: Some(node.narrow(&value)), failure: routes.failure }
            }
            _ => routes,
        };
        let clusters = routes.value.as_ref();
        let clusters = clusters.map(|routes| selection::clusters(&node.interest, routes));
        let root = Root { authority: node.interest.authority(), listener, routes };
        let version = Version { root, clusters: clusters.unwrap_or_default() };
        self.set_pending(name, Some(version));
    }

    /// Subscribes to the routes that the listener refers to now, and to no others.
    fn follow_routes(&mut self, root: &Name, rds: Option<&Name>) {
        let Some(node) = self.roots.get_mut(root) else { return };
        if node.routes_name.as_ref() == rds {
            return;
        }
        let before = std::mem::replace(&mut node.routes_name, rds.cloned());
        if let Some(rds) = rds {
            if !self.routes.contains_key(rds) {
                self.want(ResourceType::RouteConfiguration, rds);
            }
            self.routes.entry(rds.clone()).or_default().roots.insert(root.clone());
        }
        if let Some(before) = before
            && let Some(node) = self.routes.get_mut(&before)
        {
            node.roots.remove(root);
            self.idle.push(ResourceId::new(ResourceType::RouteConfiguration, before));
        }
    }

    /// Replaces the version that is to follow, and publishes it if it lacks nothing.
    fn set_pending(&mut self, name: &Name, version: Option<Version>) {
        let Some(node) = self.roots.get_mut(name) else { return };
        let required = node.required();
        let before = node.pending.take();
        // New before old, so that what both need is not dropped in between.
        let clusters = version.as_ref().map_or_else(Vec::new, |version| version.clusters.clone());
        self.make_room(clusters.len());
        clusters.iter().for_each(|cluster| self.acquire_cluster(cluster));
        for cluster in before.iter().flat_map(|version| &version.clusters) {
            if let Some(node) = self.clusters.get_mut(cluster) {
                node.stop_waiting(name);
            }
            self.release_cluster(cluster);
        }
        let mut missing = 0;
        for cluster in &clusters {
            if self.cluster_level(cluster) < required {
                missing += 1;
                if let Some(node) = self.clusters.get_mut(cluster) {
                    node.wait(name);
                }
            }
        }
        let Some(node) = self.roots.get_mut(name) else { return };
        node.missing = missing;
        node.pending = version;
        if missing == 0 {
            self.publish(name);
        }
    }

    /// A cluster that `root` waits for is known to `level`; whether that ends its waiting.
    pub(super) fn cluster_came(&mut self, root: &Name, level: Level) -> bool {
        let Some(node) = self.roots.get_mut(root) else { return true };
        if level < node.required() {
            return false;
        }
        node.missing -= 1;
        if node.missing == 0 {
            self.publish(root);
        }
        true
    }

    fn publish(&mut self, name: &Name) {
        let Some(node) = self.roots.get_mut(name) else { return };
        let Some(version) = node.pending.take() else { return };
        let is_news = node.published.as_ref().is_none_or(|published| {
            !published.root.is_same(&version.root) || published.clusters != version.clusters
        });
        if is_news {
            self.update.roots.insert(name.clone(), Some(version.root.clone()));
        }
        let before = node.published.replace(version);
        for cluster in before.iter().flat_map(|version| &version.clusters) {
            self.release_cluster(cluster);
        }
    }

    pub(super) fn remove_root(&mut self, name: &Name) {
        if !self.roots.contains_key(name) {
            return;
        }
        self.set_pending(name, None);
        self.follow_routes(name, None);
        let Some(node) = self.roots.remove(name) else { return };
        if let Some(version) = node.published {
            version.clusters.iter().for_each(|cluster| self.release_cluster(cluster));
            self.update.roots.insert(name.clone(), None);
        }
        self.changed_roots.remove(name);
        self.set_wanted(ResourceId::new(ResourceType::Listener, name.clone()), false);
    }
}

//! The graph of what is needed: which names are wanted, and what may be published.
//!
//! A root is the Listener of a target. It needs its routes, the clusters that these may choose,
//! and their endpoints. A new version of a root is published when all it needs is known, good or
//! failed; until then the version before stays. No root waits for another.
//!
//! ```text
//! Listener ──▶ RouteConfiguration ──▶ Cluster ──▶ ClusterLoadAssignment
//!  a root       shared by roots        published when    published as
//!                                      its endpoints     it comes
//!                                      are known
//! ```
//!
//! A cluster whose connections need secrets waits for those as well, and so does a server's
//! listener.
//!
//! A Cluster may be an aggregate, which leads to other clusters, 16 levels of them at most (gRFC
//! A37, A74), and is published when all of those are known.
//!
//! Make before break: clusters and endpoints go out before, or together with, the root that
//! needs them, and are taken back with, or after, the root that stops needing them. What is only
//! unknown because the control plane cannot be reached never replaces something that works.
//!
//! The graph has no I/O: [events](crate::session::Event) and [interests](Interest) go in, a
//! [`Step`] comes out. Its cost is linear in what changed; new endpoints of a cluster cost one
//! look-up, whatever the number of routes.

mod cluster;
mod interest;
mod level;
mod lookups;
mod names;
mod outbound;
mod root;
mod secrets;
mod selection;
mod server;
#[cfg(test)]
mod tests;

pub use interest::Interest;
pub(crate) use outbound::{Outbound, inbound};

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use mesh_core::resource::{DnsCluster, Entry, Name, RouteConfiguration, Update};
use mesh_core::{ResourceId, ResourceType};

use crate::decode::Value;
use crate::session::Event;
use cluster::{ClusterNode, EndpointsNode};
use lookups::Lookups;
use root::RootNode;
use secrets::SecretNode;
use server::ServerNode;

/// What is wanted, known and published.
#[derive(Debug, Default)]
pub struct Graph {
    /// Whether routes hold hosts that no target is meant by.
    narrows_routes: bool,
    roots: HashMap<Name, RootNode>,
    servers: HashMap<Name, ServerNode>,
    routes: HashMap<Name, RoutesNode>,
    clusters: HashMap<Name, Box<ClusterNode>>,
    endpoints: HashMap<Name, Box<EndpointsNode>>,
    secrets: HashMap<Name, SecretNode>,
    /// Those that the application has, and nobody is asked for.
    own_secrets: BTreeSet<Name>,
    /// Roots and clusters that something changed for since the last step.
    changed_roots: BTreeSet<Name>,
    changed_servers: BTreeSet<Name>,
    changed_clusters: BTreeSet<Name>,
    /// Aggregates with a cluster that changed. After the clusters, so that one of many is looked
    /// at once for all of them.
    changed_aggregates: BTreeSet<Name>,
    /// What may have lost its last use; looked at when a step ends, so that what is only handed
    /// from one user to another is not dropped in between.
    idle: Vec<ResourceId>,
    /// Subscriptions to make (true) and to end (false).
    wanted: BTreeMap<ResourceId, bool>,
    lookups: Lookups,
    update: Update,
}

#[derive(Debug, Default)]
struct RoutesNode {
    entry: Entry<RouteConfiguration>,
    roots: BTreeSet<Name>,
    servers: BTreeSet<Name>,
}

/// What follows from everything that went in since the last step.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Step {
    /// Resources wanted from now on.
    pub subscribe: Vec<ResourceId>,
    /// Resources no longer wanted.
    pub unsubscribe: Vec<ResourceId>,
    /// Names to look up from now on. What is found goes in as ClusterLoadAssignment of the key.
    pub resolve: Vec<Arc<DnsCluster>>,
    /// Keys of names that are no longer looked up.
    pub stop_resolving: Vec<Name>,
    /// What to publish.
    pub update: Update,
}

impl Step {
    /// Whether nothing follows.
    pub fn is_empty(&self) -> bool {
        self.subscribe.is_empty()
            && self.unsubscribe.is_empty()
            && self.resolve.is_empty()
            && self.stop_resolving.is_empty()
            && self.update.is_empty()
    }
}

impl Graph {
    /// A graph of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// A graph that takes, of all routes, those of the virtual hosts of its targets: where routes
    /// come for every host that can be reached on a port, most are not wanted, nor what they lead
    /// to.
    #[must_use]
    pub fn with_narrowed_routes(mut self, narrows: bool) -> Self {
        self.narrows_routes = narrows;
        self
    }

    /// A graph that asks nobody for these secrets: the application has them.
    #[must_use]
    pub fn with_own_secrets(mut self, names: impl IntoIterator<Item = Name>) -> Self {
        self.own_secrets.extend(names);
        self
    }

    /// A graph that always wants that cluster, whichever routes there are.
    #[must_use]
    pub fn with_local_cluster(mut self, name: Option<&Name>) -> Self {
        if let Some(name) = name {
            self.acquire_cluster(name);
        }
        self
    }

    /// Says who is interested in a listener; an empty interest ends it.
    pub fn set_interest(&mut self, listener: &Name, interest: Interest) {
        if interest.is_of_server() {
            self.add_server(listener);
            self.changed_servers.insert(listener.clone());
        } else {
            self.remove_server(listener);
        }
        if interest.is_of_no_target() {
            self.remove_root(listener);
            return;
        }
        match self.roots.get_mut(listener) {
            Some(root) => root.set_interest(interest),
            None => {
                self.roots.insert(listener.clone(), RootNode::new(interest));
                self.want(ResourceType::Listener, listener);
            }
        }
        self.changed_roots.insert(listener.clone());
    }

    /// Takes in how a resource stands.
    pub fn apply(&mut self, event: Event) {
        let Event { id, value, failure } = event;
        let name = id.name;
        // The value of another type than the name's cannot come from a session.
        match (id.kind, value) {
            (ResourceType::Listener, value) => {
                if let Some(server) = self.servers.get_mut(&name) {
                    let failure = failure.clone();
                    server.set_listener(match &value {
                        Some(Value::Listener(_)) => server.refuse_client(&name),
                        Some(Value::ServerListener(value)) => {
                            Entry { value: Some(value.clone()), failure }
                        }
                        _ => Entry { value: None, failure },
                    });
                    self.changed_servers.insert(name.clone());
                }
                let Some(root) = self.roots.get_mut(&name) else { return };
                root.set_listener(match value {
                    Some(Value::ServerListener(_)) => root.refuse_server(&name),
                    Some(Value::Listener(value)) => Entry { value: Some(value), failure },
                    _ => Entry { value: None, failure },
                });
                self.changed_roots.insert(name);
            }
            (ResourceType::RouteConfiguration, value) => {
                let Some(node) = self.routes.get_mut(&name) else { return };
                let value = match value {
                    Some(Value::RouteConfiguration(value)) => Some(value),
                    _ => None,
                };
                node.entry = Entry { value, failure };
                self.changed_roots.extend(node.roots.iter().cloned());
                self.changed_servers.extend(node.servers.iter().cloned());
            }
            (ResourceType::Cluster, value) => {
                let Some(node) = self.clusters.get_mut(&name) else { return };
                let value = match value {
                    Some(Value::Cluster(value)) => Some(value),
                    _ => None,
                };
                node.set_entry(Entry { value, failure });
                self.changed_clusters.insert(name);
            }
            (ResourceType::ClusterLoadAssignment, value) => {
                let value = match value {
                    Some(Value::ClusterLoadAssignment(value)) => Some(value),
                    _ => None,
                };
                self.apply_endpoints(name, Entry { value, failure });
            }
            (ResourceType::Secret, value) => {
                let value = match value {
                    Some(Value::Secret(value)) => Some(value.secret),
                    _ => None,
                };
                self.apply_secret(name, Entry { value, failure });
            }
        }
    }

    /// Works out what follows.
    pub fn step(&mut self) -> Step {
        self.update.clusters.reserve(self.changed_clusters.len());
        loop {
            if let Some(cluster) = self.changed_clusters.pop_first() {
                self.refresh_cluster(&cluster);
            } else if let Some(aggregate) = self.changed_aggregates.pop_first() {
                self.refresh_cluster(&aggregate);
            } else if let Some(root) = self.changed_roots.pop_first() {
                self.refresh_root(&root);
            } else if let Some(server) = self.changed_servers.pop_first() {
                self.refresh_server(&server);
            } else if let Some(id) = self.idle.pop() {
                self.drop_if_idle(&id);
            } else {
                break;
            }
        }
        let mut step = Step { update: std::mem::take(&mut self.update), ..Step::default() };
        (step.resolve, step.stop_resolving) = self.lookups.take();
        for (id, is_wanted) in std::mem::take(&mut self.wanted) {
            if is_wanted { &mut step.subscribe } else { &mut step.unsubscribe }.push(id);
        }
        step
    }

    fn want(&mut self, kind: ResourceType, name: &Name) {
        self.set_wanted(ResourceId::new(kind, name.clone()), true);
    }

    /// A subscription and its end in one step cancel out.
    fn set_wanted(&mut self, id: ResourceId, is_wanted: bool) {
        if self.wanted.get(&id).is_some_and(|before| *before != is_wanted) {
            self.wanted.remove(&id);
        } else {
            self.wanted.insert(id, is_wanted);
        }
    }

    fn drop_if_idle(&mut self, id: &ResourceId) {
        let is_dropped = match id.kind {
            ResourceType::Listener => false,
            ResourceType::Secret => self.drop_secret_if_idle(&id.name),
            ResourceType::RouteConfiguration => {
                let node = self.routes.get(&id.name);
                let is_idle =
                    node.is_some_and(|node| node.roots.is_empty() && node.servers.is_empty());
                is_idle && self.routes.remove(&id.name).is_some()
            }
            ResourceType::Cluster => self.drop_cluster_if_idle(&id.name),
            ResourceType::ClusterLoadAssignment => self.drop_endpoints_if_idle(&id.name),
        };
        if is_dropped {
            self.set_wanted(id.clone(), false);
        }
    }
}

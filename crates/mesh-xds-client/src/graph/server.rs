//! Servers' listeners with the routes of their filter chains.

use std::collections::BTreeSet;
use std::sync::Arc;

use mesh_core::finding::{Failure, FailureKind};
use mesh_core::resource::{Entry, Listener, Name, Root, RouteSpecifier, ServerListener};
use mesh_core::{ResourceId, ResourceType};

use super::Graph;
use super::level::Level;
use super::secrets::User;

/// The listener of a server. Its routes lead to the application, so that it needs no clusters.
#[derive(Debug, Default)]
pub(super) struct ServerNode {
    listener: Entry<ServerListener>,
    /// The roots of its chains: the same for the same listener, so that nothing is compiled anew.
    roots: Vec<Arc<Listener>>,
    /// The RouteConfigurations that the chains refer to.
    routes: BTreeSet<Name>,
    /// The secrets of the published version and of the one that is to follow.
    secrets: BTreeSet<Name>,
    published: Option<Version>,
}

#[derive(Debug)]
struct Version {
    listener: Entry<ServerListener>,
    roots: Vec<Root>,
}

impl ServerNode {
    pub(super) fn set_listener(&mut self, listener: Entry<ServerListener>) {
        let before = self.listener.value.as_ref();
        let is_same = match (before, &listener.value) {
            (Some(before), Some(now)) => Arc::ptr_eq(before, now),
            _ => false,
        };
        if !is_same {
            let roots = listener.value.iter().flat_map(|listener| listener.roots());
            self.roots = roots.collect();
        }
        self.listener = listener;
    }

    /// A client's listener in place of a server's (gRFC A36): an error of this server alone; what
    /// it has stays.
    pub(super) fn refuse_client(&self, name: &Name) -> Entry<ServerListener> {
        let id = ResourceId::new(ResourceType::Listener, name.clone());
        let text = "is a client's listener, and a server needs one with an address";
        let failure = Failure::new(id, FailureKind::Invalid, text, None);
        Entry { value: self.listener.value.clone(), failure: Some(Arc::new(failure)) }
    }
}

impl Version {
    fn is_same(&self, other: &Self) -> bool {
        self.listener.is_same(&other.listener)
            && self.roots.len() == other.roots.len()
            && self.roots.iter().zip(&other.roots).all(|(one, other)| one.is_same(other))
    }
}

impl Graph {
    pub(super) fn add_server(&mut self, name: &Name) {
        if !self.servers.contains_key(name) {
            self.servers.insert(name.clone(), ServerNode::default());
            self.want(ResourceType::Listener, name);
        }
    }

    pub(super) fn remove_server(&mut self, name: &Name) {
        let Some(node) = self.servers.remove(name) else { return };
        for routes in node.routes {
            self.leave_routes(name, routes);
        }
        for secret in &node.secrets {
            self.detach_secret(secret, User::Server(name));
        }
        for root in node.published.iter().flat_map(|version| &version.roots) {
            if let Some(listener) = &root.listener.value {
                self.update.roots.insert(listener.name.clone(), None);
            }
        }
        self.update.servers.insert(name.clone(), None);
        self.changed_servers.remove(name);
        self.set_wanted(ResourceId::new(ResourceType::Listener, name.clone()), false);
    }

    /// Publishes a server's listener, once it and all routes it refers to are known or failed.
    pub(super) fn refresh_server(&mut self, name: &Name) {
        let Some(node) = self.servers.get(name) else { return };
        let had = node.published.as_ref();
        let required = Level::required(had.is_some_and(|version| version.listener.value.is_some()));
        let listener = node.listener.clone();
        if Level::of(&listener) < required {
            return;
        }
        let chains = node.roots.clone();
        self.follow_servers_routes(name, &chains);
        let secrets = self.follow_servers_secrets(name, &listener);
        if self.level_of_secrets(secrets.iter()) < required {
            return;
        }
        let mut roots = Vec::new();
        for chain in chains {
            let routes = match &chain.api_listener.routes {
                RouteSpecifier::Inline(routes) => Entry::of(routes.clone()),
                RouteSpecifier::Rds(rds) => {
                    let routes = self.routes.get(rds).map(|node| node.entry.clone());
                    routes.unwrap_or_default()
                }
            };
            if Level::of(&routes) < required {
                return;
            }
            roots.push(Root { listener: Entry::of(chain), routes, ..Root::default() });
        }
        let version = Version { listener, roots };
        let Some(node) = self.servers.get_mut(name) else { return };
        if node.published.as_ref().is_some_and(|published| published.is_same(&version)) {
            self.leave_secrets(name, secrets);
            return;
        }
        // Those of chains that are gone first: what stays is put back with the rest.
        for root in node.published.iter().flat_map(|published| &published.roots) {
            if let Some(listener) = &root.listener.value {
                self.update.roots.insert(listener.name.clone(), None);
            }
        }
        for root in &version.roots {
            if let Some(listener) = &root.listener.value {
                self.update.roots.insert(listener.name.clone(), Some(root.clone()));
            }
        }
        self.update.servers.insert(name.clone(), Some(version.listener.clone()));
        node.published = Some(version);
        self.leave_secrets(name, secrets);
    }

    /// Lets go of the secrets that are not among those of the version in force.
    fn leave_secrets(&mut self, name: &Name, now: BTreeSet<Name>) {
        let Some(node) = self.servers.get_mut(name) else { return };
        let before = std::mem::replace(&mut node.secrets, now);
        let gone: Vec<Name> = before.difference(&node.secrets).cloned().collect();
        gone.iter().for_each(|secret| self.detach_secret(secret, User::Server(name)));
    }

    /// Wants the secrets that the next version needs, which it gives; those of the version before
    /// stay until it is replaced.
    fn follow_servers_secrets(
        &mut self,
        name: &Name,
        listener: &Entry<ServerListener>,
    ) -> BTreeSet<Name> {
        let listener = listener.value.iter();
        let now: BTreeSet<Name> = listener.flat_map(|it| it.secrets()).cloned().collect();
        for secret in &now {
            let Some(node) = self.servers.get_mut(name) else { break };
            if node.secrets.insert(secret.clone()) {
                self.attach_secret(secret, User::Server(name));
            }
        }
        now
    }

    /// Subscribes to the routes that the chains refer to now, and to no others.
    fn follow_servers_routes(&mut self, name: &Name, chains: &[Arc<Listener>]) {
        let named = chains.iter().filter_map(|chain| match &chain.api_listener.routes {
            RouteSpecifier::Rds(rds) => Some(rds.clone()),
            RouteSpecifier::Inline(_) => None,
        });
        let now: BTreeSet<Name> = named.collect();
        let Some(node) = self.servers.get_mut(name) else { return };
        let before = std::mem::replace(&mut node.routes, now.clone());
        for rds in now.difference(&before) {
            if !self.routes.contains_key(rds) {
                self.want(ResourceType::RouteConfiguration, rds);
            }
            self.routes.entry(rds.clone()).or_default().servers.insert(name.clone());
        }
        for rds in before.difference(&now) {
            self.leave_routes(name, rds.clone());
        }
    }

    fn leave_routes(&mut self, server: &Name, routes: Name) {
        if let Some(node) = self.routes.get_mut(&routes) {
            node.servers.remove(server);
            self.idle.push(ResourceId::new(ResourceType::RouteConfiguration, routes));
        }
    }
}

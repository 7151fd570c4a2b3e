//! Secrets that TLS contexts of clusters and of servers' listeners refer to.

use std::collections::BTreeSet;

use mesh_core::resource::{Entry, Name, Secret};
use mesh_core::{ResourceId, ResourceType};

use super::Graph;
use super::level::Level;

/// A certificate, or authorities, that connections are made with.
#[derive(Debug, Default)]
pub(super) struct SecretNode {
    entry: Entry<Secret>,
    clusters: BTreeSet<Name>,
    servers: BTreeSet<Name>,
}

/// Who refers to secrets.
#[derive(Clone, Copy, Debug)]
pub(super) enum User<'a> {
    Cluster(&'a Name),
    Server(&'a Name),
}

impl SecretNode {
    fn users(&mut self, user: User<'_>) -> (&mut BTreeSet<Name>, Name) {
        match user {
            User::Cluster(name) => (&mut self.clusters, name.clone()),
            User::Server(name) => (&mut self.servers, name.clone()),
        }
    }
}

impl Graph {
    /// A new certificate, or new authorities. Nothing else is looked at, unless somebody waited
    /// for them.
    pub(super) fn apply_secret(&mut self, name: Name, entry: Entry<Secret>) {
        let Some(node) = self.secrets.get_mut(&name) else { return };
        if Level::of(&node.entry) != Level::of(&entry) {
            self.changed_clusters.extend(node.clusters.iter().cloned());
            self.changed_servers.extend(node.servers.iter().cloned());
        }
        node.entry = entry.clone();
        self.update.secrets.insert(name, Some(entry));
    }

    /// How much is known of all of them.
    pub(super) fn level_of_secrets<'n>(&self, names: impl Iterator<Item = &'n Name>) -> Level {
        let level = |name: &Name| {
            if self.own_secrets.contains(name) {
                return Level::Known;
            }
            self.secrets.get(name).map_or(Level::Unknown, |node| Level::of(&node.entry))
        };
        names.map(level).min().unwrap_or(Level::Known)
    }

    pub(super) fn attach_secret(&mut self, name: &Name, user: User<'_>) {
        if self.own_secrets.contains(name) {
            return;
        }
        if !self.secrets.contains_key(name) {
            self.want(ResourceType::Secret, name);
        }
        let (users, user) = self.secrets.entry(name.clone()).or_default().users(user);
        users.insert(user);
    }

    pub(super) fn detach_secret(&mut self, name: &Name, user: User<'_>) {
        let Some(node) = self.secrets.get_mut(name) else { return };
        let (users, user) = node.users(user);
        users.remove(&user);
        self.idle.push(ResourceId::new(ResourceType::Secret, name.clone()));
    }

    pub(super) fn drop_secret_if_idle(&mut self, name: &Name) -> bool {
        let node = self.secrets.get(name);
        if node.is_none_or(|node| !node.clusters.is_empty() || !node.servers.is_empty()) {
            return false;
        }
        let Some(node) = self.secrets.remove(name) else { return false };
        if Level::of(&node.entry) != Level::Unknown {
            self.update.secrets.insert(name.clone(), None);
        }
        true
    }
}

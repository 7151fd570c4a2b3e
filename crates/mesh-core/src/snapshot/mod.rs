//! The Snapshot: all configuration of one moment, compiled.
//!
//! A request takes one Snapshot at its start and sees one version of listeners, routes and
//! clusters until its end. Endpoints are live (see [`cluster`](crate::cluster)).
//!
//! Compiling keeps what did not change: route tables whose resources are the same are shared
//! with the previous Snapshot, clusters keep their state, and a name keeps its index, so that
//! shared route tables can refer to clusters by position.

mod aggregate;
mod attach;
mod compile;
mod decision;
mod explain;
mod explain_forward;
mod express;
mod filters;
mod mistyped;
mod slots;
#[cfg(test)]
mod tests;
mod view;

pub use attach::Attach;
pub use decision::{Decision, NoRoute, RouteRef};
pub use explain::{ClusterExplanation, Explanation};
pub use explain_forward::{ForwardExplanation, MirrorExplanation, RetryExplanation};
pub use express::Express;
pub use slots::{ClusterIndex, RootHint, RootIndex};
pub use view::RouteView;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use foldhash::fast::FixedState;

use crate::cluster::{ClusterState, Tables};
use crate::filter::Chains;
use crate::finding::Failure;
use crate::resource::{Entry, Name, Resources, Root, ServerListener};
use crate::route::{RouteTable, Shortcut};
use slots::Slots;

/// All configuration of one moment. See the [module](self).
pub struct Snapshot<A: Attach> {
    /// Its own among all of the process, from 1.
    number: u64,
    roots: Slots<Arc<RootProgram>>,
    clusters: Slots<ClusterSlot<A>>,
    /// The clusters whose endpoints are a resource of another name than their own, by that name.
    by_service: Box<[(Name, ClusterIndex)]>,
    aggregates: aggregate::Aggregates<A>,
    servers: HashMap<Name, Entry<ServerListener>, FixedState>,
    /// Endpoint tables that compiling this Snapshot replaced.
    replaced: Vec<Arc<Tables<A>>>,
}

/// A listener and its routes, compiled.
#[derive(Debug)]
struct RootProgram {
    name: Name,
    root: Root,
    /// `None` when the listener or its routes are not known.
    table: Option<RouteTable>,
    /// The virtual host of the target itself: gRPC's, and HTTP's when the request's authority
    /// selects none.
    host: Option<u32>,
    /// The filters of requests; `None` when no route has any.
    chains: Option<Chains>,
    /// Whether there are neither filters nor options of the connection manager.
    plain: bool,
    /// Whether requests may take the [short way](express).
    express: bool,
    /// The routes of the target's own host, where they are few and simple.
    shortcut: Option<Box<Shortcut>>,
}

/// A name that routes or resources refer to.
struct ClusterSlot<A: Attach> {
    /// `None` when there is no such cluster.
    state: Option<Arc<ClusterState<A>>>,
    failure: Option<Arc<Failure>>,
}

impl<A: Attach> Snapshot<A> {
    /// The root of a listener name; `None` when nothing has been published for it.
    ///
    /// `hint` remembers the position, so that the name is looked up once and not per request. It
    /// belongs to this name: with another one it would find the wrong root.
    #[inline(always)]
    pub fn root(&self, name: &Name, hint: &RootHint) -> Option<RootIndex> {
        match hint.get(self.number) {
            Some(known) => Some(RootIndex(known)),
            None => self.find_root(name, hint),
        }
    }

    #[cold]
    fn find_root(&self, name: &Name, hint: &RootHint) -> Option<RootIndex> {
        let index = self.roots.find(name)?;
        hint.set(self.number, index);
        Some(RootIndex(index))
    }

    /// The cluster at an index; `None` when it does not exist.
    #[inline]
    pub fn cluster(&self, index: ClusterIndex) -> Option<&Arc<ClusterState<A>>> {
        self.clusters.get(index.0)?.state.as_ref()
    }

    /// Above the position of every cluster.
    pub fn positions(&self) -> usize {
        self.clusters.positions()
    }

    /// The clusters that exist.
    pub fn clusters(&self) -> impl Iterator<Item = &Arc<ClusterState<A>>> {
        self.clusters.values().filter_map(|slot| slot.state.as_ref())
    }

    /// The cluster of that name, if it exists.
    pub fn cluster_named(&self, name: &str) -> Option<&Arc<ClusterState<A>>> {
        self.cluster(ClusterIndex(self.clusters.find(name)?))
    }

    /// A server's listener; `None` when nothing has been published for it.
    pub fn server(&self, name: &str) -> Option<&Entry<ServerListener>> {
        self.servers.get(name)
    }

    /// The servers' listeners by name.
    pub fn servers(&self) -> impl Iterator<Item = (&Name, &Entry<ServerListener>)> {
        self.servers.iter()
    }

    /// Brings the endpoint tables of clusters whose endpoints changed up to date, which needs no
    /// new Snapshot.
    ///
    /// Returns the tables that were replaced. Requests may still read them; whoever publishes
    /// keeps them until nobody does, so that no request pays for freeing them.
    pub fn update_endpoints<'n>(
        &self,
        resources: &Resources,
        changed: impl IntoIterator<Item = &'n Name>,
        attach: &A,
    ) -> Vec<Arc<Tables<A>>> {
        let mut replaced = Vec::new();
        // Made when the first cluster asks for it, which few do.
        let mut home = None;
        let mut update = |cluster: &Arc<ClusterState<A>>| {
            let home = match cluster.is_zone_aware() {
                true => home.get_or_insert_with(|| resources.home().map(Arc::new)).clone(),
                false => None,
            };
            let assignment = resources.endpoints_of(cluster.spec());
            replaced.extend(cluster.update((assignment, home), attach));
        };
        for name in changed {
            self.clusters_of_endpoints(name).for_each(&mut update);
            if resources.are_home(name) {
                self.clusters().filter(|cluster| cluster.is_zone_aware()).for_each(&mut update);
            }
        }
        replaced
    }

    /// The endpoint tables that compiling this Snapshot replaced, to be kept as
    /// [`update_endpoints`](Self::update_endpoints) says.
    pub fn take_replaced(&mut self) -> Vec<Arc<Tables<A>>> {
        std::mem::take(&mut self.replaced)
    }

    /// The clusters whose endpoints are the resource `name`.
    fn clusters_of_endpoints<'s>(
        &'s self,
        name: &'s str,
    ) -> impl Iterator<Item = &'s Arc<ClusterState<A>>> {
        let same = self.cluster_named(name).filter(|cluster| service_name(cluster) == Some(name));
        let start = self.by_service.partition_point(|(service, _)| **service < *name);
        let others = self.by_service[start..].iter().take_while(|(service, _)| **service == *name);
        same.into_iter().chain(others.filter_map(|(_, index)| self.cluster(*index)))
    }
}

/// The name of the resource a cluster's endpoints come from.
fn service_name<A: Attach>(cluster: &ClusterState<A>) -> Option<&str> {
    cluster.spec().discovery.endpoints_name().map(|name| &**name)
}

impl<A: Attach> fmt::Debug for Snapshot<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("roots", &self.roots.len())
            .field("clusters", &self.clusters.len())
            .finish_non_exhaustive()
    }
}

//! Snapshots over time, and what requests see of them.

mod aggregates;
mod choices;
mod endpoints;
mod explain;
mod express;
mod findings;
mod hosts;
mod random_updates;
mod sharing;
mod views;

use std::sync::Arc;

use http::Request;

use super::{Decision, NoRoute, RootHint, RootIndex, Snapshot};
use crate::dialect::Dialect;
use crate::head::Head;
use crate::resource::{
    Cluster, ClusterLoadAssignment, Entry, Name, Resources, Root, RouteConfiguration, Update,
};
use crate::testing::{get, listener};

/// What a target of that authority publishes.
fn root(name: &str, routes: impl Into<Arc<RouteConfiguration>>) -> Root {
    Root {
        authority: name.into(),
        listener: Entry::of(listener(name, "routes")),
        routes: Entry::of(routes),
    }
}

fn with_root(mut update: Update, name: &str, root: Option<Root>) -> Update {
    update.roots.insert(name.into(), root);
    update
}

fn with_cluster(mut update: Update, spec: Cluster) -> Update {
    update.clusters.insert(spec.name.clone(), Some(Entry::of(spec)));
    update
}

fn with_endpoints(mut update: Update, assignment: ClusterLoadAssignment) -> Update {
    update.endpoints.insert(assignment.name.clone(), Some(Entry::of(assignment)));
    update
}

fn compile(resources: &Resources, previous: Option<&Snapshot<()>>) -> Snapshot<()> {
    Snapshot::compile(resources, previous, &()).0
}

fn root_index(snapshot: &Snapshot<()>, name: &str) -> RootIndex {
    snapshot.root(&Name::from(name), &RootHint::new()).unwrap()
}

fn decide(
    snapshot: &Snapshot<()>,
    root: &str,
    request: &Request<()>,
    dialect: Dialect,
) -> Decision {
    snapshot.route(root_index(snapshot, root), &Head::of(request), dialect, 0)
}

/// The name of the cluster that takes a GET request in HTTP.
fn cluster_of<'s>(snapshot: &'s Snapshot<()>, root: &str, uri: &str) -> Result<&'s str, NoRoute> {
    match decide(snapshot, root, &get(uri, &[]), Dialect::Http) {
        Decision::Forward { cluster, .. } => Ok(snapshot.cluster_name(cluster)),
        Decision::Fail(why) => Err(why),
        decision => panic!("{decision:?}"),
    }
}

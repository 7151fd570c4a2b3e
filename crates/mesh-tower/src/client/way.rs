//! Errors of requests that were routed: they name the way to where it ended.

use mesh_core::cluster::{ClusterState, NoEndpoints, Overloaded};
use mesh_core::snapshot::{ClusterIndex, RouteRef, RouteView};

use crate::error::{Error, ErrorKind};
use crate::mesh::{Hold, Io};

#[cold]
pub(super) fn no_cluster(hold: &Hold, route: RouteRef, cluster: ClusterIndex) -> Error {
    let name = hold.cluster_name(cluster);
    let text = format!("cluster {name:?} does not exist ({})", route_way(&hold.view(route)));
    let error = Error::new(ErrorKind::NoCluster, text);
    match hold.cluster_failure(cluster) {
        Some(failure) => error.because(failure.clone()),
        None => error,
    }
}

#[cold]
pub(super) fn not_admitted(
    view: &RouteView<'_>,
    state: &ClusterState<Io>,
    why: Overloaded,
) -> Error {
    let text = format!("not admitted ({})", way(view, state));
    Error::new(ErrorKind::Overloaded, text).because(why)
}

/// The endpoints asked for a share of requests to be dropped.
#[cold]
pub(super) fn dropped(view: &RouteView<'_>, state: &ClusterState<Io>, category: &str) -> Error {
    let text = format!("dropped for {category:?} ({})", way(view, state));
    Error::new(ErrorKind::Overloaded, text)
}

#[cold]
pub(super) fn no_endpoints(
    view: &RouteView<'_>,
    state: &ClusterState<Io>,
    why: NoEndpoints,
) -> Error {
    Error::new(ErrorKind::NoEndpoints, format!("not sent ({})", way(view, state))).because(why)
}

/// The way to a cluster, in resource names.
pub(super) fn way(view: &RouteView<'_>, state: &ClusterState<Io>) -> String {
    format!("{} → cluster {:?}", route_way(view), state.name())
}

fn route_way(view: &RouteView<'_>) -> String {
    format!(
        "listener {:?} → route configuration {:?} → virtual host {:?} → route {:?}",
        view.listener, view.configuration.name, view.host.name, view.route.name
    )
}

//! What few routes make of a request when its endpoint is known.

use http::Request;
use mesh_core::Dialect;
use mesh_core::cluster::{ClusterState, EndpointState};
use mesh_core::snapshot::RouteView;

use super::history::History;
use super::idle::Idle;
use super::messages::with_request;
use crate::body::Body;
use crate::mesh::Io;

/// Gives a request its endpoint's name as its authority, and has its silence watched, as far as its
/// route asks for that.
#[inline(never)]
pub(super) fn finish(
    view: &RouteView<'_>,
    dialect: Dialect,
    (state, endpoint): (&ClusterState<Io>, &EndpointState<Io>),
    history: &mut History,
    request: &mut Request<Body>,
) {
    let Some(forwarding) = view.forwarding() else { return };
    if dialect == Dialect::Grpc {
        return;
    }
    if forwarding.auto_host_rewrite() {
        let tables = state.tables_of(dialect);
        let spec = tables.endpoint_at(endpoint.address());
        if let Some(name) = spec.map(|spec| spec.hostname()).filter(|name| !name.is_empty()) {
            // A name that is no authority leaves the request as it was.
            let _ = with_request(request, "", |seen| view.rewrite_to_endpoint(seen, name)).1;
        }
    }
    if let Some(limit) = forwarding.idle_timeout() {
        let idle = history.idle.get_or_insert_with(|| Idle::new(limit));
        let body = std::mem::take(request.body_mut());
        *request.body_mut() = idle.watch(body);
    }
}

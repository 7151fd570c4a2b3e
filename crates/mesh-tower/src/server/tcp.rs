//! Chains that pass bytes on.

use std::sync::Arc;

use http::{Method, StatusCode};
use mesh_core::resource::Name;
use tokio::io::copy_bidirectional;

use super::accepted::Accepted;
use crate::client::open;
use crate::mesh::{Inner, Subscribed};

/// Passes bytes on in both directions until both ends have closed theirs, or one breaks.
///
/// The end of one direction is passed on, and the other goes on. A connection counts as a call
/// until it ends: a drain waits for it, and cuts it at its deadline, as does its idle timeout.
pub(super) async fn proxy(mesh: Arc<Inner>, mut accepted: Accepted, root: Name) {
    let conn = accepted.conn().clone();
    let mut call = conn.call(&Method::CONNECT);
    call.answered(StatusCode::OK);
    let (peer, target) = (conn.peer().address(), Arc::new(Subscribed::of_chain(root)));
    let mut upstream = match open(&mesh, &target).await {
        Ok(upstream) => upstream,
        Err(error) => {
            tracing::warn!(%peer, error = &error as &dyn std::error::Error, "not passed on");
            return;
        }
    };
    let ended = copy_bidirectional(&mut accepted, &mut upstream).await;
    let (counts, cluster, endpoint) = (upstream.counts(), upstream.cluster(), upstream.endpoint());
    let (sent, received) = (counts.sent(), counts.received());
    let error = ended.err().map(tracing::field::display);
    tracing::info!(%peer, cluster, %endpoint, sent, received, error, "connection passed on");
}

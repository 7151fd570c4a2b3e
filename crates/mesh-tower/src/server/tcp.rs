//! Chains that pass bytes on.

use std::io;
use std::pin::pin;
use std::sync::Arc;

use http::{Method, StatusCode};
use mesh_core::resource::Name;
use tokio::io::copy_bidirectional;

use super::accepted::Accepted;
use super::closing;
use super::drain::Draining;
use crate::client::open;
use crate::mesh::{Inner, Subscribed};

/// Passes bytes on in both directions until both ends have closed theirs, or one breaks.
///
/// The end of one direction is passed on, and the other goes on. A connection counts as a call
/// until it ends: a drain waits for it, and cuts it at its deadline, as do its idle timeout and its
/// age.
pub(super) async fn proxy(mesh: Arc<Inner>, accepted: Accepted, draining: Draining, root: Name) {
    let (conn, limits) = (accepted.conn().clone(), accepted.limits().clone());
    // Its own end is noticed by who reads from it, and nobody does once the client has sent all,
    // or while the endpoint takes nothing.
    let (mut accepted, _gone) = accepted.without_own_end();
    let mut cut = pin!(closing::cut(&conn, &limits, draining));
    let mut call = conn.call(&Method::CONNECT);
    call.answered(StatusCode::OK);
    let (peer, target) = (conn.peer().address(), Arc::new(Subscribed::of_chain(root)));
    let opened = tokio::select! {
        opened = open(&mesh, &target) => opened,
        () = cut.as_mut() => {
            tracing::info!(%peer, "connection cut before there was an endpoint for it");
            return;
        }
    };
    let mut upstream = match opened {
        Ok(upstream) => upstream,
        Err(error) => {
            tracing::warn!(%peer, error = &error as &dyn std::error::Error, "not passed on");
            return;
        }
    };
    let ended = tokio::select! {
        ended = copy_bidirectional(&mut accepted, &mut upstream) => ended,
        () = cut => Err(io::ErrorKind::ConnectionAborted.into()),
    };
    let (counts, cluster, endpoint) = (upstream.counts(), upstream.cluster(), upstream.endpoint());
    let (sent, received) = (counts.sent(), counts.received());
    let error = ended.err().map(tracing::field::display);
    tracing::info!(%peer, cluster, %endpoint, sent, received, error, "connection passed on");
}

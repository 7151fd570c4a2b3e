//! Active health checks: endpoints are asked whether they are well.
//!
//! What an answer means is decided by `mesh-core` ([`CheckedHealth`]); here is who asks, and how.
//!
//! ```text
//! task ──Snapshot──▶ Checks: one session per endpoint of a cluster that is checked
//!   ▲                   session: wait ─▶ ask (HTTP, gRPC, TCP) ─▶ CheckedHealth ─▶ wait …
//!   └── tables are to be rebuilt ◀──────────── changed ◀──────────────┘
//! ```
//!
//! A session is a task of its own on the mesh's runtime, which ends when its endpoint or cluster
//! goes. It asks over connections of its own, so that a pool that is used up does not look like
//! an endpoint that is down.
//!
//! [`CheckedHealth`]: mesh_core::cluster::CheckedHealth

mod checks;
mod grpc;
mod http;
mod session;
mod tcp;
#[cfg(test)]
mod tests;

pub(crate) use checks::Checks;

use ::http::{Request, Response};
use mesh_core::cluster::Checked;
use std::sync::Arc;

use crate::body::Body;
use crate::connection::{Connections, Received};

/// What checks say they are. Servers know Envoy's by this name and may treat them apart.
const USER_AGENT: &str = "Envoy/HC";

/// Of an answer's body, no more is looked at.
const MAX_BODY_BYTES: usize = 64 << 10;

/// What a check came to, and why.
type Found = (Checked, String);

/// Sends a check's request. Where there is no answer, that is what it came to.
async fn ask(
    request: Result<Request<Body>, ::http::Error>,
    connections: &Arc<Connections>,
) -> Result<Response<Received>, Found> {
    let request =
        request.map_err(|error| (Checked::Wrong, format!("the check is no request: {error}")))?;
    let sent = connections.send(request, None).await;
    sent.map_err(|error| (Checked::Unanswered, error.to_string()))
}

/// Whether the pieces occur in that order, with anything between them.
fn holds(bytes: &[u8], pieces: &[bytes::Bytes]) -> bool {
    let mut rest = bytes;
    pieces.iter().all(|piece| {
        let found = rest.windows(piece.len().max(1)).position(|window| window == &piece[..]);
        if let Some(at) = found {
            rest = &rest[at + piece.len()..];
        }
        found.is_some() || piece.is_empty()
    })
}

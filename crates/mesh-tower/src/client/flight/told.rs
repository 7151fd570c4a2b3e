//! What servers are told of the time that is left.

use std::time::Instant;

use http::{HeaderValue, Request};
use mesh_core::resilience::grpc_timeout;

use crate::body::Body;
use crate::client::now;
use crate::deadline::expected_timeout;

const GRPC_TIMEOUT: &str = "grpc-timeout";

/// What a server is told of a deadline in plain HTTP.
#[cold]
pub(super) fn left_until(deadline: Instant) -> HeaderValue {
    expected_timeout(deadline.saturating_duration_since(now()))
}

/// Tells the server how long is left, unless the caller's own header still says so.
pub(in crate::client) fn write_grpc_timeout(
    request: &mut Request<Body>,
    total: Option<Instant>,
    callers: bool,
) {
    let Some(total) = total else { return };
    if callers && request.headers().contains_key(GRPC_TIMEOUT) {
        return;
    }
    let left = total.saturating_duration_since(now());
    request.headers_mut().insert(GRPC_TIMEOUT, grpc_timeout::format(left));
}

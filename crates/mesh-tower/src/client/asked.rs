//! What a request asks of its route, beyond what the route says of all.

use std::time::{Duration, Instant};

use http::header::CONTENT_TYPE;
use http::{HeaderMap, Request};
use mesh_core::Dialect;
use mesh_core::resilience::{RequestOptions, Timeouts, grpc_timeout};
use mesh_core::resource::RetryPolicy;
use mesh_core::route::Forwarding;
use mesh_core::snapshot::RouteView;

use super::now;
use crate::body::Body;

/// What counts for one request in plain HTTP, in place of what its route says of all.
pub(super) struct Asked {
    pub(super) timeouts: Timeouts,
    /// `None` when it is the route's own.
    pub(super) policy: Option<RetryPolicy>,
    /// Whether attempts that take their time go on beside others; `None` when the route says.
    pub(super) hedge: Option<bool>,
    /// Whether a timeout is answered without saying so (204).
    pub(super) alt_response: bool,
    began: Instant,
}

/// Whether a request may ask for something.
#[inline(always)]
pub(super) fn may_ask(forwarding: &Forwarding, dialect: Dialect, request: &Request<Body>) -> bool {
    dialect == Dialect::Http
        && (RequestOptions::may_be_in(request.headers()) || is_read(forwarding, request.headers()))
}

/// Whether the route makes limits of what a request says of gRPC.
#[inline(always)]
fn is_read(forwarding: &Forwarding, headers: &HeaderMap) -> bool {
    forwarding.reads_grpc_timeout() && states_grpc(headers)
}

#[inline(never)]
fn states_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE);
    headers.contains_key(GRPC_TIMEOUT)
        || kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

const GRPC_TIMEOUT: &str = "grpc-timeout";

impl Asked {
    /// What a request asks for, whose headers for it are taken off.
    #[inline(never)]
    pub(super) fn take(view: &RouteView<'_>, request: &mut Request<Body>) -> Option<Box<Self>> {
        let options = RequestOptions::take(request.headers_mut());
        let read = is_read(view.forwarding()?, request.headers());
        if options.is_none() && !read {
            return None;
        }
        let options = options.as_deref();
        let policy = options.and_then(|options| options.retry_policy(view.retry_policy()));
        let in_force = policy.as_ref().or(view.retry_policy());
        let timeouts = view.timeouts(in_force, request.headers(), options)?;
        let alt_response = options.is_some_and(|options| options.timeout_alt_response);
        let hedge = options.and_then(|options| options.hedge_on_per_try_timeout);
        let asked = Self { timeouts, policy, hedge, alt_response, began: now() };
        asked.tell_after(Duration::ZERO, request);
        Some(Box::new(asked))
    }

    /// Tells the server in `grpc-timeout` how long is left, where the route makes that of it.
    pub(super) fn tell(&self, request: &mut Request<Body>) {
        self.tell_after(now().saturating_duration_since(self.began), request);
    }

    fn tell_after(&self, elapsed: Duration, request: &mut Request<Body>) {
        let left = self.timeouts.expected(elapsed, false);
        if let (true, Some(left)) = (self.timeouts.tells_grpc, left) {
            request.headers_mut().insert(GRPC_TIMEOUT, grpc_timeout::format(left));
        }
    }
}

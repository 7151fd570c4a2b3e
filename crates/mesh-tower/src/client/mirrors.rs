//! Copies of requests, sent and forgotten.
//!
//! A copy goes over the mesh's own connections in a task of its own; nobody waits for its answer,
//! and nobody learns of its failure. Copies are bounded by their cluster's circuit breaker, by the
//! time their request may take, and by what is kept of a body: a longer one is not copied.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt;
use mesh_core::cluster::{Choice, ClusterState, Part};
use mesh_core::filter::Request as Seen;
use mesh_core::resource::RoutingPriority;
use mesh_core::route::Mirror;
use mesh_core::snapshot::RouteView;
use mesh_core::{Dialect, Head};

use super::changes::rewrite_host;
use super::messages::{context, with_request};
use super::outliers::OpenCall;
use crate::body::Body;
use crate::connection::Gate;
use crate::mesh::{Hold, Io, Random};

/// How long a copy may take where its route sets no limit, so that none stays for ever: Envoy's
/// default for a request.
const LONGEST: Duration = Duration::from_secs(15);

/// A copy that waits for its body.
struct Copy {
    state: Arc<ClusterState<Io>>,
    part: Option<Part>,
    head: Request<Body>,
    dialect: Dialect,
    longest: Duration,
    random: u64,
}

/// Has the copies of a request sent that its route asks for. `drawn` is the number that chose the
/// route.
#[inline(never)]
pub(super) fn mirror(
    view: &RouteView<'_>,
    hold: &Hold,
    dialect: Dialect,
    request: &mut Request<Body>,
    drawn: u64,
    random: &mut Random,
) {
    let longest = view.timeout(dialect).unwrap_or(LONGEST);
    let mut copies = Vec::new();
    for mirror in view.mirrors(&Head::of(request), drawn) {
        // A cluster that does not exist gets no copy, and the request does not care.
        if let Some((state, part)) = hold.leaf_named(mirror.cluster, dialect, random.next()) {
            let random = random.next();
            let Some(head) = copy_of_head(&mirror, request, dialect, random) else { continue };
            copies.push(Copy { state: state.clone(), part, head, dialect, longest, random });
        }
    }
    if !copies.is_empty() {
        let body = std::mem::take(request.body_mut());
        let send = |body: Bytes| copies.into_iter().for_each(|copy| copy.send(body.clone()));
        *request.body_mut() = body.copied_to(send);
    }
}

/// `None` when the copy is none that can be sent.
pub(crate) fn copy_of_head(
    mirror: &Mirror<'_>,
    request: &Request<Body>,
    dialect: Dialect,
    random: u64,
) -> Option<Request<Body>> {
    let mut copy = Request::new(Body::empty());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    let authority = mirror.authority(Head::of(request).authority);
    rewrite_host(&mut copy, authority.as_bytes()).ok()?;
    let mut context = context(dialect, random);
    context.names.cluster = mirror.cluster;
    let change = |seen: &mut Seen<'_>| mirror.policy.request_headers.change_request(seen, &context);
    // A header that no message can carry is left out of a copy.
    let (_, written) = with_request(&mut copy, "", change);
    written.ok().map(|()| copy)
}

impl Copy {
    fn send(self, body: Bytes) {
        let Self { state, part, head, dialect, longest, random } = self;
        let choice = Choice::new(dialect).with_part(part);
        let Ok(permit) = state.admit() else {
            state.count_drop(None);
            return;
        };
        let Ok(endpoint) = state.pick(&choice, random) else { return };
        // As in Envoy, a copy is load of its cluster like any request.
        let counted = state.count(&endpoint);
        let gate = Gate::new(&state, RoutingPriority::Default);
        let runtime = endpoint.attached().runtime().clone();
        let answered = async move {
            let _held = permit;
            let request = head.map(|_| Body::from(body));
            let sent = endpoint.attached().send(dialect, request, gate).await;
            // What is not answered counts as failed.
            let Ok(response) = sent else { return };
            let (head, mut body) = response.into_parts();
            let mut call = OpenCall::default();
            if let Some(counted) = counted {
                call.count(counted, dialect, (head.status, &head.headers));
            }
            // Read to its end, so that the connection can be used again.
            let mut trailers = None;
            while let Some(Ok(frame)) = body.frame().await {
                trailers = frame.into_trailers().ok().or(trailers);
            }
            call.ended(&endpoint, trailers.as_ref());
        };
        runtime.spawn(async move {
            // The answer, an error and a timeout are all the same: nobody wants to know.
            let _ = tokio::time::timeout(longest, answered).await;
        });
    }
}

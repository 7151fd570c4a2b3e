use std::sync::Arc;
use std::time::Instant;

use http::{Request, Response};
use mesh_core::resilience::grpc_timeout;
use mesh_core::snapshot::{ClusterIndex, Decision, NoRoute, RootIndex, RouteRef};
use mesh_core::{Dialect, Head};

use super::body::ResponseBody;
use super::now;
use super::record::Record;
use crate::body::Body;
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind};
use crate::mesh::{Hold, Inner, Subscribed};

/// Where a request is on its way from.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) mesh: &'a Arc<Inner>,
    pub(super) target: &'a Arc<Subscribed>,
    pub(super) dialect: Dialect,
}

pub(super) type Answer<B> = Response<ResponseBody<B>>;

/// Where a request goes.
#[inline(always)]
pub(super) fn decide(
    place: Place<'_>,
    hold: &Hold,
    root: RootIndex,
    request: &Request<Body>,
    random: u64,
) -> Decision {
    let (method, uri, headers) = (request.method(), request.uri(), request.headers());
    let head = Head::likely_for(place.target.likely(), method, uri, headers)
        .to_target(place.target.authority());
    hold.route(root, &head, place.dialect, random)
}

/// Notes the route and the cluster of a request.
#[cold]
pub(super) fn note(
    record: &Record,
    hold: &Hold,
    route: Option<RouteRef>,
    cluster: Option<ClusterIndex>,
) {
    if let Some(route) = route {
        let cluster = cluster.map_or("", |cluster| hold.cluster_name(cluster));
        record.routed(&hold.view(route).route.name, cluster);
    }
}

/// The error of a request that nothing takes.
#[cold]
pub(super) fn not_routed(
    place: Place<'_>,
    hold: &Hold,
    root: RootIndex,
    request: &Request<Body>,
    why: NoRoute,
) -> Error {
    if why == NoRoute::Configuration {
        return match hold.failure(root) {
            Some(failure) => place.target.unresolved().because(failure.clone()),
            None => place.mesh.not_ready(place.target),
        };
    }
    let mut head = Head::of(request);
    if place.dialect == Dialect::Grpc {
        head.authority = place.target.authority();
    }
    unrouted(why, place.target, &head)
}

fn unrouted(why: NoRoute, target: &Subscribed, head: &Head<'_>) -> Error {
    let kind = match why {
        NoRoute::Unsupported(_) | NoRoute::NonForwarding(_) => ErrorKind::Unsupported,
        _ => ErrorKind::NoRoute,
    };
    let listener = target.listener();
    let Head { method, authority, path_and_query, .. } = head;
    let text =
        format!("{why}: {method} {path_and_query} for {authority:?} (listener {listener:?})");
    Error::new(kind, text)
}

/// The caller's deadline: an extension, or gRPC's own header. Most requests have neither, which is
/// seen at once.
#[inline(always)]
pub(super) fn caller_deadline(request: &Request<Body>, dialect: Dialect) -> Option<Instant> {
    if dialect == Dialect::Http && request.extensions().is_empty() {
        return None;
    }
    stated_deadline(request, dialect)
}

#[inline(never)]
fn stated_deadline(request: &Request<Body>, dialect: Dialect) -> Option<Instant> {
    if let Some(Deadline(deadline)) = request.extensions().get() {
        return Some(*deadline);
    }
    if dialect == Dialect::Http {
        return None;
    }
    let timeout = grpc_timeout::parse(request.headers().get("grpc-timeout")?)?;
    now().checked_add(timeout)
}

/// The record a request is to be noted in.
#[inline(always)]
pub(super) fn record_of(request: &Request<Body>) -> Option<Record> {
    if request.extensions().is_empty() { None } else { carried_record(request) }
}

#[inline(never)]
fn carried_record(request: &Request<Body>) -> Option<Record> {
    request.extensions().get().cloned()
}

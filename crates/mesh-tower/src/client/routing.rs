use std::time::Instant;

use http::{Request, Response};
use mesh_core::resilience::grpc_timeout;
use mesh_core::snapshot::{ClusterIndex, Decision, NoRoute, RootIndex, RouteRef};
use mesh_core::{Dialect, Head};

use super::body::ResponseBody;
use super::now;
use super::record::{Deadline, Record};
use crate::body::Body;
use crate::error::{Error, ErrorKind};
use crate::mesh::{Hold, Inner, Subscribed};

/// Where a request is on its way from.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) mesh: &'a Inner,
    pub(super) target: &'a Subscribed,
    pub(super) dialect: Dialect,
}

pub(super) type Answer<B> = Response<ResponseBody<B>>;

/// What became of a request without I/O. Boxed, because it is rare.
pub(super) type Ended<B> = Box<Result<Answer<B>, Error>>;

/// Where a request goes, or what ends it here.
#[inline(always)]
pub(super) fn route<B: http_body::Body>(
    place: Place<'_>,
    hold: &Hold,
    root: RootIndex,
    request: &Request<Body>,
    random: u64,
    record: Option<&Record>,
) -> Result<(RouteRef, ClusterIndex), Ended<B>> {
    let mut head = Head::of(request);
    if place.dialect == Dialect::Grpc {
        head.authority = place.target.authority();
    }
    let decision = hold.route(root, &head, place.dialect, random);
    if let Some(record) = record {
        note(record, hold, decision);
    }
    match decision {
        Decision::Forward { route, cluster } => Ok((route, cluster)),
        decision => Err(Box::new(ended(place, hold, root, &head, decision))),
    }
}

#[cold]
fn note(record: &Record, hold: &Hold, decision: Decision) {
    match decision {
        Decision::Forward { route, cluster } => {
            record.routed(&hold.view(route).route.name, hold.cluster_name(cluster));
        }
        Decision::Respond { route } => record.routed(&hold.view(route).route.name, ""),
        _ => {}
    }
}

/// What a request gets that goes nowhere: the answer of its configuration, or an error.
#[cold]
fn ended<B: http_body::Body>(
    place: Place<'_>,
    hold: &Hold,
    root: RootIndex,
    head: &Head<'_>,
    decision: Decision,
) -> Result<Answer<B>, Error> {
    match decision {
        Decision::Respond { route } => Ok(direct_response(hold, route)),
        Decision::Fail(NoRoute::Configuration) => Err(match hold.failure(root) {
            Some(failure) => place.target.unresolved().because(failure.clone()),
            None => place.mesh.not_ready(place.target),
        }),
        Decision::Fail(why) => Err(unrouted(why, place.target, head)),
        decision => Err(Error::new(ErrorKind::Unsupported, format!("{decision:?}"))),
    }
}

fn direct_response<B: http_body::Body>(hold: &Hold, route: RouteRef) -> Answer<B> {
    let view = hold.view(route);
    let (status, body) = view.direct_response().expect("the decision was to respond");
    let mut response = Response::new(ResponseBody::local(body.clone()));
    *response.status_mut() = status;
    view.change_response_headers(response.headers_mut());
    response
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

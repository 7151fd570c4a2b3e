//! The short way of a request that is routed, sent and nothing else, as nearly all are.
//!
//! It does what [`begin`](super::begin) does, or does nothing and says so: then the request goes the
//! long way from its start, with the same random number, and comes to the same.

use http::header::HeaderMap;
use http::{HeaderValue, Request, header};
use mesh_core::cluster::{Permit, Picked};
use mesh_core::snapshot::{Express, RootIndex};
use mesh_core::{Dialect, Snapshot};

use super::begin::name_authority;
use super::record::Record;
use super::routing::Place;
use crate::deadline::Deadline;
use crate::mesh::{Hold, Io, Random};

/// A request that may be sent.
pub(super) struct Taken<'s> {
    pub(super) to: Express<'s, Io>,
    pub(super) permit: Permit,
    pub(super) endpoint: Picked<Io>,
    pub(super) random: Random,
}

/// Routes a request of plain HTTP, admits it, and picks an endpoint.
#[inline(always)]
pub(super) fn take<'s, B>(
    place: Place<'_>,
    hold: &'s Hold,
    mut random: Random,
    request: &mut Request<B>,
) -> Option<Taken<'s>> {
    // Extensions hold deadlines and records.
    if !request.extensions().is_empty() {
        return None;
    }
    if Deadline::inherited().is_some() {
        return None;
    }
    let root = hold.root(place.target.listener(), place.target.hint())?;
    let (target, head) = (place.target.authority(), (request.uri(), request.headers()));
    let to = match hold.shortcut(root, head, target, random.first()) {
        Some(to) => to,
        None => through_table(root, hold, request, target, random.first())?,
    };
    if request.uri().authority().is_none() {
        name_host(request.headers_mut(), place.target.host());
    }
    let permit = to.state.admit_as(to.forwarding.priority()).ok()?;
    let tables = hold.tables(to.cluster, to.state, Dialect::Http);
    let endpoint = to.state.pick_plain(tables, Dialect::Http, random.next())?;
    Some(Taken { to, permit, endpoint, random })
}

/// The same of targets with many routes, and of hosts that are not the target's own.
#[inline(never)]
fn through_table<'s, B>(
    root: RootIndex,
    hold: &'s Hold,
    request: &Request<B>,
    target: &str,
    random: u64,
) -> Option<Express<'s, Io>> {
    if request.headers().keys().any(Snapshot::<Io>::asks) {
        return None;
    }
    let authority = request.uri().authority().map_or(target, |authority| authority.as_str());
    hold.express(root, request, (Dialect::Http, authority), random)
}

/// Routes, admits and picks for a gRPC call, whose virtual host is its target's.
#[inline(always)]
pub(super) fn take_call<'s, B>(
    place: Place<'_>,
    hold: &'s Hold,
    mut random: Random,
    request: &mut Request<B>,
) -> Option<Taken<'s>> {
    // Generated clients add what is of no interest here.
    let extensions = request.extensions();
    if extensions.get::<Deadline>().is_some() || extensions.get::<Record>().is_some() {
        return None;
    }
    if Deadline::inherited().is_some() || is_special_call(request.headers()) {
        return None;
    }
    name_authority(request, place.target);
    request.uri().authority()?;
    let root = hold.root(place.target.listener(), place.target.hint())?;
    let authority = place.target.authority();
    let to = hold.express(root, request, (Dialect::Grpc, authority), random.first())?;
    let permit = to.state.admit_as(to.forwarding.priority()).ok()?;
    let tables = hold.tables(to.cluster, to.state, Dialect::Grpc);
    let endpoint = to.state.pick_plain(tables, Dialect::Grpc, random.next())?;
    Some(Taken { to, permit, endpoint, random })
}

/// Whether there are headers that name an authority or a deadline.
#[inline(always)]
fn is_special_call(headers: &HeaderMap) -> bool {
    for name in headers.keys() {
        let name = name.as_str().as_bytes();
        if name == b"host" || name == b"grpc-timeout" {
            return true;
        }
    }
    false
}

#[inline(never)]
fn name_host(headers: &mut HeaderMap, host: &HeaderValue) {
    headers.insert(header::HOST, host.clone());
}

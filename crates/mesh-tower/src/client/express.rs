//! The short way of a request that is routed, sent and nothing else, as nearly all are.
//!
//! It does what [`begin`](super::begin) does, or does nothing and says so: then the request goes the
//! long way from its start, with the same random number, and comes to the same.

use http::header::HeaderMap;
use http::{HeaderValue, Request, header};
use mesh_core::Dialect;
use mesh_core::cluster::{Permit, Picked};
use mesh_core::snapshot::Express;

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

/// Routes a request, admits it, and picks an endpoint.
#[inline(always)]
pub(super) fn take<'s, B>(
    place: Place<'_>,
    hold: &'s Hold,
    mut random: Random,
    request: &mut Request<B>,
) -> Option<Taken<'s>> {
    // Extensions hold deadlines and records.
    if place.dialect != Dialect::Http || !request.extensions().is_empty() {
        return None;
    }
    if Deadline::inherited().is_some() {
        return None;
    }
    if is_special(request.headers()) {
        return None;
    }
    if request.uri().authority().is_none() {
        name_host(request.headers_mut(), place.target.host());
    }
    let root = hold.root(place.target.listener(), place.target.hint())?;
    let authority = match request.uri().authority() {
        Some(authority) => authority.as_str(),
        None => place.target.authority(),
    };
    let to = hold.express(root, request, authority, random.first())?;
    let permit = to.state.admit_as(to.forwarding.priority()).ok()?;
    let tables = hold.tables(to.cluster, to.state);
    let endpoint = to.state.pick_plain(tables, random.next())?;
    Some(Taken { to, permit, endpoint, random })
}

/// Whether there are headers that ask for something, or that name an authority.
#[inline(always)]
fn is_special(headers: &HeaderMap) -> bool {
    // A loop, and no closure, so that it becomes part of its caller.
    for name in headers.keys() {
        let name = name.as_str().as_bytes();
        if name.starts_with(b"x-envoy-") || name == b"host" {
            return true;
        }
    }
    false
}

#[inline(never)]
fn name_host(headers: &mut HeaderMap, host: &HeaderValue) {
    headers.insert(header::HOST, host.clone());
}

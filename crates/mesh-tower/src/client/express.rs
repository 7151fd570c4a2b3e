//! The short way of a request that is routed, sent and nothing else, as nearly all are.
//!
//! It does what [`begin`](super::begin) does, or does nothing and says so: then the request goes the
//! long way from its start, with the same random number, and comes to the same.

use http::header::HeaderMap;
use http::{HeaderValue, Request, header};
use mesh_core::cluster::{Permit, Picked};
use mesh_core::snapshot::{Express, RootIndex};
use mesh_core::{Dialect, Snapshot};

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
    let tables = hold.tables(to.cluster, to.state);
    let endpoint = to.state.pick_plain(tables, random.next())?;
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
    hold.express(root, request, authority, random)
}

#[inline(never)]
fn name_host(headers: &mut HeaderMap, host: &HeaderValue) {
    headers.insert(header::HOST, host.clone());
}

//! The short way of a request that is routed and nothing else, as nearly all are.
//!
//! It decides what [`Snapshot::route`] decides, or says that it does not know. What makes it short
//! is what it leaves out: whether a route, a host or a cluster has anything unusual about it was
//! noted when they were compiled, and the head of the request is looked at where it lies.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, Request, Uri};

use super::{Attach, ClusterIndex, RootIndex, RouteRef, Snapshot};
use crate::cluster::ClusterState;
use crate::dialect::Dialect;
use crate::resource::same;
use crate::route::{Chosen, ClusterChoice, Forwarding, RouteTable, RuleTarget, asks};

/// Where a request goes that takes the short way.
#[derive(Clone, Copy, Debug)]
pub struct Express<'s, A: Attach> {
    /// The route.
    pub route: RouteRef,
    /// What every request on the route asks of it: no more than a timeout and a retry policy.
    pub forwarding: &'s Forwarding,
    /// The cluster, by its position.
    pub cluster: ClusterIndex,
    /// The cluster, which is no aggregate, drops nothing and has no slow start.
    pub state: &'s Arc<ClusterState<A>>,
}

impl<A: Attach> Snapshot<A> {
    /// What [`route`](Self::route) would decide of a request of the application itself, where that
    /// is to forward it and nothing else; `None` where it is something else, and where that would
    /// take longer to find out.
    ///
    /// `authority` is the request's in HTTP: as it is in its URI, else that of its one `host`
    /// header. In gRPC it is the target's.
    ///
    /// # Panics
    /// As [`route`](Self::route).
    #[inline]
    pub fn express<B>(
        &self,
        root: RootIndex,
        request: &Request<B>,
        (dialect, authority): (Dialect, &str),
        random: u64,
    ) -> Option<Express<'_, A>> {
        let program = self.program(root);
        if !program.express {
            return None;
        }
        let table = program.table.as_ref()?;
        let host = match authority == &*program.root.authority {
            true => program.host?,
            false => other_host(table, authority)?,
        };
        let path = request.uri().path();
        if path.is_empty() {
            return None;
        }
        let (chosen, target) = table.direct(host, path, request, dialect, random)?;
        self.forward(root, table, chosen, target, random)
    }

    /// As [`express`](Self::express), of a target whose own host has few and simple routes; `None`
    /// also where a request sends a header twice or has [one that asks](Self::asks) for something.
    ///
    /// `target` is the authority of requests whose URI has none.
    ///
    /// # Panics
    /// As [`route`](Self::route).
    //
    // On its own: what it needs fits into registers then, and what comes of it is looked at where it
    // lies. As a part of its caller, which needs them for other things, it is some 20 instructions
    // longer.
    #[inline(never)]
    pub fn shortcut(
        &self,
        root: RootIndex,
        (uri, headers): (&Uri, &HeaderMap),
        target: &str,
        random: u64,
    ) -> Option<Express<'_, A>> {
        let program = self.program(root);
        let shortcut = program.shortcut.as_deref()?;
        let authority = uri.authority().map_or(target, |authority| authority.as_str());
        if !same(authority.as_bytes(), program.root.authority.as_bytes()) {
            return None;
        }
        let (chosen, target) = shortcut.first(uri.path_and_query()?.as_str(), headers)?;
        self.forward(root, program.table.as_ref()?, chosen, target, random)
    }

    /// Whether a header of that name asks for something itself, or names an authority, so that
    /// requests which have it do not take this way.
    #[inline(always)]
    pub fn asks(name: &HeaderName) -> bool {
        asks(name.as_str().as_bytes())
    }

    #[inline(always)]
    fn forward<'s>(
        &'s self,
        root: RootIndex,
        table: &'s RouteTable,
        chosen: Chosen,
        target: u32,
        random: u64,
    ) -> Option<Express<'s, A>> {
        let RuleTarget::Forward { clusters, forwarding } = table.target(target)? else {
            return None;
        };
        if !forwarding.is_plain() {
            return None;
        }
        let (weighted, cluster) = match clusters {
            ClusterChoice::One(cluster) => (None, *cluster),
            ClusterChoice::Weighted(ends) => {
                let (at, cluster) = ClusterChoice::choose_first(ends, random)?;
                (Some(at), cluster)
            }
            _ => return None,
        };
        let state = self.cluster(cluster).filter(|state| state.is_plain())?;
        let route = RouteRef { root, chosen, target, weighted };
        Some(Express { route, forwarding, cluster, state })
    }
}

/// Whether requests for a root may take the short way, as far as that does not depend on them.
pub(super) fn suits(table: Option<&RouteTable>, authority: &str) -> bool {
    // User information in an authority does not count, and to look for some takes a while.
    let is_usual = |table: &RouteTable| {
        let configuration = &table.configuration;
        !configuration.is_unusual() && configuration.vhost_header.is_none()
    };
    table.is_some_and(is_usual) && !authority.contains('@')
}

#[inline(never)]
fn other_host(table: &RouteTable, authority: &str) -> Option<u32> {
    if authority.contains('@') { None } else { table.host(authority) }
}

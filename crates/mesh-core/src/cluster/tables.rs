use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::levels::Levels;
use super::loads::Dense;
use super::membership::Membership;
use super::plan::{Plan, plan};
use super::priority::Census;
use super::resilient::Outs;
use super::subsets::SubsetTables;
use super::{EndpointState, PriorityLoad};
use crate::dialect::Dialect;
use crate::finding::Failure;
use crate::resource::{
    Cluster, ClusterLoadAssignment, Endpoint, Entry, LocalityLbEndpoints, Metadata, RetryPolicy,
};
use crate::snapshot::Attach;

/// The endpoints of a cluster at one moment, ready to be picked from in one dialect.
pub struct Tables<A: Attach> {
    pub(super) usable: Usable<A>,
    pub(super) way: Way,
    pub(super) membership: Arc<Membership<A>>,
    pub(super) loads: Box<[PriorityLoad]>,
    /// Their own among all of the process, so that an aggregate sees when others took their place.
    pub(super) number: u64,
    /// Who is ejected, by number, ascending.
    pub(super) out: Box<[u32]>,
    /// The priority in use, when it is one alone.
    pub(super) priority: Option<u32>,
    /// What few clusters have.
    rare: Option<Box<Rare>>,
}

struct Rare {
    /// Of each priority, when the cluster is part of an aggregate.
    censuses: Vec<Census>,
    /// Why the dialect has no use for the cluster at all.
    refused: Option<&'static str>,
}

/// Endpoints that may be picked: the lists of all levels, one after the other.
///
/// By number, and not by reference: counting 10,000 references takes longer than all else when
/// one endpoint is ejected.
pub(super) struct Usable<A: Attach> {
    states: Arc<[Arc<EndpointState<A>>]>,
    /// The numbers; `None` when all of them are usable, in their order.
    numbers: Option<Box<[u32]>>,
    /// Where loads are, when there are many.
    dense: Option<Arc<Dense>>,
    length: usize,
}

impl<A: Attach> Usable<A> {
    fn new(membership: &Membership<A>, numbers: Vec<u32>, length: usize) -> Self {
        let (states, dense) = (membership.states.clone(), membership.dense.clone());
        let all = numbers.len() == states.len() && (0..).zip(&numbers).all(|(at, n)| at == *n);
        let numbers = if all { None } else { Some(numbers.into()) };
        Self { states, numbers, dense, length }
    }

    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// One of those, or of the lists of weighted groups, which follow.
    ///
    /// # Panics
    /// When there are not as many.
    #[inline(always)]
    pub(super) fn get(&self, index: usize) -> &Arc<EndpointState<A>> {
        match &self.numbers {
            None => &self.states[index],
            Some(numbers) => &self.states[numbers[index] as usize],
        }
    }

    /// Whether there are so many that none is in a cache.
    #[inline(always)]
    pub(super) fn is_far(&self) -> bool {
        self.dense.is_some()
    }

    /// The load of one, which of many is not looked for in the endpoint itself.
    ///
    /// # Panics
    /// As [`get`](Self::get).
    #[inline(always)]
    pub(super) fn load(&self, index: usize) -> u32 {
        match &self.dense {
            None => self.get(index).load(),
            Some(dense) => {
                let number = self.numbers.as_ref().map_or(index, |all| all[index] as usize);
                dense.get(number).unwrap_or_else(|| self.get(index).load())
            }
        }
    }
}

/// How one of the usable endpoints is picked.
#[derive(Debug)]
pub(super) enum Way {
    /// Round robin over all.
    RoundRobin,
    /// The least loaded of that many.
    LeastRequest(u32),
    /// By priorities, localities, weights or hashes.
    Levels(Box<Levels>),
    /// By what the route asks of the endpoint, and then as above.
    Subsets(Box<SubsetTables>),
}

/// The tables of both dialects; the same ones when the dialects do not differ.
pub(super) fn of_both<A: Attach>(
    cluster: &Cluster,
    membership: &Arc<Membership<A>>,
    outs: &Outs,
    in_aggregate: bool,
) -> [Arc<Tables<A>>; 2] {
    let (http, shared) = of_one(cluster, membership, Dialect::Http, outs, in_aggregate);
    let grpc = match shared {
        true => http.clone(),
        false => of_one(cluster, membership, Dialect::Grpc, outs, in_aggregate).0,
    };
    [http, grpc]
}

/// The tables of one dialect, and whether gRPC's would be the very same.
pub(super) fn of_one<A: Attach>(
    cluster: &Cluster,
    membership: &Arc<Membership<A>>,
    dialect: Dialect,
    outs: &Outs,
    in_aggregate: bool,
) -> (Arc<Tables<A>>, bool) {
    let plan = plan(cluster, membership, dialect, outs, in_aggregate);
    let shared = plan.suits_grpc;
    let out = &outs[usize::from(dialect == Dialect::Grpc)];
    (Arc::new(Tables::of(membership, plan, out)), shared)
}

impl<A: Attach> Tables<A> {
    fn of(membership: &Arc<Membership<A>>, plan: Plan, out: &[u32]) -> Self {
        static NUMBERS: AtomicU64 = AtomicU64::new(1);
        let rare = !plan.censuses.is_empty() || plan.refused.is_some();
        Self {
            usable: Usable::new(membership, plan.usable, plan.visible),
            way: plan.way,
            loads: plan.loads.into(),
            out: out.into(),
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            priority: plan.priority,
            rare: rare.then(|| Box::new(Rare { censuses: plan.censuses, refused: plan.refused })),
            membership: membership.clone(),
        }
    }

    /// All endpoints with what the assignment says of each, in its order.
    pub fn endpoints(&self) -> impl Iterator<Item = (&Endpoint, &Arc<EndpointState<A>>)> {
        self.membership.specs().into_iter().zip(self.membership.states())
    }

    /// All endpoints, also those that may not be picked, in no order.
    pub fn all(&self) -> impl Iterator<Item = &Arc<EndpointState<A>>> {
        self.membership.all()
    }

    /// The endpoints that may be picked.
    pub fn usable(&self) -> impl ExactSizeIterator<Item = &Arc<EndpointState<A>>> {
        (0..self.usable.len()).map(|index| self.usable.get(index))
    }

    /// The priority of the endpoint of that address. Looked for among all.
    pub fn priority_of(&self, address: SocketAddr) -> Option<u32> {
        let value = self.assignment().value.as_ref()?;
        let has = |locality: &&LocalityLbEndpoints| {
            locality.endpoints.iter().any(|endpoint| endpoint.address() == address)
        };
        value.localities.iter().find(has).map(|locality| locality.priority)
    }

    /// What the assignment says of the endpoint of that address.
    pub fn endpoint_at(&self, address: SocketAddr) -> Option<&Endpoint> {
        let mut number = self.membership.number_of(address)? as usize;
        for locality in &self.assignment().value.as_ref()?.localities {
            match locality.endpoints.get(number) {
                Some(endpoint) => return Some(endpoint),
                None => number -= locality.endpoints.len(),
            }
        }
        None
    }

    /// The endpoints that a retry under `policy` should not go to for what is said of them.
    pub fn omitted(&self, policy: &RetryPolicy) -> impl Iterator<Item = SocketAddr> {
        let localities = self.assignment().value.iter().flat_map(|value| &value.localities);
        let omits = |metadata: &Arc<Metadata>| policy.omits(metadata);
        let endpoints = localities.flat_map(|locality| &locality.endpoints);
        endpoints
            .filter(move |endpoint| endpoint.metadata.as_ref().is_some_and(omits))
            .map(|endpoint| endpoint.address())
    }

    /// The priority in use; `None` when no endpoint is usable, or several share the load.
    pub fn priority(&self) -> Option<u32> {
        self.priority
    }

    /// The share of requests of each priority.
    pub fn loads(&self) -> &[PriorityLoad] {
        &self.loads
    }

    /// Whether they are those of a cluster of its own.
    #[cfg(test)]
    pub(crate) fn censuses_is_empty(&self) -> bool {
        self.censuses().is_empty()
    }

    /// Of each priority, when the cluster is part of an aggregate.
    pub(super) fn censuses(&self) -> &[Census] {
        self.rare.as_ref().map_or(&[], |rare| &rare.censuses)
    }

    /// What these tables were built from.
    pub(crate) fn assignment(&self) -> &Entry<ClusterLoadAssignment> {
        &self.membership.assignment
    }

    #[cold]
    pub(crate) fn no_endpoints(&self) -> NoEndpoints {
        NoEndpoints {
            total: self.membership.len(),
            failure: self.membership.assignment.failure.clone(),
            refused: self.rare.as_ref().and_then(|rare| rare.refused),
            subset: false,
            session: false,
        }
    }
}

impl<A: Attach> fmt::Debug for Tables<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tables")
            .field("usable", &self.usable.len())
            .field("all", &self.membership.len())
            .field("loads", &self.loads)
            .finish_non_exhaustive()
    }
}

/// A cluster has no endpoint that may be picked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NoEndpoints {
    /// How many there are that may not be picked.
    pub total: usize,
    /// Why the endpoints are not known, or not as they should be.
    pub failure: Option<Arc<Failure>>,
    /// Why the dialect has no use for the cluster.
    pub refused: Option<&'static str>,
    /// Whether there are some, but none in the subset that the route asks for.
    pub subset: bool,
    /// Whether there are some, but not the one that the request's session is with.
    pub session: bool,
}

impl fmt::Display for NoEndpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.refused, self.total) {
            (Some(why), _) => write!(f, "gRPC does not support this cluster: {why}"),
            (None, 0) => f.write_str("no endpoints"),
            (None, total) if self.session => {
                write!(f, "the endpoint of the session is not among {total}, or not in use")
            }
            (None, total) if self.subset => {
                write!(f, "none of {total} endpoints is of the route's subset and healthy")
            }
            (None, total) => write!(f, "none of {total} endpoints is healthy"),
        }
    }
}

impl std::error::Error for NoEndpoints {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.failure.as_deref().map(|failure| failure as &(dyn std::error::Error + 'static))
    }
}

//! Clusters of clusters: which of them takes a request.
//!
//! Envoy lines up the priorities of all clusters, in their order, as if they were those of one,
//! and shares requests among them as among the priorities of any cluster. gRPC takes the first
//! cluster that has a usable endpoint (gRFC A37, A75). Inside the cluster its own policy picks.
//!
//! Tables of the clusters come and go without the aggregate being told. It keeps their numbers
//! with the shares it made of them, and makes new ones when a number is another.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::priority::{Census, loads};
use super::{ClusterState, Part, PriorityLoad};
use crate::dialect::Dialect;
use crate::draws::Draws;
use crate::snapshot::Attach;

/// The clusters of an aggregate that exist, in order, with what refers to them from outside.
pub(crate) struct Aggregate<A: Attach, I> {
    leaves: Box<[(I, Arc<ClusterState<A>>)]>,
    /// The aggregate's own `healthy_panic_threshold`, in per cent.
    panic_threshold: u32,
    shares: ArcSwap<Shares>,
}

/// A cluster's priority and its share of an aggregate's requests.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeafLoad {
    /// The name of the cluster.
    pub cluster: String,
    /// The priority inside the cluster.
    pub priority: u32,
    /// Its share. Panic is that of the cluster's own, and not told here.
    pub load: PriorityLoad,
}

/// The shares that follow from certain tables.
#[derive(Debug, Default)]
struct Shares {
    /// The tables' numbers.
    numbers: Box<[u64]>,
    /// Who takes each hundredth of the requests, by the position of the cluster; empty when there
    /// are no endpoints at all.
    hundredths: Box<[(u32, Part)]>,
    /// The position of the cluster, the priority, and its share.
    loads: Box<[(u32, u32, PriorityLoad)]>,
}

impl<A: Attach, I: Copy> Aggregate<A, I> {
    pub(crate) fn new(leaves: Vec<(I, Arc<ClusterState<A>>)>, panic_threshold: u32) -> Self {
        Self { leaves: leaves.into(), panic_threshold, shares: ArcSwap::default() }
    }

    /// The clusters.
    pub(crate) fn leaves(&self) -> impl Iterator<Item = &Arc<ClusterState<A>>> {
        self.leaves.iter().map(|(_, state)| state)
    }

    /// The cluster that takes a request, and the part of it when it is not to choose that itself;
    /// `None` when there are no clusters.
    pub(crate) fn choose(&self, dialect: Dialect, random: u64) -> Option<(I, Option<Part>)> {
        let first = self.leaves.first()?.0;
        if dialect == Dialect::Grpc {
            let usable = |(_, state): &&(I, Arc<ClusterState<A>>)| state.has_usable(dialect);
            return Some((self.leaves.iter().find(usable).map_or(first, |(at, _)| *at), None));
        }
        let shares = self.shares();
        if shares.hundredths.is_empty() {
            return Some((first, None));
        }
        let (leaf, part) = shares.hundredths[Draws::new(random).below(shares.hundredths.len())];
        Some((self.leaves[leaf as usize].0, Some(part)))
    }

    /// The share of each priority of each cluster, in HTTP.
    pub(crate) fn loads(&self) -> Vec<LeafLoad> {
        let shares = self.shares();
        let load = |(leaf, priority, load): &(u32, u32, PriorityLoad)| LeafLoad {
            cluster: self.leaves[*leaf as usize].1.name().to_owned(),
            priority: *priority,
            load: *load,
        };
        shares.loads.iter().map(load).collect()
    }

    /// The shares by the tables as they are now.
    fn shares(&self) -> arc_swap::Guard<Arc<Shares>> {
        let shares = self.shares.load();
        let numbers = self.leaves().map(|state| state.number());
        if numbers.eq(shares.numbers.iter().copied()) {
            return shares;
        }
        self.shares.store(Arc::new(self.make()));
        self.shares.load()
    }

    #[cold]
    fn make(&self) -> Shares {
        let mut numbers = Vec::with_capacity(self.leaves.len());
        let mut places = Vec::new();
        let mut censuses: Vec<Census> = Vec::new();
        for (leaf, state) in (0..).zip(self.leaves()) {
            let tables = state.tables();
            numbers.push(tables.number);
            places.extend((0..).take(tables.censuses.len()).map(|priority| (leaf, priority)));
            censuses.extend_from_slice(&tables.censuses);
        }
        let loads = loads(&censuses, self.panic_threshold);
        let mut hundredths = Vec::new();
        for degraded in [false, true] {
            for ((leaf, priority), load) in places.iter().zip(&loads) {
                let count = if degraded { load.degraded } else { load.healthy };
                let part = Part { priority: *priority, degraded };
                hundredths.extend(std::iter::repeat_n((*leaf, part), count as usize));
            }
        }
        let loads = places.iter().zip(loads).map(|((leaf, at), load)| (*leaf, *at, load));
        let loads = loads.collect();
        Shares { numbers: numbers.into(), hundredths: hundredths.into(), loads }
    }
}

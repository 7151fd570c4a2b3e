//! Clusters of clusters: which of them takes a request.
//!
//! Envoy lines up the priorities of all clusters, in their order, as if they were those of one,
//! and shares requests among them as among the priorities of any cluster. gRPC takes the first
//! cluster that has a usable endpoint (gRFC A37, A75). Inside the cluster its own policy picks.
//!
//! Tables of the clusters come and go without the aggregate being told. All of the process count
//! their changes together; only when that count is another does an aggregate look at the numbers
//! of its clusters' tables, and only when one of those is another does it make new shares.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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
    /// The count of changes for which the shares are known to be right.
    checked: AtomicU64,
}

/// How often tables of clusters that are part of an aggregate have changed, and 1.
static CHANGES: AtomicU64 = AtomicU64::new(1);

/// Counts that such tables have changed.
pub(super) fn changed() {
    // Release, with the Acquire where it is read: who sees the count sees the tables.
    CHANGES.fetch_add(1, Ordering::Release);
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
    /// The tables' numbers, in HTTP and in gRPC.
    numbers: Box<[[u64; 2]]>,
    /// The first cluster that gRPC may use; the first of all when there is none.
    first_usable: u32,
    /// Who takes each hundredth of the requests, by the position of the cluster; empty when there
    /// are no endpoints at all.
    hundredths: Box<[(u32, Part)]>,
    /// The position of the cluster, the priority, and its share.
    loads: Box<[(u32, u32, PriorityLoad)]>,
}

impl<A: Attach, I: Copy> Aggregate<A, I> {
    pub(crate) fn new(leaves: Vec<(I, Arc<ClusterState<A>>)>, panic_threshold: u32) -> Self {
        let (shares, checked) = Default::default();
        Self { leaves: leaves.into(), panic_threshold, shares, checked }
    }

    /// The clusters.
    pub(crate) fn leaves(&self) -> impl Iterator<Item = &Arc<ClusterState<A>>> {
        self.leaves.iter().map(|(_, state)| state)
    }

    /// The cluster that takes a request, and the part of it when it is not to choose that itself;
    /// `None` when there are no clusters.
    pub(crate) fn choose(&self, dialect: Dialect, random: u64) -> Option<(I, Option<Part>)> {
        let first = self.leaves.first()?.0;
        let shares = self.shares();
        if dialect == Dialect::Grpc {
            return Some((self.leaves[shares.first_usable as usize].0, None));
        }
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
        // Before the tables are looked at: what changes after this is seen next time.
        let changes = CHANGES.load(Ordering::Acquire);
        if self.checked.load(Ordering::Acquire) != changes {
            self.check();
            self.checked.store(changes, Ordering::Release);
        }
        self.shares.load()
    }

    #[cold]
    fn check(&self) {
        let numbers = self.leaves().map(|state| state.numbers());
        if !numbers.eq(self.shares.load().numbers.iter().copied()) {
            self.shares.store(Arc::new(self.make()));
        }
    }

    fn make(&self) -> Shares {
        let mut numbers = Vec::with_capacity(self.leaves.len());
        let mut places = Vec::new();
        let mut censuses: Vec<Census> = Vec::new();
        for (leaf, state) in (0..).zip(self.leaves()) {
            // Numbers first: of tables that change just now the shares are made again.
            numbers.push(state.numbers());
            let tables = state.tables();
            places.extend((0..).take(tables.censuses().len()).map(|priority| (leaf, priority)));
            censuses.extend_from_slice(tables.censuses());
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
        let mut usable = (0..).zip(self.leaves()).filter(|(_, it)| it.has_usable(Dialect::Grpc));
        let first_usable = usable.next().map_or(0, |(leaf, _)| leaf);
        Shares { numbers: numbers.into(), first_usable, hundredths: hundredths.into(), loads }
    }
}

//! Aggregate clusters: the clusters they stand for, found by name.

use std::collections::HashSet;
use std::sync::Arc;

use foldhash::fast::FixedState;

use super::slots::Slots;
use super::{Attach, ClusterIndex, ClusterSlot, Snapshot};
use crate::cluster::{Aggregate, ClusterState, LeafLoad, Part};
use crate::dialect::Dialect;
use crate::finding::{Finding, ResourceId, ResourceType};
use crate::resource::{Cluster, Discovery, Name, Resources};

/// The aggregates of a Snapshot, in the order of their positions.
pub(super) type Aggregates<A> = Box<[(u32, Aggregate<A, ClusterIndex>)]>;

/// gRFC A37: an aggregate may have others among its clusters, this many levels of them.
pub(crate) const DEPTH_LIMIT: usize = 16;

/// How many clusters stand for an aggregate at most. Each is looked at by every request, and many
/// aggregates may share them; real ones have a handful. A guess.
const LEAVES_LIMIT: usize = 256;

impl<A: Attach> Snapshot<A> {
    /// The cluster that takes a request in place of an aggregate, and the part of it that is to be
    /// picked from ([`Choice::part`](crate::cluster::Choice::part)); `cluster` itself when it is no
    /// aggregate, or one of which no cluster exists.
    ///
    /// It is drawn anew for each attempt.
    #[inline]
    pub fn leaf(
        &self,
        cluster: ClusterIndex,
        dialect: Dialect,
        random: u64,
    ) -> (ClusterIndex, Option<Part>) {
        match self.cluster(cluster) {
            Some(state) if state.is_aggregate() => self.leaf_of(cluster, dialect, random),
            _ => (cluster, None),
        }
    }

    /// The same by the name of the cluster; `None` when there is none of that name.
    pub fn leaf_named(
        &self,
        name: &str,
        dialect: Dialect,
        random: u64,
    ) -> Option<(&Arc<ClusterState<A>>, Option<Part>)> {
        let (leaf, part) = self.leaf(ClusterIndex(self.clusters.find(name)?), dialect, random);
        Some((self.cluster(leaf)?, part))
    }

    #[cold]
    fn leaf_of(
        &self,
        cluster: ClusterIndex,
        dialect: Dialect,
        random: u64,
    ) -> (ClusterIndex, Option<Part>) {
        let chosen = self.aggregate(cluster).and_then(|it| it.choose(dialect, random));
        chosen.unwrap_or((cluster, None))
    }

    /// The shares of an aggregate's clusters by priority, in HTTP; empty for other clusters.
    pub fn leaf_loads(&self, cluster: ClusterIndex) -> Vec<LeafLoad> {
        self.aggregate(cluster).map(Aggregate::loads).unwrap_or_default()
    }

    /// The clusters that stand for an aggregate, in order; empty for other clusters.
    pub fn leaves(&self, cluster: ClusterIndex) -> impl Iterator<Item = &Arc<ClusterState<A>>> {
        self.aggregate(cluster).into_iter().flat_map(Aggregate::leaves)
    }

    fn aggregate(&self, cluster: ClusterIndex) -> Option<&Aggregate<A, ClusterIndex>> {
        let at = self.aggregates.binary_search_by_key(&cluster.0, |(at, _)| *at).ok()?;
        Some(&self.aggregates[at].1)
    }
}

/// Finds the clusters of all aggregates, and has those clusters prepare for it.
pub(super) fn link<A: Attach>(
    resources: &Resources,
    clusters: &Slots<ClusterSlot<A>>,
    replaced: &mut Vec<Arc<crate::cluster::Tables<A>>>,
) -> Aggregates<A> {
    let mut linked = HashSet::with_hasher(FixedState::default());
    let mut made = Vec::new();
    for (at, slot) in clusters.iter() {
        let Some(state) = slot.state.as_ref().filter(|state| state.is_aggregate()) else {
            continue;
        };
        let found = |name: Name| {
            let index = clusters.find(&name)?;
            Some((ClusterIndex(index), clusters.get(index)?.state.clone()?))
        };
        let leaves = Leaves::of(resources, state.spec());
        let leaves: Vec<_> = leaves.names.into_iter().filter_map(found).collect();
        linked.extend(leaves.iter().map(|(index, _)| index.0));
        let panic_threshold = state.spec().balancing.healthy_panic_threshold;
        made.push((at, Aggregate::new(leaves, panic_threshold)));
    }
    for (at, slot) in clusters.iter() {
        if let Some(state) = &slot.state {
            replaced.extend(state.set_in_aggregate(linked.contains(&at)));
        }
    }
    made.into()
}

/// What is not there of the clusters of all aggregates.
pub(super) fn findings(resources: &Resources) -> impl Iterator<Item = Finding> {
    let specs = resources.clusters().filter_map(|(_, entry)| entry.value.as_ref());
    specs.flat_map(|spec| Leaves::of(resources, spec).findings)
}

/// The clusters that stand for an aggregate.
#[derive(Default)]
struct Leaves {
    names: Vec<Name>,
    findings: Vec<Finding>,
    seen: HashSet<Name, FixedState>,
    too_deep: bool,
    too_many: bool,
}

impl Leaves {
    /// Of a cluster that occurs twice, the first place counts (gRFC A37); one that is among its
    /// own clusters adds nothing.
    fn of(resources: &Resources, aggregate: &Cluster) -> Self {
        let mut found = Self::default();
        found.seen.insert(aggregate.name.clone());
        let id = ResourceId::new(ResourceType::Cluster, aggregate.name.clone());
        found.add(resources, aggregate, 1, &id);
        if found.too_deep {
            found.names.clear();
            let text = format!("clusters of clusters go deeper than {DEPTH_LIMIT} levels");
            found.findings = vec![Finding::new(id, FIELD, text)];
        } else if found.too_many {
            let text = format!("only the first {LEAVES_LIMIT} clusters are used");
            found.findings.push(Finding::new(id, FIELD, text));
        }
        found
    }

    fn add(&mut self, resources: &Resources, parent: &Cluster, depth: usize, id: &ResourceId) {
        let Discovery::Aggregate { clusters } = &parent.discovery else { return };
        for (at, name) in clusters.iter().enumerate() {
            if depth >= DEPTH_LIMIT {
                self.too_deep = true;
                return;
            }
            if self.names.len() >= LEAVES_LIMIT {
                self.too_many = true;
                return;
            }
            if !self.seen.insert(name.clone()) {
                continue;
            }
            let entry = resources.clusters.get(name).and_then(|entry| entry.value.as_ref());
            match entry {
                Some(spec) if matches!(spec.discovery, Discovery::Aggregate { .. }) => {
                    self.add(resources, spec, depth + 1, id);
                }
                Some(_) => self.names.push(name.clone()),
                // Only where it is named, not in every aggregate above that.
                None if *parent.name == *id.name => {
                    let text = format!("cluster {name:?} does not exist and is skipped");
                    let field = format!("{FIELD}.clusters[{at}]");
                    self.findings.push(Finding::new(id.clone(), field, text));
                }
                None => {}
            }
        }
    }
}

const FIELD: &str = "cluster_type.typed_config";

//! What is counted for load reports to a control plane (LRS): requests by cluster and locality,
//! and requests that were dropped.
//!
//! Counted are the clusters that ask for it ([`LoadReporting`]), and no other: theirs is a list
//! beside the endpoints of where each belongs, and a [`CountedRequest`] for each attempt. What is
//! counted outlives the [`ClusterState`]s it is counted for, and clusters that are gone, until it
//! has been [taken](LoadStats::take).

mod locality;
mod places;
#[cfg(test)]
mod tests;

pub use locality::{CountedRequest, LoadMetric, LocalityLoad};
pub(super) use places::Reporting;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{ClusterState, EndpointState};
use crate::resource::{Locality, Name};
use crate::snapshot::Attach;
use locality::Counters;

/// All counts of a mesh.
#[derive(Debug, Default)]
pub struct LoadStats {
    clusters: Mutex<Clusters>,
}

#[derive(Debug, Default)]
struct Clusters {
    /// By the name of the cluster and that of its endpoints, which is empty where it is the same.
    by_name: BTreeMap<(Name, Name), Arc<Counts>>,
    /// With how many those that are gone are looked for next.
    enough: usize,
}

/// With so many clusters, those that are gone are forgotten, told or not: a server that never asks
/// shall not have them pile up.
const KEPT_CLUSTERS: usize = 4096;

/// The same of a cluster's localities, of which a region has a few.
const KEPT_LOCALITIES: usize = 256;

/// What was counted of a cluster since it was last taken.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ClusterLoad {
    /// The cluster.
    pub cluster: Name,
    /// The name its endpoints go by in EDS; empty where that is the cluster's, or there is none.
    pub service: Name,
    /// Localities that had requests.
    pub localities: Vec<LocalityLoad>,
    /// Requests that were dropped, all of them: also for a limit of the circuit breakers.
    pub dropped: u64,
    /// Those of `drop_overloads`, by category.
    pub dropped_by_category: BTreeMap<Name, u64>,
}

/// The counts of one cluster.
#[derive(Debug, Default)]
struct Counts {
    localities: Mutex<Vec<Arc<Counters>>>,
    drops: Mutex<Drops>,
}

#[derive(Debug, Default)]
struct Drops {
    total: u64,
    by_category: BTreeMap<Name, u64>,
}

impl LoadStats {
    /// Takes what was counted since the last time, of the clusters that `wants` says. Clusters and
    /// localities without any are left out, and forgotten where they are gone.
    pub fn take(&self, mut wants: impl FnMut(&str) -> bool) -> Vec<ClusterLoad> {
        let mut taken = Vec::new();
        locked(&self.clusters).by_name.retain(|(cluster, service), counts| {
            if !wants(cluster) {
                return true;
            }
            let load = counts.take(cluster, service);
            let is_empty = load.localities.is_empty() && load.dropped == 0;
            // Whoever counts holds on to it.
            let is_gone = is_empty && Arc::strong_count(counts) == 1;
            if !is_empty {
                taken.push(load);
            }
            !is_gone
        });
        taken
    }

    fn cluster(&self, cluster: &Name, service: Name) -> Arc<Counts> {
        let mut clusters = locked(&self.clusters);
        if clusters.by_name.len() >= clusters.enough.max(KEPT_CLUSTERS) {
            clusters.by_name.retain(|_, counts| Arc::strong_count(counts) > 1);
            clusters.enough = 2 * clusters.by_name.len();
        }
        clusters.by_name.entry((cluster.clone(), service)).or_default().clone()
    }
}

impl Counts {
    fn take(&self, cluster: &Name, service: &Name) -> ClusterLoad {
        let mut localities = Vec::new();
        locked(&self.localities).retain(|counters| {
            let load = counters.take();
            let is_gone = load.is_none() && Arc::strong_count(counters) == 1;
            localities.extend(load);
            !is_gone
        });
        let Drops { total, by_category } = std::mem::take(&mut *locked(&self.drops));
        ClusterLoad {
            cluster: cluster.clone(),
            service: service.clone(),
            localities,
            dropped: total,
            dropped_by_category: by_category,
        }
    }

    fn locality(&self, locality: &Locality, priority: u32) -> Arc<Counters> {
        let mut known = locked(&self.localities);
        let found = known.iter().find(|counters| counters.is_of(locality, priority));
        if let Some(found) = found {
            return found.clone();
        }
        if known.len() >= KEPT_LOCALITIES {
            known.retain(|counters| Arc::strong_count(counters) > 1);
        }
        let made = Arc::new(Counters::new(locality.clone(), priority));
        known.push(made.clone());
        made
    }
}

impl<A: Attach> ClusterState<A> {
    /// Whether requests are to be [counted](Self::count) for load reports.
    #[inline]
    pub fn reports_load(&self) -> bool {
        self.reporting.is_some()
    }

    /// Counts an attempt that is sent to one of its endpoints, until the count is dropped. `None`
    /// where load is not reported.
    pub fn count(&self, endpoint: &EndpointState<A>) -> Option<CountedRequest> {
        self.reporting.as_deref()?.count(endpoint.address())
    }

    /// Counts a request that was dropped: by a category of `drop_overloads`, or for a limit of the
    /// circuit breakers.
    pub fn count_drop(&self, category: Option<&Name>) {
        let Some(reporting) = &self.reporting else { return };
        let mut drops = locked(&reporting.counts.drops);
        drops.total += 1;
        if let Some(category) = category {
            *drops.by_category.entry(category.clone()).or_default() += 1;
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

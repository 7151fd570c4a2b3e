use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use foldhash::fast::FixedState;

use super::EndpointState;
use crate::finding::Failure;
use crate::resource::{Cluster, ClusterLoadAssignment, Endpoint, Entry, HealthStatus};
use crate::snapshot::Attach;

/// The endpoints of a cluster at one moment, ready to be picked from.
pub struct Tables<A: Attach> {
    /// Those that may be picked: the usable ones of the highest priority that has any.
    pub(super) usable: Box<[Arc<EndpointState<A>>]>,
    all: HashMap<SocketAddr, Arc<EndpointState<A>>, FixedState>,
    assignment: Entry<ClusterLoadAssignment>,
    priority: Option<u32>,
}

impl<A: Attach> Tables<A> {
    /// The tables of `assignment`. Endpoints known to `previous` keep their state.
    pub(crate) fn build(
        cluster: &Cluster,
        assignment: Entry<ClusterLoadAssignment>,
        previous: Option<&Self>,
        attach: &A,
    ) -> Self {
        let mut all: HashMap<SocketAddr, Arc<EndpointState<A>>, FixedState> = HashMap::default();
        let mut ranked = Vec::new();
        let localities = assignment.value.iter().flat_map(|value| &value.localities);
        for locality in localities {
            for spec in &locality.endpoints {
                let known = previous.and_then(|previous| previous.all.get(&spec.address));
                // Looked for here too: decoding refuses an address that occurs twice, code can
                // still name one, and it is one endpoint all the same.
                let state = all.entry(spec.address).or_insert_with(|| {
                    let make = || EndpointState::new(spec, attach.endpoint(cluster, spec));
                    known.cloned().unwrap_or_else(|| Arc::new(make()))
                });
                let state = state.clone();
                if let Some(rank) = rank(spec, locality.priority) {
                    ranked.push((rank, state));
                }
            }
        }
        let best = ranked.iter().map(|(rank, _)| *rank).min();
        let usable = ranked.into_iter().filter(|(rank, _)| Some(*rank) == best);
        let usable = usable.map(|(_, state)| state).collect();
        Self { usable, all, assignment, priority: best.map(|(_, priority)| priority) }
    }

    /// All endpoints, also those that may not be picked, in no order.
    pub fn all(&self) -> impl Iterator<Item = &Arc<EndpointState<A>>> {
        self.all.values()
    }

    /// The endpoints that may be picked.
    pub fn usable(&self) -> &[Arc<EndpointState<A>>] {
        &self.usable
    }

    /// The priority in use; `None` when no endpoint is usable.
    pub fn priority(&self) -> Option<u32> {
        self.priority
    }

    /// What these tables were built from.
    pub(crate) fn assignment(&self) -> &Entry<ClusterLoadAssignment> {
        &self.assignment
    }

    #[cold]
    pub(crate) fn no_endpoints(&self) -> NoEndpoints {
        NoEndpoints { total: self.all.len(), failure: self.assignment.failure.clone() }
    }
}

/// Where an endpoint stands: degraded ones come after all healthy ones of any priority, and what
/// is unhealthy or leaving is never used.
fn rank(spec: &Endpoint, priority: u32) -> Option<(bool, u32)> {
    match spec.health {
        HealthStatus::Unknown | HealthStatus::Healthy => Some((false, priority)),
        HealthStatus::Degraded => Some((true, priority)),
        HealthStatus::Unhealthy | HealthStatus::Draining | HealthStatus::Timeout => None,
    }
}

impl<A: Attach> fmt::Debug for Tables<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tables")
            .field("usable", &self.usable.len())
            .field("all", &self.all.len())
            .field("priority", &self.priority)
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
}

impl fmt::Display for NoEndpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.total {
            0 => f.write_str("no endpoints"),
            total => write!(f, "none of {total} endpoints is healthy"),
        }
    }
}

impl std::error::Error for NoEndpoints {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.failure.as_deref().map(|failure| failure as &(dyn std::error::Error + 'static))
    }
}

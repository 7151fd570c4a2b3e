use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use foldhash::fast::FixedState;

use super::EndpointState;
use super::plain::Plain;
use super::subsets::Grouping;
use crate::resource::{
    Cluster, ClusterLoadAssignment, Endpoint, Entry, HealthStatus, LocalityLbEndpoints,
};
use crate::snapshot::Attach;

/// The endpoints of an assignment with their state, shared by the tables of both dialects.
pub(super) struct Membership<A: Attach> {
    pub(super) assignment: Entry<ClusterLoadAssignment>,
    /// One for each endpoint of the assignment, in its order.
    pub(super) states: Arc<[Arc<EndpointState<A>>]>,
    /// What the assignment says of each, in the same order. Apart from the rest, so that tables
    /// of many endpoints are made in the time it takes to read this.
    pub(super) slots: Box<[Slot]>,
    /// Whether all are of one locality and one weight.
    pub(super) uniform: bool,
    /// When all are of one priority and one locality.
    pub(super) plain: Option<Plain>,
    /// Which are of which subset, where the cluster has any.
    pub(super) grouping: Option<Arc<Grouping>>,
    all: HashMap<SocketAddr, Arc<EndpointState<A>>, FixedState>,
}

/// What decides about an endpoint.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) priority: u32,
    /// The number of its locality.
    pub(super) locality: u32,
    pub(super) weight: u32,
    pub(super) health: HealthStatus,
}

impl<A: Attach> Membership<A> {
    /// The endpoints of `assignment`. Those known to `previous` keep their state.
    pub(super) fn new(
        cluster: &Cluster,
        assignment: Entry<ClusterLoadAssignment>,
        previous: Option<&Self>,
        attach: &A,
    ) -> Self {
        let localities = assignment.value.iter().flat_map(|value| &value.localities);
        let count: usize = localities.clone().map(|locality| locality.endpoints.len()).sum();
        let mut all: HashMap<SocketAddr, Arc<EndpointState<A>>, FixedState> =
            HashMap::with_capacity_and_hasher(count, FixedState::default());
        let mut states = Vec::with_capacity(count);
        let mut slots = Vec::with_capacity(count);
        for (number, locality) in (0..).zip(localities) {
            for spec in &locality.endpoints {
                let known = previous.and_then(|previous| previous.all.get(&spec.address));
                // Looked for here too: decoding refuses an address that occurs twice, code can
                // still name one, and it is one endpoint all the same.
                let state = all.entry(spec.address).or_insert_with(|| {
                    let make = || {
                        let made = EndpointState::new(spec, attach.endpoint(cluster, spec));
                        // One that joins others is not used until it was checked, as in Envoy. The
                        // first ones are: there is nobody else.
                        made.set_failing(previous.is_some() && cluster.health_check.is_some());
                        made
                    };
                    known.cloned().unwrap_or_else(|| Arc::new(make()))
                });
                states.push(state.clone());
                let (weight, health) = (spec.weight, spec.health);
                slots.push(Slot { priority: locality.priority, locality: number, weight, health });
            }
        }
        let alike = |a: &Slot, b: &Slot| a.locality == b.locality && a.weight == b.weight;
        let uniform = slots.first().is_some_and(|a| slots.iter().all(|b| alike(a, b)));
        let plain = Plain::of(&slots);
        let grouping = cluster.balancing.subsets.as_ref().map(|spec| {
            let localities = assignment.value.iter().flat_map(|value| &value.localities);
            let specs = localities.flat_map(|locality| &locality.endpoints);
            Arc::new(Grouping::new(spec, specs))
        });
        let (states, slots) = (states.into(), slots.into());
        Self { assignment, states, slots, uniform, plain, grouping, all }
    }

    /// A locality by its number.
    pub(super) fn locality(&self, number: u32) -> Option<&LocalityLbEndpoints> {
        self.assignment.value.as_ref()?.localities.get(number as usize)
    }

    /// The specifications of the endpoints, in the order of their states.
    pub(super) fn specs(&self) -> Vec<&Endpoint> {
        let localities = self.assignment.value.iter().flat_map(|value| &value.localities);
        localities.flat_map(|locality| &locality.endpoints).collect()
    }

    pub(super) fn states(&self) -> std::slice::Iter<'_, Arc<EndpointState<A>>> {
        self.states.iter()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<EndpointState<A>>> {
        self.all.values()
    }

    /// Whether some requests are to be dropped.
    pub(super) fn drops(&self) -> bool {
        self.assignment.value.as_ref().is_some_and(|value| !value.drop_overloads.is_empty())
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }
}

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use foldhash::fast::FixedState;

use super::EndpointState;
use super::hashing::xx_hash;
use super::home::Home;
use super::loads::{Dense, Loads, MANY};
use super::plain::Plain;
use super::slots::{Slot, Slots};
use super::subsets::Grouping;
use crate::resource::{Cluster, ClusterLoadAssignment, Endpoint, Entry, LocalityLbEndpoints};
use crate::snapshot::Attach;

/// The endpoints of an assignment with their state, shared by the tables of both dialects.
pub(super) struct Membership<A: Attach> {
    pub(super) assignment: Entry<ClusterLoadAssignment>,
    /// As it was given, where a client uses only some of those endpoints.
    whole: Option<Box<Entry<ClusterLoadAssignment>>>,
    /// One for each endpoint of the assignment, in its order.
    pub(super) states: Arc<[Arc<EndpointState<A>>]>,
    /// What the assignment says of each, in the same order. Apart from the rest, so that tables
    /// of many endpoints are made in the time it takes to read this.
    pub(super) slots: Slots,
    /// Whether all are of one locality and one weight.
    pub(super) uniform: bool,
    /// When all are of one priority and one locality.
    pub(super) plain: Option<Plain>,
    /// Which are of which subset, where the cluster has any.
    pub(super) grouping: Option<Arc<Grouping>>,
    /// The caller's own cluster, where zones are looked at.
    pub(super) home: Option<Arc<Home>>,
    /// Where loads are, when there are many.
    pub(super) dense: Option<Arc<Dense>>,
    /// By address; `None` when they are few enough to be looked through.
    all: Option<Arc<ByAddress<A>>>,
    /// The number of each address, made when it is first asked for: by requests with sessions.
    numbers: OnceLock<HashMap<SocketAddr, u32, FixedState>>,
}

type ByAddress<A> = HashMap<SocketAddr, Arc<EndpointState<A>>, FixedState>;

/// So many endpoints are looked through: in most clusters there are no more, and the map would take
/// as much room for each as half of its state. Finding all of them again takes some microseconds.
const FEW: usize = 32;

/// Whether the address alone does not tell how an endpoint is reached.
fn has_other_ways(endpoint: &Endpoint) -> bool {
    !endpoint.additional_addresses().is_empty() || endpoint.pipe().is_some()
}

/// What does not change with the weights.
type Shared<A> = (
    Arc<[Arc<EndpointState<A>>]>,
    Option<Arc<Grouping>>,
    Option<Arc<Home>>,
    Option<Arc<ByAddress<A>>>,
    Option<Arc<Dense>>,
);

impl<A: Attach> Membership<A> {
    /// The endpoints of `assignment`. Those known to `previous` keep their state.
    pub(super) fn new(
        cluster: &Cluster,
        (assignment, home): (Entry<ClusterLoadAssignment>, Option<Arc<Home>>),
        previous: Option<&Self>,
        attach: &A,
    ) -> Self {
        let (assignment, whole) = match (&assignment.value, cluster.balancing.subset_size) {
            (Some(all), Some(size)) => {
                let value = Some(Arc::new(some_of(all, size as usize, attach.seed())));
                let some = Entry { value, failure: assignment.failure.clone() };
                (some, Some(Box::new(assignment)))
            }
            _ => (assignment, None),
        };
        let localities = assignment.value.iter().flat_map(|value| &value.localities);
        let count: usize = localities.clone().map(|locality| locality.endpoints.len()).sum();
        let with_room = || HashMap::with_capacity_and_hasher(count, FixedState::default());
        let mut all: Option<ByAddress<A>> = (count > FEW).then(with_room);
        let mut states: Vec<Arc<EndpointState<A>>> = Vec::with_capacity(count);
        let mut slots = Vec::with_capacity(count);
        let kept = previous.and_then(|previous| previous.dense.as_ref());
        let loads = (count > MANY)
            .then(|| kept.map_or_else(|| Arc::new(Loads::new(count)), |kept| kept.loads.clone()));
        let is_asked = cluster.uses_tls() || previous.is_some_and(Self::has_other_ways);
        for (number, locality) in (0..).zip(localities) {
            for spec in &locality.endpoints {
                let known = previous.and_then(|previous| previous.find(spec.address()));
                let serves = |known: &&Arc<EndpointState<A>>| {
                    let is_asked = is_asked || has_other_ways(spec);
                    !is_asked || attach.serves(known.attached(), cluster, spec)
                };
                let known = known.filter(serves);
                // Looked for here too: decoding refuses an address that occurs twice, code can
                // still name one, and it is one endpoint all the same.
                let make = || {
                    let make = || {
                        let attached = attach.endpoint(cluster, spec);
                        let made = EndpointState::new(spec, attached, loads.as_ref());
                        // One that joins others is not used until it was checked, as in Envoy. The
                        // first ones are: there is nobody else.
                        made.set_failing(previous.is_some() && cluster.health_check.is_some());
                        made
                    };
                    known.cloned().unwrap_or_else(|| Arc::new(make()))
                };
                let state = match &mut all {
                    Some(all) => all.entry(spec.address()).or_insert_with(make).clone(),
                    None => find(&states, spec.address()).cloned().unwrap_or_else(make),
                };
                let weight = match cluster.balancing.client_weights {
                    None => spec.weight,
                    Some(_) => state.given_weight(),
                };
                states.push(state);
                let health = spec.health;
                slots.push(Slot { priority: locality.priority, locality: number, weight, health });
            }
        }
        let grouping = cluster.balancing.subsets.as_ref().map(|spec| {
            let localities = assignment.value.iter().flat_map(|value| &value.localities);
            let specs = localities.flat_map(|locality| &locality.endpoints);
            Arc::new(Grouping::new(spec, specs))
        });
        let dense = loads
            .map(|loads| Arc::new(Dense::of(&loads, states.iter().map(|state| state.counted()))));
        let shared = (states.into(), grouping, home, all.map(Arc::new), dense);
        Self::of(assignment, whole, slots.into(), shared)
    }

    fn of(
        assignment: Entry<ClusterLoadAssignment>,
        whole: Option<Box<Entry<ClusterLoadAssignment>>>,
        slots: Slots,
        (states, grouping, home, all, dense): Shared<A>,
    ) -> Self {
        let alike = |a: &Slot, b: &Slot| a.locality == b.locality && a.weight == b.weight;
        let uniform = match &slots {
            Slots::Alike(..) => true,
            Slots::Each(slots) => slots.first().is_some_and(|a| slots.iter().all(|b| alike(a, b))),
        };
        let plain = Plain::of(&slots);
        Self {
            assignment,
            whole,
            states,
            slots,
            uniform,
            plain,
            grouping,
            home,
            all,
            dense,
            numbers: OnceLock::new(),
        }
    }

    /// The same with those weights; `None` when they are those it has.
    pub(super) fn reweighted(&self, weights: &[u32]) -> Option<Self> {
        if self.slots.iter().map(|slot| slot.weight).eq(weights.iter().copied()) {
            return None;
        }
        let slots = self.slots.iter().zip(weights);
        let slots = slots.map(|(slot, weight)| Slot { weight: *weight, ..*slot });
        let slots = slots.collect::<Vec<_>>().into();
        let (states, all) = (self.states.clone(), self.all.clone());
        let dense = self.dense.clone();
        let shared = (states, self.grouping.clone(), self.home.clone(), all, dense);
        let (assignment, whole) = (self.assignment.clone(), self.whole.clone());
        Some(Self::of(assignment, whole, slots, shared))
    }

    /// The assignment as it was given.
    pub(super) fn given(&self) -> &Entry<ClusterLoadAssignment> {
        self.whole.as_deref().unwrap_or(&self.assignment)
    }

    /// The number of the endpoint of that address.
    pub(super) fn number_of(&self, address: SocketAddr) -> Option<u32> {
        let make = || (0..).zip(self.states()).map(|(n, one)| (one.address(), n)).collect();
        self.numbers.get_or_init(make).get(&address).copied()
    }

    /// A locality by its number.
    pub(super) fn locality(&self, number: u32) -> Option<&LocalityLbEndpoints> {
        self.assignment.value.as_ref()?.localities.get(number as usize)
    }

    /// Whether some endpoint is reached by more than its address.
    fn has_other_ways(&self) -> bool {
        let localities = self.assignment.value.iter().flat_map(|value| &value.localities);
        localities.flat_map(|locality| &locality.endpoints).any(has_other_ways)
    }

    /// The specifications of the endpoints, in the order of their states.
    pub(super) fn specs(&self) -> Vec<&Endpoint> {
        let localities = self.assignment.value.iter().flat_map(|value| &value.localities);
        localities.flat_map(|locality| &locality.endpoints).collect()
    }

    pub(super) fn states(&self) -> std::slice::Iter<'_, Arc<EndpointState<A>>> {
        self.states.iter()
    }

    /// Each once.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<EndpointState<A>>> {
        let few = if self.all.is_none() { &*self.states } else { &[] };
        let is_first = move |(at, state): &(usize, &Arc<EndpointState<A>>)| {
            !few[..*at].iter().any(|earlier| Arc::ptr_eq(earlier, state))
        };
        let few = few.iter().enumerate().filter(is_first).map(|(_, state)| state);
        self.all.iter().flat_map(|all| all.values()).chain(few)
    }

    fn find(&self, address: SocketAddr) -> Option<&Arc<EndpointState<A>>> {
        match &self.all {
            Some(all) => all.get(&address),
            None => find(&self.states, address),
        }
    }

    /// Whether some requests are to be dropped.
    pub(super) fn drops(&self) -> bool {
        self.assignment.value.as_ref().is_some_and(|value| !value.drop_overloads.is_empty())
    }

    pub(super) fn len(&self) -> usize {
        self.all.as_ref().map_or_else(|| self.all().count(), |all| all.len())
    }
}

fn find<A: Attach>(
    states: &[Arc<EndpointState<A>>],
    address: SocketAddr,
) -> Option<&Arc<EndpointState<A>>> {
    states.iter().find(|state| state.address() == address)
}

/// The endpoints whose addresses have the least hashes by the client's seed (gRFC A68): each client
/// takes others, and a change of the list changes few of them.
fn some_of(all: &ClusterLoadAssignment, size: usize, seed: u64) -> ClusterLoadAssignment {
    let rank = |endpoint: &Endpoint| {
        (xx_hash(endpoint.address().to_string().as_bytes(), seed), endpoint.address())
    };
    let endpoints = all.localities.iter().flat_map(|locality| &locality.endpoints);
    let mut ranks: Vec<_> = endpoints.map(rank).collect();
    let mut made = all.clone();
    if ranks.len() > size {
        ranks.sort_unstable();
        let last = ranks.get(size);
        for locality in &mut made.localities {
            locality.endpoints.retain(|endpoint| last.is_none_or(|last| rank(endpoint) < *last));
        }
    }
    made
}

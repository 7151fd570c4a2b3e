//! From a cluster and its endpoints to who is picked how: pure, and apart from the tables, which
//! hold references.

use std::collections::HashMap;
use std::sync::Arc;

use super::{EndpointState, PriorityLoad};
use super::alias::Alias;
use super::levels::{Bounded, Group, Level, Levels, Pick, Picker, Policy, Weighted};
use super::maglev::Maglev;
use super::membership::{Membership, Slot};
use super::priority::{Census, loads};
use super::ring::{Hashed, Ring};
use super::tables::Way;
use crate::dialect::Dialect;
use crate::resource::{Cluster, HealthStatus, LbPolicy, LocalityBalancing, RingHash};
use crate::snapshot::Attach;

/// What tables are made of: endpoints by number.
pub(super) struct Plan {
    pub(super) usable: Vec<u32>,
    pub(super) way: Way,
    pub(super) loads: Vec<PriorityLoad>,
    pub(super) priority: Option<u32>,
    pub(super) refused: Option<&'static str>,
    /// Whether gRPC would come to the very same.
    pub(super) suits_grpc: bool,
}

/// An endpoint, as it is just now.
#[derive(Clone, Copy)]
struct Host {
    number: u32,
    slot: Slot,
    class: Class,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Healthy,
    Degraded,
    Sick,
    /// Sick, and not counted: it leaves by itself.
    Leaving,
}

/// What a plan is made from.
struct Input<'i, A: Attach> {
    cluster: &'i Cluster,
    membership: &'i Membership<A>,
    /// By priority, inside a priority in the order of configuration, which rings depend on.
    hosts: Vec<Host>,
    /// Whether outlier detection of both dialects says the same.
    agreed: bool,
}

/// Makes the plan of a cluster for one dialect.
pub(super) fn plan<A: Attach>(
    cluster: &Cluster,
    membership: &Membership<A>,
    dialect: Dialect,
) -> Plan {
    if let Some(plan) = plain(cluster, membership, dialect) {
        return plan;
    }
    let mut agreed = true;
    let states = membership.states().zip(&membership.slots);
    let host = |(number, (state, slot)): (u32, (&Arc<EndpointState<A>>, &Slot))| {
        let [http, grpc] = state.ejected();
        agreed &= http == grpc;
        let ejected = if dialect == Dialect::Http { http } else { grpc };
        Host { number, slot: *slot, class: class(slot.health, ejected) }
    };
    let mut hosts: Vec<Host> = (0..).zip(states).map(host).collect();
    if !hosts.is_sorted_by_key(|host| host.slot.priority) {
        hosts.sort_by_key(|host| host.slot.priority);
    }
    let input = Input { cluster, membership, hosts, agreed };
    match dialect {
        Dialect::Http => input.http(),
        Dialect::Grpc => input.grpc(),
    }
}

/// The plan of the usual case, where all endpoints are alike and enough of them are healthy: what
/// the long way comes to, in one pass that writes little.
fn plain<A: Attach>(
    cluster: &Cluster,
    membership: &Membership<A>,
    dialect: Dialect,
) -> Option<Plan> {
    let balancing = &cluster.balancing;
    let limit = if dialect == Dialect::Grpc { GRPC_CHOICES } else { u32::MAX };
    let (way, choices) = match cluster.lb_policy {
        LbPolicy::RoundRobin => (Way::RoundRobin, 0),
        LbPolicy::LeastRequest { choice_count } => {
            (Way::LeastRequest(choice_count.min(limit)), choice_count)
        }
        _ => return None,
    };
    let first = membership.slots.first()?;
    let weight = membership.locality(first.locality)?.weight.unwrap_or(0);
    let suits_grpc = weight > 0 && balancing.refused_by_grpc.is_none();
    let is_special = balancing.slow_start.is_some() || !membership.uniform;
    let priority = first.priority as usize;
    if is_special || priority >= MAX_PRIORITIES || (dialect == Dialect::Grpc && !suits_grpc) {
        return None;
    }
    let assignment = membership.assignment.value.as_deref()?;
    let by_weight = assignment.weighted_priority_health;
    let mut census = Census::empty(assignment.overprovisioning_factor, by_weight);
    let mut usable = Vec::with_capacity(membership.slots.len());
    let mut agreed = true;
    for (number, (state, slot)) in (0..).zip(membership.states().zip(&membership.slots)) {
        let [http, grpc] = state.ejected();
        agreed &= http == grpc;
        let class = class(slot.health, if dialect == Dialect::Http { http } else { grpc });
        census.add(&Host { number, slot: *slot, class });
        if class == Class::Healthy {
            usable.push(number);
        }
    }
    let others = assignment.localities.iter().map(|locality| locality.priority as usize + 1);
    let count = others.max().unwrap_or(1).min(MAX_PRIORITIES);
    let mut loads = match dialect {
        Dialect::Http => {
            let mut censuses = vec![Census::empty(census.overprovisioning_factor, false); count];
            censuses[priority] = census;
            loads(&censuses, balancing.healthy_panic_threshold)
        }
        Dialect::Grpc => vec![PriorityLoad::default(); priority + 1],
    };
    if dialect == Dialect::Grpc {
        loads[priority].healthy = 100;
    }
    let load = loads[priority];
    if usable.is_empty() || load.healthy < 100 || load.panic {
        return None;
    }
    let suits_grpc = suits_grpc && agreed && choices <= GRPC_CHOICES;
    Some(Plan { usable, way, loads, priority: Some(first.priority), refused: None, suits_grpc })
}

fn class(health: HealthStatus, ejected: bool) -> Class {
    match health {
        HealthStatus::Draining => Class::Leaving,
        _ if ejected => Class::Sick,
        HealthStatus::Unknown | HealthStatus::Healthy => Class::Healthy,
        HealthStatus::Degraded => Class::Degraded,
        HealthStatus::Unhealthy | HealthStatus::Timeout => Class::Sick,
    }
}

fn by_priority(hosts: &[Host]) -> impl Iterator<Item = &[Host]> {
    hosts.chunk_by(|a, b| a.slot.priority == b.slot.priority)
}

impl<A: Attach> Input<'_, A> {
    /// The weight of a host's locality.
    fn locality_weight(&self, host: &Host) -> u32 {
        self.membership.locality(host.slot.locality).and_then(|at| at.weight).unwrap_or(0)
    }

    /// The plan by Envoy's rules.
    fn http(&self) -> Plan {
        let assignment = self.membership.assignment.value.as_deref();
        let factor = assignment.map_or(DEFAULT_FACTOR, |value| value.overprovisioning_factor);
        let by_weight = assignment.is_some_and(|value| value.weighted_priority_health);
        // A priority of empty localities counts as one that has no endpoint.
        let localities = assignment.iter().flat_map(|value| &value.localities);
        let count = localities.map(|locality| locality.priority as usize + 1).max().unwrap_or(0);
        let mut censuses = vec![Census::empty(factor, by_weight); count.min(MAX_PRIORITIES)];
        for host in &self.hosts {
            if let Some(census) = censuses.get_mut(host.slot.priority as usize) {
                census.add(host);
            }
        }
        let balancing = &self.cluster.balancing;
        let loads = loads(&censuses, balancing.healthy_panic_threshold);
        let mut draft = Draft::new(self, factor);
        for hosts in by_priority(&self.hosts) {
            let priority = hosts[0].slot.priority;
            let Some(load) = loads.get(priority as usize) else { continue };
            let fails = load.panic && balancing.fail_traffic_on_panic;
            let healthy = |host: &Host| !fails && (load.panic || host.class == Class::Healthy);
            draft.level(hosts, load.healthy, load.panic, healthy);
            // Hashing policies know no degraded endpoints: the healthy ones take that load.
            let hashes = draft.policy.pick == Pick::Hash;
            let class = if hashes { Class::Healthy } else { Class::Degraded };
            draft.level(hosts, load.degraded, false, |host| host.class == class);
        }
        let mut plan = draft.finish(loads);
        plan.suits_grpc = self.suits_grpc(&plan);
        plan
    }

    /// Whether a plan by Envoy's rules is what gRPC's rules come to.
    fn suits_grpc(&self, plan: &Plan) -> bool {
        let plain = match plan.way {
            Way::RoundRobin => true,
            Way::LeastRequest(choices) => choices <= GRPC_CHOICES,
            Way::Levels(_) => false,
        };
        let degraded = plan.loads.iter().any(|load| load.degraded > 0 || load.panic);
        let weight = self.hosts.first().map_or(1, |host| self.locality_weight(host));
        let uniform = self.hosts.is_empty() || self.membership.uniform;
        let refused = self.cluster.balancing.refused_by_grpc.is_some();
        plain && uniform && self.agreed && weight > 0 && !degraded && !refused
    }

    /// The plan by gRPC's rules: the first priority that has a usable endpoint (gRFC A27, A56).
    fn grpc(&self) -> Plan {
        let refused = self.cluster.balancing.refused_by_grpc;
        let usable =
            |host: &&Host| host.class == Class::Healthy && self.locality_weight(host) > 0;
        let hosts: Vec<Host> = self.hosts.iter().filter(usable).copied().collect();
        let mut draft = Draft::new(self, DEFAULT_FACTOR).in_grpc();
        let mut loads = Vec::new();
        if let (Some(hosts), None) = (by_priority(&hosts).next(), refused) {
            let priority = hosts[0].slot.priority as usize;
            if priority < MAX_PRIORITIES {
                loads.resize(priority + 1, PriorityLoad::default());
                loads[priority].healthy = 100;
            }
            draft.level(hosts, 100, false, |_| true);
        }
        Plan { refused, ..draft.finish(loads) }
    }
}

impl Census {
    fn empty(overprovisioning_factor: u32, by_weight: bool) -> Self {
        Self { overprovisioning_factor, by_weight, ..Self::default() }
    }

    fn add(&mut self, host: &Host) {
        let weight = u64::from(host.slot.weight);
        self.hosts += 1;
        self.weight.hosts += weight;
        match host.class {
            Class::Healthy => {
                self.healthy += 1;
                self.weight.healthy += weight;
            }
            Class::Degraded => {
                self.degraded += 1;
                self.weight.degraded += weight;
            }
            Class::Leaving => {
                self.excluded += 1;
                self.weight.excluded += weight;
            }
            Class::Sick => {}
        }
    }
}

/// A plan while it grows.
struct Draft<'i, A: Attach> {
    input: &'i Input<'i, A>,
    cluster: &'i Cluster,
    policy: Policy,
    /// Whether localities have weights.
    by_locality: bool,
    /// Whether endpoints have weights.
    by_weight: bool,
    ring_cap: u64,
    factor: u32,
    usable: Vec<u32>,
    levels: Vec<Level>,
    hundredths: Vec<u8>,
}

impl<'i, A: Attach> Draft<'i, A> {
    fn new(input: &'i Input<'i, A>, factor: u32) -> Self {
        let cluster = input.cluster;
        let pick = match cluster.lb_policy {
            LbPolicy::RoundRobin => Pick::RoundRobin,
            LbPolicy::LeastRequest { choice_count } => Pick::LeastRequest(choice_count),
            LbPolicy::FullScan => Pick::FullScan,
            LbPolicy::Random => Pick::Random,
            LbPolicy::RingHash(_) | LbPolicy::Maglev(_) => Pick::Hash,
            LbPolicy::PickFirst { shuffle_address_list } => {
                Pick::First { shuffled: shuffle_address_list }
            }
        };
        let balancing = &cluster.balancing;
        let slow_start = match pick {
            Pick::RoundRobin | Pick::LeastRequest(_) => balancing.slow_start,
            _ => None,
        };
        Self {
            input,
            cluster,
            policy: Policy { pick, slow_start, bias: balancing.active_request_bias },
            by_locality: balancing.locality == LocalityBalancing::Weighted,
            by_weight: !matches!(pick, Pick::Random | Pick::First { .. }),
            ring_cap: u64::MAX,
            factor,
            usable: Vec::new(),
            levels: Vec::new(),
            hundredths: Vec::new(),
        }
    }

    /// As gRPC does it: weights of endpoints count in rings alone, `choice_count` is capped (gRFC
    /// A48), rings are small (A42), no slow start.
    fn in_grpc(mut self) -> Self {
        self.policy.pick = match self.policy.pick {
            Pick::LeastRequest(choices) => Pick::LeastRequest(choices.min(GRPC_CHOICES)),
            Pick::FullScan => Pick::LeastRequest(2),
            pick => pick,
        };
        self.policy.slow_start = None;
        let hashes = self.policy.pick == Pick::Hash;
        self.by_weight = hashes;
        self.by_locality = hashes || self.cluster.balancing.wrr_locality;
        self.ring_cap = GRPC_RING_SIZE;
        self
    }

    /// A level that takes `load` hundredths of all requests, of those endpoints that belong.
    fn level(
        &mut self,
        hosts: &[Host],
        load: u32,
        panic: bool,
        belongs: impl Fn(&Host) -> bool,
    ) {
        if load == 0 {
            return;
        }
        let list: Vec<Host> = hosts.iter().filter(|host| belongs(host)).copied().collect();
        let (groups, weights) = if self.policy.pick == Pick::Hash {
            (vec![self.hashed(hosts, &list)], None)
        } else if self.by_locality && !panic {
            self.localities(hosts, &list)
        } else {
            (vec![self.group(&list)], None)
        };
        let number = self.levels.len() as u8;
        self.hundredths.extend(std::iter::repeat_n(number, load as usize));
        let priority = hosts[0].slot.priority;
        let weights = weights.map(Arc::new);
        self.levels.push(Level { priority, panic, groups: groups.into(), weights });
    }

    /// A group for each locality that has a weight; one for all when none has.
    fn localities(
        &mut self,
        all: &[Host],
        list: &[Host],
    ) -> (Vec<Group>, Option<Alias>) {
        let counts = |part: &[Host]| {
            let counted = part.iter().filter(|host| host.class != Class::Leaving).count();
            (part[0].slot.locality, counted)
        };
        let counts: HashMap<_, _> = self.input.by_locality(all).into_iter().map(counts).collect();
        let parts = self.input.by_locality(list);
        let weight = |part: &&[Host]| {
            let total = counts.get(&part[0].slot.locality).copied();
            self.effective_weight(part, total.unwrap_or(0))
        };
        let weights: Vec<f64> = parts.iter().map(weight).collect();
        let Some(alias) = Alias::new(&weights) else { return (vec![self.group(list)], None) };
        let groups: Vec<Group> = parts.iter().map(|part| self.group(part)).collect();
        let alias = if groups.len() > 1 { Some(alias) } else { None };
        (groups, alias)
    }

    /// A locality's weight, less when more of its endpoints are out than overprovisioning covers.
    fn effective_weight(&self, part: &[Host], total: usize) -> f64 {
        let available = f64::from(self.factor) / 100.0 * (part.len() as f64 / total as f64);
        f64::from(self.input.locality_weight(&part[0])) * available.min(1.0)
    }

    fn group(&mut self, list: &[Host]) -> Group {
        let start = self.usable.len() as u32;
        self.usable.extend(list.iter().map(|host| host.number));
        let differ = list.iter().any(|host| host.slot.weight != list[0].slot.weight);
        let mut picker = Picker::Even;
        if self.by_weight && differ {
            let weights: Box<[u32]> = list.iter().map(|host| host.slot.weight).collect();
            let exact: Vec<f64> = weights.iter().map(|weight| f64::from(*weight)).collect();
            let weighted = Alias::new(&exact).map(|alias| Weighted { alias, weights });
            picker = weighted.map_or(Picker::Even, |made| Picker::Weighted(Arc::new(made)));
        }
        Group { start, length: list.len() as u32, picker }
    }

    fn hashed(&mut self, all: &[Host], list: &[Host]) -> Group {
        let has_weights = all.iter().any(|host| self.input.locality_weight(host) > 0);
        let mut list = list.to_vec();
        let weights = if self.by_locality && has_weights {
            list.retain(|host| self.input.locality_weight(host) > 0);
            list = self.input.by_locality(&list).concat();
            self.input.normalize_localities(all, &list)
        } else {
            normalize(&list, 1.0)
        };
        let start = self.usable.len() as u32;
        self.usable.extend(list.iter().map(|host| host.number));
        let length = list.len() as u32;
        if list.is_empty() {
            return Group { start, length, picker: Picker::Even };
        }
        let hashing = match &self.cluster.lb_policy {
            LbPolicy::RingHash(ring) => ring.hashing,
            LbPolicy::Maglev(maglev) => maglev.hashing,
            _ => Default::default(),
        };
        let specs = self.input.membership.specs();
        let key = |host: &Host| {
            let spec = specs[host.number as usize];
            match &spec.hash_key {
                Some(key) if !key.is_empty() => key.to_string(),
                _ if hashing.use_hostname_for_hashing => spec.hostname.to_string(),
                _ => spec.address.to_string(),
            }
        };
        let keys: Vec<String> = list.iter().map(key).collect();
        let hosts: Vec<Hashed<'_>> =
            keys.iter().zip(&weights).map(|(key, weight)| Hashed { key, weight: *weight }).collect();
        let bounded = Bounded { factor: hashing.hash_balance_factor, weights: weights.into() };
        let picker = match &self.cluster.lb_policy {
            LbPolicy::Maglev(maglev) => {
                Picker::Maglev(Arc::new(Maglev::new(&hosts, maglev.table_size)), bounded)
            }
            LbPolicy::RingHash(ring) => {
                Picker::Ring(Arc::new(Ring::new(&hosts, &self.capped(ring))), bounded)
            }
            _ => Picker::Even,
        };
        Group { start, length, picker }
    }

    fn capped(&self, ring: &RingHash) -> RingHash {
        RingHash {
            minimum_ring_size: ring.minimum_ring_size.min(self.ring_cap),
            maximum_ring_size: ring.maximum_ring_size.min(self.ring_cap),
            ..*ring
        }
    }

    fn finish(self, loads: Vec<PriorityLoad>) -> Plan {
        let mut levels = self.levels;
        let plain = match levels.as_slice() {
            [] => true,
            [level] => {
                matches!(&*level.groups, [Group { picker: Picker::Even, .. }])
                    && !level.panic
                    && self.policy.slow_start.is_none()
            }
            _ => false,
        };
        let priority = match levels.as_slice() {
            [level] if !self.usable.is_empty() => Some(level.priority),
            _ => None,
        };
        let way = match self.policy.pick {
            Pick::RoundRobin if plain => Way::RoundRobin,
            Pick::LeastRequest(choices) if plain => Way::LeastRequest(choices),
            _ if levels.is_empty() => Way::RoundRobin,
            _ => {
                let mut hundredths = Box::new([0; 100]);
                for (place, level) in hundredths.iter_mut().zip(&self.hundredths) {
                    *place = *level;
                }
                let levels = std::mem::take(&mut levels).into();
                Way::Levels(Box::new(Levels { policy: self.policy, levels, hundredths }))
            }
        };
        let suits_grpc = false;
        Plan { usable: self.usable, way, loads, priority, refused: None, suits_grpc }
    }
}

impl<A: Attach> Input<'_, A> {
    /// The endpoints of each locality, in the order of the localities' names, whatever the order
    /// of configuration.
    fn by_locality<'h>(&self, hosts: &'h [Host]) -> Vec<&'h [Host]> {
        let mut parts: Vec<_> =
            hosts.chunk_by(|a, b| a.slot.locality == b.slot.locality).collect();
        let name = |part: &[Host]| {
            let locality = self.membership.locality(part[0].slot.locality);
            locality.map(|at| &at.locality).map(|at| (&*at.region, &*at.zone, &*at.sub_zone))
        };
        parts.sort_by(|a, b| name(a).cmp(&name(b)));
        parts
    }

    /// Each endpoint's part of all with weights of localities. A locality whose endpoints are all
    /// out keeps its share to itself: the others do not get more, as in Envoy.
    fn normalize_localities(&self, all: &[Host], list: &[Host]) -> Vec<f64> {
        let weight = |part: &[Host]| self.locality_weight(&part[0]);
        let sum: u64 = self.by_locality(all).iter().map(|part| u64::from(weight(part))).sum();
        let parts = list.chunk_by(|a, b| a.slot.locality == b.slot.locality);
        parts.flat_map(|part| normalize(part, f64::from(weight(part)) / sum as f64)).collect()
    }
}

/// Each endpoint's part of a share. The order of the operations is Envoy's: the last bit of a
/// result decides whether a ring gets another entry.
fn normalize(list: &[Host], share: f64) -> Vec<f64> {
    let sum: u64 = list.iter().map(|host| u64::from(host.slot.weight)).sum();
    list.iter().map(|host| f64::from(host.slot.weight) * share / sum as f64).collect()
}

/// Envoy's `overprovisioning_factor` when unset, in per cent.
const DEFAULT_FACTOR: u32 = 140;

/// Envoy's limit: priorities go from 0 to 128.
const MAX_PRIORITIES: usize = 129;

/// gRFC A48: more choices are not made.
const GRPC_CHOICES: u32 = 10;

/// gRFC A42: the largest ring, whatever is asked for.
const GRPC_RING_SIZE: u64 = 4096;

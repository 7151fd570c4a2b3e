//! A plan while it grows: levels, groups, and what picks from each.

use std::collections::HashMap;
use std::sync::Arc;

use super::PriorityLoad;
use super::alias::Alias;
use super::bounded::Bounded;
use super::home::{Healthy, Zoned};
use super::levels::{Group, Level, Levels, Pick, Picker, Policy, Weighted};
use super::maglev::Maglev;
use super::plan::{Class, GRPC_CHOICES, Host, Input, Plan};
use super::ring::{Hashed, Ring};
use super::tables::Way;
use crate::resource::{Cluster, LbPolicy, LocalityBalancing, RingHash};
use crate::snapshot::Attach;

/// A plan while it grows.
pub(super) struct Draft<'i, A: Attach> {
    input: &'i Input<'i, A>,
    cluster: &'i Cluster,
    pub(super) policy: Policy,
    /// Whether localities have weights.
    by_locality: bool,
    /// Whether endpoints have weights.
    by_weight: bool,
    ring_cap: u64,
    factor: u32,
    /// Whether priorities without a share get a level, because an aggregate may give them one.
    complete: bool,
    usable: Vec<u32>,
    levels: Vec<Level>,
    hundredths: Vec<u16>,
}

impl<'i, A: Attach> Draft<'i, A> {
    pub(super) fn new(input: &'i Input<'i, A>, factor: u32) -> Self {
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
            complete: false,
            usable: Vec::new(),
            levels: Vec::new(),
            hundredths: Vec::new(),
        }
    }

    /// As gRPC does it: weights of endpoints count in rings alone, `choice_count` is capped (gRFC
    /// A48), rings are small (A42), no slow start.
    pub(super) fn in_grpc(mut self) -> Self {
        self.policy.pick = match self.policy.pick {
            Pick::LeastRequest(choices) => Pick::LeastRequest(choices.min(GRPC_CHOICES)),
            Pick::FullScan => Pick::LeastRequest(2),
            pick => pick,
        };
        self.policy.slow_start = None;
        let hashes = self.policy.pick == Pick::Hash;
        self.by_weight = hashes || self.cluster.balancing.client_weights.is_some();
        self.by_locality = hashes || self.cluster.balancing.wrr_locality;
        self.ring_cap = GRPC_RING_SIZE;
        self
    }

    /// With a level for each part of the cluster that an aggregate may choose.
    pub(super) fn complete(mut self, complete: bool) -> Self {
        self.complete = complete;
        self
    }

    /// A level that takes `load` hundredths of all requests, of those endpoints that belong.
    pub(super) fn level(
        &mut self,
        hosts: &[Host],
        load: u32,
        (degraded, panic): (bool, bool),
        belongs: impl Fn(&Host) -> bool,
    ) {
        if load == 0 && !self.complete {
            return;
        }
        let list: Vec<Host> = hosts.iter().filter(|host| belongs(host)).copied().collect();
        let zoned = if panic { Zoned::Not } else { self.zoned(hosts) };
        let (groups, weights) = if self.policy.pick == Pick::Hash {
            (vec![self.hashed(hosts, &list)], None)
        } else if zoned != Zoned::Not {
            self.zones(hosts, &list, zoned)
        } else if self.by_locality && !panic {
            self.localities(hosts, &list)
        } else {
            (vec![self.group(&list)], None)
        };
        let number = self.levels.len() as u16;
        self.hundredths.extend(std::iter::repeat_n(number, load as usize));
        let priority = hosts[0].slot.priority;
        let weights = weights.map(Arc::new);
        let groups = groups.into();
        self.levels.push(Level { priority, degraded, panic, groups, weights });
    }

    /// A group for each locality that has a weight; one for all when none has.
    fn localities(&mut self, all: &[Host], list: &[Host]) -> (Vec<Group>, Option<Alias>) {
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

    /// Where the requests of those endpoints' priority go, if zones are looked at.
    fn zoned(&self, all: &[Host]) -> Zoned {
        let LocalityBalancing::ZoneAware(config) = &self.cluster.balancing.locality else {
            return Zoned::Not;
        };
        let (Some(home), 0) = (&self.input.membership.home, all[0].slot.priority) else {
            return Zoned::Not;
        };
        let by_locality = self.input.by_locality(all);
        let healthy = |part: &&[Host]| {
            let mut healthy = Healthy::default();
            let hosts = part.iter().filter(|host| host.class == Class::Healthy);
            hosts.for_each(|host| healthy.add(host.slot.weight));
            Some((&*self.input.membership.locality(part[0].slot.locality)?.locality, healthy))
        };
        let upstream: Vec<_> = by_locality.iter().filter_map(healthy).collect();
        home.zoned(config, self.cluster.balancing.healthy_panic_threshold, &upstream)
    }

    /// A group for each locality with its share of the requests whose zone is looked at, and one
    /// for all the others.
    fn zones(&mut self, all: &[Host], list: &[Host], zoned: Zoned) -> (Vec<Group>, Option<Alias>) {
        let enabled = match &self.cluster.balancing.locality {
            LocalityBalancing::ZoneAware(config) => f64::from(config.routing_enabled) / 100.0,
            _ => 0.0,
        };
        let mut weights = vec![1.0 - enabled];
        let mut groups = vec![self.group(list)];
        if let Zoned::By(shares) = zoned {
            let total: f64 = shares.iter().sum();
            for (part, share) in self.input.by_locality(all).into_iter().zip(shares) {
                let number = part[0].slot.locality;
                let inside: Vec<Host> =
                    list.iter().filter(|host| host.slot.locality == number).copied().collect();
                // Degraded endpoints need not be where the healthy ones are; then any will do.
                if inside.is_empty() {
                    weights[0] += enabled * share / total;
                } else {
                    groups.push(self.group(&inside));
                    weights.push(enabled * share / total);
                }
            }
        } else {
            let start = self.usable.len() as u32;
            groups.push(Group { start, length: 0, picker: Picker::Even });
            weights.push(enabled);
        }
        let alias = Alias::new(&weights);
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
            picker = weighted.map_or(Picker::Even, |made| Picker::Weighted(Arc::new(made), None));
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
            match spec.hash_key() {
                Some(key) if !key.is_empty() => key.to_string(),
                _ if hashing.use_hostname_for_hashing => spec.hostname().to_string(),
                _ => match spec.pipe() {
                    Some(path) => path.to_string(),
                    None => spec.address().to_string(),
                },
            }
        };
        let keys: Vec<String> = list.iter().map(key).collect();
        let hosts: Vec<Hashed<'_>> = keys
            .iter()
            .zip(&weights)
            .map(|(key, weight)| Hashed { key, weight: *weight })
            .collect();
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

    /// Goes on behind endpoints that are listed already, and minds localities as far as its
    /// subsets do.
    pub(super) fn in_subset(mut self, usable: Vec<u32>, locality_weight_aware: bool) -> Self {
        self.usable = usable;
        self.by_locality &= locality_weight_aware;
        self
    }

    /// The levels, and the endpoints that they and those before refer to.
    pub(super) fn into_levels(mut self) -> (Levels, Vec<u32>) {
        self.sort_hundredths();
        let turns = Some(Arc::default());
        let levels = Levels { turns, ..self.levels() };
        (levels, self.usable)
    }

    // As Envoy counts: what a hash leads to depends on the order.
    fn sort_hundredths(&mut self) {
        let levels = &self.levels;
        self.hundredths.sort_by_key(|number| levels[usize::from(*number)].degraded);
    }

    fn levels(&mut self) -> Levels {
        let mut hundredths = Box::new([0; 100]);
        for (place, level) in hundredths.iter_mut().zip(&self.hundredths) {
            *place = *level;
        }
        let levels = std::mem::take(&mut self.levels).into();
        Levels { policy: self.policy, levels, hundredths, turns: None }
    }

    pub(super) fn finish(mut self, loads: Vec<PriorityLoad>) -> Plan {
        let plain = match self.levels.as_slice() {
            [] => true,
            [level] if !self.complete => {
                matches!(&*level.groups, [Group { picker: Picker::Even, .. }])
                    && !level.panic
                    && self.policy.slow_start.is_none()
            }
            _ => false,
        };
        self.sort_hundredths();
        // Equal ones are neighbours.
        let mut shared = self.hundredths.chunk_by(|a, b| a == b);
        let priority = match (shared.next(), shared.next()) {
            (Some(only), None) if !self.usable.is_empty() => {
                Some(self.levels[usize::from(only[0])].priority)
            }
            _ => None,
        };
        let way = match self.policy.pick {
            Pick::RoundRobin if plain => Way::RoundRobin,
            Pick::LeastRequest(choices) if plain => Way::LeastRequest(choices),
            _ if self.levels.is_empty() => Way::RoundRobin,
            _ => Way::Levels(Box::new(self.levels())),
        };
        let suits_grpc = false;
        let censuses = Vec::new();
        let visible = self.usable.len();
        Plan {
            usable: self.usable,
            visible,
            way,
            loads,
            censuses,
            priority,
            refused: None,
            suits_grpc,
        }
    }
}

impl<A: Attach> Input<'_, A> {
    /// The endpoints of each locality, in the order of the localities' names, whatever the order
    /// of configuration.
    fn by_locality<'h>(&self, hosts: &'h [Host]) -> Vec<&'h [Host]> {
        let mut parts: Vec<_> = hosts.chunk_by(|a, b| a.slot.locality == b.slot.locality).collect();
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

/// gRFC A42: the largest ring, whatever is asked for.
const GRPC_RING_SIZE: u64 = 4096;

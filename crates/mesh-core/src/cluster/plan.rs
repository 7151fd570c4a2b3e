//! From a cluster and its endpoints to who is picked how: pure, and apart from the tables, which
//! hold references.

use std::sync::Arc;

use super::PriorityLoad;
use super::draft::Draft;
use super::levels::{Levels, Pick};
use super::membership::Membership;
use super::plain::plain;
use super::priority::{Census, loads};
use super::resilient::Outs;
use super::slots::Slot;
use super::subsets::{Grouping, SubsetTables};
use super::tables::Way;
use crate::dialect::Dialect;
use crate::resource::{Cluster, HealthStatus, Subsets};
use crate::snapshot::Attach;

/// What tables are made of: endpoints by number.
pub(super) struct Plan {
    pub(super) usable: Vec<u32>,
    /// How many of them are told of; what follows are the lists of weighted groups.
    pub(super) visible: usize,
    pub(super) way: Way,
    pub(super) loads: Vec<PriorityLoad>,
    /// What an aggregate computes shares from; only of clusters that are part of one.
    pub(super) censuses: Vec<Census>,
    pub(super) priority: Option<u32>,
    pub(super) refused: Option<&'static str>,
    /// Whether gRPC would come to the very same.
    pub(super) suits_grpc: bool,
}

/// An endpoint, as it is just now.
#[derive(Clone, Copy)]
pub(super) struct Host {
    pub(super) number: u32,
    pub(super) slot: Slot,
    pub(super) class: Class,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Healthy,
    Degraded,
    Sick,
    /// Sick, and not counted: it leaves by itself.
    Leaving,
}

/// What a plan is made from.
pub(super) struct Input<'i, A: Attach> {
    pub(super) cluster: &'i Cluster,
    pub(super) membership: &'i Membership<A>,
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
    [http, grpc]: &Outs,
    in_aggregate: bool,
) -> Plan {
    let agreed = http == grpc;
    let out = if dialect == Dialect::Http { http } else { grpc };
    if !in_aggregate && let Some(plan) = plain(cluster, membership, dialect, out, agreed) {
        return plan;
    }
    let hosts = hosts(membership, out);
    let input = Input { cluster, membership, hosts, agreed };
    match dialect {
        Dialect::Http => input.http(in_aggregate),
        Dialect::Grpc => input.grpc(),
    }
}

/// The endpoints by priority; `out` are the numbers of those that are ejected, in order.
fn hosts<A: Attach>(membership: &Membership<A>, out: &[u32]) -> Vec<Host> {
    let mut next = out.iter().copied().peekable();
    let host = |(number, slot): (u32, &Slot)| {
        let ejected = next.next_if_eq(&number).is_some();
        Host { number, slot: *slot, class: class(slot.health, ejected) }
    };
    let mut hosts: Vec<Host> = (0..).zip(membership.slots.iter()).map(host).collect();
    if !hosts.is_sorted_by_key(|host| host.slot.priority) {
        hosts.sort_by_key(|host| host.slot.priority);
    }
    hosts
}

/// The endpoints by priority, and what is known of each priority.
pub(super) fn survey<A: Attach>(
    cluster: &Cluster,
    membership: &Membership<A>,
    out: &[u32],
) -> (Vec<Host>, Vec<Census>) {
    let input = Input { cluster, membership, hosts: hosts(membership, out), agreed: true };
    let (censuses, _) = input.shares(&input.hosts);
    (input.hosts, censuses)
}

pub(super) fn class(health: HealthStatus, ejected: bool) -> Class {
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
    pub(super) fn locality_weight(&self, host: &Host) -> u32 {
        self.membership.locality(host.slot.locality).and_then(|at| at.weight).unwrap_or(0)
    }

    /// The plan by Envoy's rules.
    fn http(&self, in_aggregate: bool) -> Plan {
        let (censuses, loads) = self.shares(&self.hosts);
        let balancing = &self.cluster.balancing;
        let mut plan = match (&balancing.subsets, &self.membership.grouping) {
            (Some(spec), Some(grouping)) => self.parted(spec, grouping, in_aggregate, loads),
            _ => {
                let draft = Draft::new(self, self.factor()).complete(in_aggregate);
                let mut plan = self.filled(draft, &self.hosts, &loads).finish(loads);
                plan.suits_grpc = self.suits_grpc(&plan);
                plan
            }
        };
        if in_aggregate {
            plan.censuses = censuses;
        }
        plan
    }

    fn factor(&self) -> u32 {
        let assignment = self.membership.assignment.value.as_deref();
        assignment.map_or(DEFAULT_FACTOR, |value| value.overprovisioning_factor)
    }

    /// What is known of each priority of those endpoints, and its share of their requests.
    fn shares(&self, hosts: &[Host]) -> (Vec<Census>, Vec<PriorityLoad>) {
        let assignment = self.membership.assignment.value.as_deref();
        let by_weight = assignment.is_some_and(|value| value.weighted_priority_health);
        // A priority of empty localities counts as one that has no endpoint.
        let localities = assignment.iter().flat_map(|value| &value.localities);
        let count = localities.map(|locality| locality.priority as usize + 1).max().unwrap_or(0);
        let empty = Census::empty(self.factor(), by_weight);
        let mut censuses = vec![empty; count.min(MAX_PRIORITIES)];
        for host in hosts {
            if let Some(census) = censuses.get_mut(host.slot.priority as usize) {
                census.add(host);
            }
        }
        let loads = loads(&censuses, self.cluster.balancing.healthy_panic_threshold);
        (censuses, loads)
    }

    /// The draft with the levels of those endpoints.
    fn filled<'i>(
        &'i self,
        mut draft: Draft<'i, A>,
        hosts: &[Host],
        loads: &[PriorityLoad],
    ) -> Draft<'i, A> {
        for hosts in by_priority(hosts) {
            let priority = hosts[0].slot.priority;
            let Some(load) = loads.get(priority as usize) else { continue };
            let fails = load.panic && self.cluster.balancing.fail_traffic_on_panic;
            let healthy = |host: &Host| !fails && (load.panic || host.class == Class::Healthy);
            draft.level(hosts, load.healthy, (false, load.panic), healthy);
            // Hashing policies know no degraded endpoints: the healthy ones take that load.
            let hashes = draft.policy.pick == Pick::Hash;
            let class = if hashes { Class::Healthy } else { Class::Degraded };
            draft.level(hosts, load.degraded, (true, false), |host| host.class == class);
        }
        draft
    }

    /// The levels of each subset, whose endpoints come one list after the other, behind all of
    /// them.
    fn parted(
        &self,
        spec: &Arc<Subsets>,
        grouping: &Arc<Grouping>,
        in_aggregate: bool,
        loads: Vec<PriorityLoad>,
    ) -> Plan {
        let mut by_number = self.hosts.clone();
        by_number.sort_unstable_by_key(|host| host.number);
        let mut usable = Vec::new();
        let of = |usable: &mut Vec<u32>, members: &[u32]| {
            let mut hosts: Vec<Host> =
                members.iter().map(|number| by_number[*number as usize]).collect();
            hosts.sort_by_key(|host| host.slot.priority);
            let draft = Draft::new(self, self.factor()).complete(in_aggregate);
            let draft = draft.in_subset(std::mem::take(usable), spec.locality_weight_aware);
            let (_, loads) = self.shares(&hosts);
            let levels;
            (levels, *usable) = self.filled(draft, &hosts, &loads).into_levels();
            levels
        };
        let all: Vec<u32> = (0..self.hosts.len() as u32).collect();
        let any = of(&mut usable, &all);
        let visible = usable.len();
        let default = of(&mut usable, &grouping.default);
        let mut levels = Vec::with_capacity(grouping.subsets.len());
        for subset in &grouping.subsets {
            levels.push(match (subset.is_single, subset.members.first()) {
                (true, Some(first)) => {
                    let policy = Draft::new(self, DEFAULT_FACTOR).policy;
                    let priority = by_number[*first as usize].slot.priority;
                    usable.push(*first);
                    Levels::of_alone(policy, priority, usable.len() as u32 - 1)
                }
                _ => of(&mut usable, &subset.members),
            });
        }
        let (spec, grouping, levels) = (spec.clone(), grouping.clone(), levels.into());
        let way = Way::Subsets(Box::new(SubsetTables { spec, grouping, levels, any, default }));
        let (censuses, priority, refused, suits_grpc) = (Vec::new(), None, None, false);
        Plan { usable, visible, way, loads, censuses, priority, refused, suits_grpc }
    }

    /// Whether a plan by Envoy's rules is what gRPC's rules come to.
    fn suits_grpc(&self, plan: &Plan) -> bool {
        let plain = match plan.way {
            Way::RoundRobin => true,
            Way::LeastRequest(choices) => choices <= GRPC_CHOICES,
            Way::Levels(_) | Way::Subsets(_) => false,
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
        let usable = |host: &&Host| host.class == Class::Healthy && self.locality_weight(host) > 0;
        let hosts: Vec<Host> = self.hosts.iter().filter(usable).copied().collect();
        let mut draft = Draft::new(self, DEFAULT_FACTOR).in_grpc();
        let mut loads = Vec::new();
        if let (Some(hosts), None) = (by_priority(&hosts).next(), refused) {
            let priority = hosts[0].slot.priority as usize;
            if priority < MAX_PRIORITIES {
                loads.resize(priority + 1, PriorityLoad::default());
                loads[priority].healthy = 100;
            }
            draft.level(hosts, 100, (false, false), |_| true);
        }
        Plan { refused, ..draft.finish(loads) }
    }
}

impl Census {
    pub(super) fn empty(overprovisioning_factor: u32, by_weight: bool) -> Self {
        Self { overprovisioning_factor, by_weight, ..Self::default() }
    }

    pub(super) fn add(&mut self, host: &Host) {
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

/// Envoy's `overprovisioning_factor` when unset, in per cent.
const DEFAULT_FACTOR: u32 = 140;

/// Envoy's limit: priorities go from 0 to 128.
pub(super) const MAX_PRIORITIES: usize = 129;

/// gRFC A48: more choices are not made.
pub(super) const GRPC_CHOICES: u32 = 10;

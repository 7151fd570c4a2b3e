//! The usual case, where all endpoints are of one priority and one locality, and enough of them
//! are healthy: what the long way comes to, in little more than the time it takes to copy a list.

use std::sync::{Arc, OnceLock};

use super::PriorityLoad;
use super::alias::Alias;
use super::levels::{Group, Level, Levels, Pick, Picker, Policy, Weighted};
use super::membership::Membership;
use super::plan::{Class, GRPC_CHOICES, Host, MAX_PRIORITIES, Plan, class};
use super::priority::{Census, loads};
use super::skipped::Skipped;
use super::slots::{Slot, Slots};
use super::tables::Way;
use crate::dialect::Dialect;
use crate::resource::{Cluster, LbPolicy};
use crate::snapshot::Attach;

/// What is the same of endpoints of one priority and locality, whoever is ejected.
#[derive(Debug)]
pub(super) struct Plain {
    first: Slot,
    /// Of all, as if none were ejected.
    census: Census,
    /// The numbers of the healthy ones; `None` where that is all of them.
    some_healthy: Option<Box<[u32]>>,
    /// How many those are.
    healthy: usize,
    /// Whether those differ in weight.
    differ: bool,
    /// Made when it is first needed; `None` when nothing can be drawn.
    weighted: OnceLock<Option<Arc<Weighted>>>,
}

impl Plain {
    pub(super) fn of(slots: &Slots) -> Option<Self> {
        let first = *slots.get(0)?;
        let place = |slot: &Slot| (slot.priority, slot.locality);
        if let Slots::Each(slots) = slots
            && slots.iter().any(|slot| place(slot) != place(&first))
        {
            return None;
        }
        let mut census = Census::default();
        let mut healthy = Vec::new();
        let is_healthy = |slot: &Slot| class(slot.health, false) == Class::Healthy;
        let all_healthy = slots.iter().all(is_healthy);
        for (number, slot) in (0..).zip(slots.iter()) {
            let class = class(slot.health, false);
            census.add(&Host { number, slot: *slot, class });
            if !all_healthy && class == Class::Healthy {
                healthy.push(number);
            }
        }
        let mut weights = slots.iter().filter(|slot| is_healthy(slot)).map(|slot| slot.weight);
        let differ = weights.next().is_some_and(|first| weights.any(|weight| weight != first));
        let count = if all_healthy { slots.len() as usize } else { healthy.len() };
        let some_healthy = (!all_healthy).then(|| healthy.into());
        let weighted = OnceLock::new();
        Some(Self { first, census, some_healthy, healthy: count, differ, weighted })
    }

    /// The numbers of the healthy ones.
    fn numbers(&self) -> impl Iterator<Item = u32> {
        let all = if self.some_healthy.is_none() { self.healthy as u32 } else { 0 };
        (0..all).chain(self.some_healthy.iter().flatten().copied())
    }

    fn weighted<A: Attach>(&self, membership: &Membership<A>) -> Option<&Arc<Weighted>> {
        let make = || {
            let weights = self.numbers().map(|number| membership.slots.weight(number));
            let weights: Box<[u32]> = weights.collect();
            let exact: Vec<f64> = weights.iter().map(|weight| f64::from(*weight)).collect();
            Alias::new(&exact).map(|alias| Arc::new(Weighted { alias, weights }))
        };
        self.weighted.get_or_init(make).as_ref()
    }

    /// The places of ejected endpoints in the list of healthy ones, ascending.
    fn places<'p>(&'p self, out: &'p [u32]) -> impl Iterator<Item = usize> + 'p {
        out.iter().filter_map(|number| match &self.some_healthy {
            None => ((*number as usize) < self.healthy).then_some(*number as usize),
            Some(healthy) => healthy.binary_search(number).ok(),
        })
    }

    /// The numbers of the healthy ones that are not among those.
    fn without(&self, out: &[u32]) -> Vec<u32> {
        // Room for the whole of it again, which the lists of weighted groups need.
        let mut rest = Vec::with_capacity(self.healthy);
        let mut places = self.places(out).peekable();
        let numbers = self.numbers().enumerate();
        rest.extend(
            numbers.filter_map(|(at, number)| places.next_if_eq(&at).is_none().then_some(number)),
        );
        rest
    }
}

/// The plan of the usual case; `None` for others.
pub(super) fn plain<A: Attach>(
    cluster: &Cluster,
    membership: &Membership<A>,
    dialect: Dialect,
    out: &[u32],
    agreed: bool,
) -> Option<Plan> {
    let is_weighed = cluster.balancing.client_weights.is_some();
    if is_weighed || membership.grouping.is_some() && dialect == Dialect::Http {
        return None;
    }
    let plain = membership.plain.as_ref()?;
    let balancing = &cluster.balancing;
    let (pick, choices) = match cluster.lb_policy {
        LbPolicy::RoundRobin => (Pick::RoundRobin, 0),
        LbPolicy::LeastRequest { choice_count } => (Pick::LeastRequest(choice_count), choice_count),
        LbPolicy::Random => (Pick::Random, 0),
        _ => return None,
    };
    let weight = membership.locality(plain.first.locality)?.weight.unwrap_or(0);
    let fits_grpc = weight > 0 && balancing.refused_by_grpc.is_none();
    let priority = plain.first.priority as usize;
    let is_special = balancing.slow_start.is_some() || priority >= MAX_PRIORITIES;
    if is_special || (dialect == Dialect::Grpc && !fits_grpc) {
        return None;
    }
    let loads = shares(cluster, membership, plain, dialect, out)?;
    let mut live = plain.without(out);
    let load = loads[priority];
    if live.is_empty() || load.healthy < 100 || load.panic {
        return None;
    }
    let visible = live.len();
    let differ = dialect == Dialect::Http && plain.differ && pick != Pick::Random;
    let picker = if differ {
        if visible * 2 < plain.healthy {
            return None;
        }
        let skipped = (visible < plain.healthy).then(|| {
            live.extend(plain.numbers());
            Skipped::new(plain.healthy, plain.places(out))
        });
        Picker::Weighted(plain.weighted(membership)?.clone(), skipped)
    } else {
        Picker::Even
    };
    let capped = if dialect == Dialect::Grpc { choices.min(GRPC_CHOICES) } else { choices };
    let way = match (pick, &picker) {
        (Pick::RoundRobin, Picker::Even) => Way::RoundRobin,
        (Pick::LeastRequest(_), Picker::Even) => Way::LeastRequest(capped),
        _ => {
            let policy = Policy { pick, slow_start: None, bias: balancing.active_request_bias };
            let start = if live.len() > visible { visible } else { 0 };
            let group = Group { start: start as u32, length: (live.len() - start) as u32, picker };
            Way::Levels(Box::new(Levels::of_one(policy, plain.first.priority, group)))
        }
    };
    let suits_grpc =
        fits_grpc && agreed && !differ && pick != Pick::Random && choices <= GRPC_CHOICES;
    let priority = Some(plain.first.priority);
    let censuses = Vec::new();
    Some(Plan { usable: live, visible, way, loads, censuses, priority, refused: None, suits_grpc })
}

/// The share of each priority.
fn shares<A: Attach>(
    cluster: &Cluster,
    membership: &Membership<A>,
    plain: &Plain,
    dialect: Dialect,
    out: &[u32],
) -> Option<Vec<PriorityLoad>> {
    let priority = plain.first.priority as usize;
    if dialect == Dialect::Grpc {
        let mut loads = vec![PriorityLoad::default(); priority + 1];
        loads[priority].healthy = 100;
        return Some(loads);
    }
    let assignment = membership.assignment.value.as_deref()?;
    let factor = assignment.overprovisioning_factor;
    let mut census = plain.census;
    census.overprovisioning_factor = factor;
    census.by_weight = assignment.weighted_priority_health;
    for slot in out.iter().filter_map(|number| membership.slots.get(*number)) {
        census.eject(slot);
    }
    let others = assignment.localities.iter().map(|locality| locality.priority as usize + 1);
    let count = others.max().unwrap_or(1).min(MAX_PRIORITIES);
    let mut censuses = vec![Census::empty(factor, false); count];
    censuses[priority] = census;
    Some(loads(&censuses, cluster.balancing.healthy_panic_threshold))
}

impl Census {
    /// Takes one out that was added.
    fn eject(&mut self, slot: &Slot) {
        let weight = u64::from(slot.weight);
        match class(slot.health, false) {
            Class::Healthy => {
                self.healthy -= 1;
                self.weight.healthy -= weight;
            }
            Class::Degraded => {
                self.degraded -= 1;
                self.weight.degraded -= weight;
            }
            Class::Sick | Class::Leaving => {}
        }
    }
}

impl Levels {
    /// One endpoint, by its place in the list, that takes all requests whatever its health.
    pub(super) fn of_alone(policy: Policy, priority: u32, start: u32) -> Self {
        let group = Group { start, length: 1, picker: Picker::Even };
        let mut made = Self::of_one(policy, priority, group);
        made.levels[0].panic = true;
        made
    }

    /// One level of one group that takes all requests.
    fn of_one(policy: Policy, priority: u32, group: Group) -> Self {
        let groups = [group].into();
        let level = Level { priority, degraded: false, panic: false, groups, weights: None };
        Self { policy, levels: [level].into(), hundredths: Box::new([0; 100]), turns: None }
    }
}

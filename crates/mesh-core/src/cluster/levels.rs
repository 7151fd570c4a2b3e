//! Choice in steps: priority, locality, endpoint.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::alias::Alias;
use super::bounded::Bounded;
use super::maglev::Maglev;
use super::ring::Ring;
use super::skipped::Skipped;
use super::tables::Usable;
use super::{Choice, ClusterState, EndpointState, Part};
use crate::draws::Draws;
use crate::resource::SlowStart;
use crate::snapshot::Attach;

/// Priorities with their share of requests.
#[derive(Clone, Debug)]
pub(super) struct Levels {
    pub(super) policy: Policy,
    pub(super) levels: Box<[Level]>,
    /// The level of each hundredth of all requests.
    pub(super) hundredths: Box<[u16; 100]>,
    /// Turns of their own, where requests alternate between several of one cluster.
    pub(super) turns: Option<Arc<Turns>>,
}

/// Turns of round robin; apart from what every request reads.
#[repr(align(128))]
#[derive(Debug, Default)]
pub(super) struct Turns(AtomicUsize);

impl Turns {
    #[inline]
    pub(super) fn next(&self) -> usize {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// How one of equals is chosen, where no hash says so.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    pub(super) pick: Pick,
    pub(super) slow_start: Option<SlowStart>,
    /// `active_request_bias`.
    pub(super) bias: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pick {
    RoundRobin,
    LeastRequest(u32),
    FullScan,
    Random,
    Hash,
    First { shuffled: bool },
}

/// The healthy or the degraded endpoints of a priority, or in panic all of them.
#[derive(Clone, Debug)]
pub(super) struct Level {
    pub(super) priority: u32,
    /// Whether it is of degraded endpoints.
    pub(super) degraded: bool,
    /// Whether health is ignored.
    pub(super) panic: bool,
    pub(super) groups: Box<[Group]>,
    /// The weights of the groups, when there are several.
    pub(super) weights: Option<Arc<Alias>>,
}

/// Endpoints one of which is picked: those of a locality, or all of a level.
#[derive(Clone, Debug)]
pub(super) struct Group {
    /// Where they are among all usable ones.
    pub(super) start: u32,
    pub(super) length: u32,
    pub(super) picker: Picker,
}

/// How an endpoint of a group is picked.
#[derive(Clone, Debug)]
pub(super) enum Picker {
    Even,
    /// With those that are ejected, which are drawn for nothing.
    Weighted(Arc<Weighted>, Option<Skipped>),
    Ring(Arc<Ring>, Bounded),
    Maglev(Arc<Maglev>, Bounded),
}

/// Endpoints that are not alike.
#[derive(Debug)]
pub(super) struct Weighted {
    pub(super) alias: Alias,
    pub(super) weights: Box<[u32]>,
}

/// The usable endpoints of one group.
pub(super) struct Span<'s, A: Attach> {
    usable: &'s Usable<A>,
    start: usize,
    length: usize,
}

impl<A: Attach> Copy for Span<'_, A> {}

impl<A: Attach> Clone for Span<'_, A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<'s, A: Attach> Span<'s, A> {
    #[inline]
    pub(super) fn all(usable: &'s Usable<A>) -> Self {
        Self { usable, start: 0, length: usable.len() }
    }

    #[inline]
    pub(super) fn get(self, index: usize) -> &'s Arc<EndpointState<A>> {
        self.usable.get(self.start + index)
    }
}

impl Levels {
    /// One of the usable endpoints and the level it is of; `None` when the level has none.
    pub(super) fn draw<'s, A: Attach>(
        &self,
        cluster: &ClusterState<A>,
        usable: &'s Usable<A>,
        choice: &Choice<'_>,
        hash: u64,
        attempt: u32,
        draws: &mut Draws,
    ) -> Option<(&'s Arc<EndpointState<A>>, &Level)> {
        // Envoy's hashing policies keep to their own shares of priorities in an aggregate too.
        let part = choice.part.filter(|_| self.policy.pick != Pick::Hash);
        // The tables may be others than those the part was chosen by: then the shares are theirs.
        let level = part.and_then(|part| self.part(part));
        let level = level.or_else(|| self.level(choice, hash, draws))?;
        let group = match &level.weights {
            Some(alias) => &level.groups[alias.at(draws.number())],
            None => level.groups.first()?,
        };
        if group.length == 0 {
            return None;
        }
        let usable = Span { usable, start: group.start as usize, length: group.length as usize };
        let index = match &group.picker {
            Picker::Even => self.even(usable, cluster, choice, attempt, draws),
            Picker::Weighted(weighted, skipped) => {
                let weighted = (&**weighted, skipped.as_ref());
                self.weighted(weighted, usable, cluster, choice, draws)
            }
            Picker::Ring(ring, bounded) => {
                bounded.within(usable, cluster, hash, |hash| ring.at(hash, attempt))
            }
            Picker::Maglev(table, bounded) => {
                bounded.within(usable, cluster, hash, |hash| table.at(hash, attempt))
            }
        };
        Some((usable.get(index), level))
    }

    fn turn<A: Attach>(&self, cluster: &ClusterState<A>) -> usize {
        self.turns.as_ref().map_or_else(|| cluster.turn(), |turns| turns.next())
    }

    pub(super) fn part(&self, part: Part) -> Option<&Level> {
        let is_it = |level: &&Level| {
            (level.priority, level.degraded) == (part.priority, part.degraded)
                && level.groups.iter().any(|group| group.length > 0)
        };
        self.levels.iter().find(is_it)
    }

    /// `None` when nothing takes requests, which is so of a subset alone.
    fn level(&self, choice: &Choice<'_>, hash: u64, draws: &mut Draws) -> Option<&Level> {
        if self.levels.len() == 1 {
            return Some(&self.levels[0]);
        }
        // Envoy takes the hash of the request itself, so that it stays in its priority.
        let hundredth = match self.policy.pick {
            Pick::Hash => (hash % 100) as usize,
            _ => draws.below(100),
        };
        let level = self.levels.get(usize::from(self.hundredths[hundredth]))?;
        let avoided = choice.avoid.priorities;
        let is_avoided = avoided.contains(&level.priority);
        Some(if is_avoided { self.other(avoided, hundredth) } else { level })
    }

    /// A level of a priority that was not tried, by the shares of those; of all, when every one
    /// was.
    #[cold]
    fn other(&self, avoided: &[u32], hundredth: usize) -> &Level {
        let at = |hundredth: &u16| &self.levels[usize::from(*hundredth)];
        let is_free = |level: &&Level| !avoided.contains(&level.priority);
        let free = self.hundredths.iter().map(at).filter(is_free).count();
        let nth = hundredth * free / 100;
        let free = self.hundredths.iter().map(at).filter(is_free).nth(nth);
        free.unwrap_or_else(|| at(&self.hundredths[hundredth]))
    }

    fn even<A: Attach>(
        &self,
        usable: Span<'_, A>,
        cluster: &ClusterState<A>,
        choice: &Choice<'_>,
        attempt: u32,
        draws: &mut Draws,
    ) -> usize {
        if let (Some(slow), Some(_)) = (&self.policy.slow_start, choice.now) {
            return self.rested(slow, usable, choice, draws, |draws| draws.below(usable.length));
        }
        match self.policy.pick {
            Pick::RoundRobin => self.turn(cluster) % usable.length,
            Pick::LeastRequest(choices) => lightest(usable, choices, draws, EndpointState::load).0,
            Pick::FullScan => full_scan(usable, draws),
            Pick::Random | Pick::Hash => draws.below(usable.length),
            Pick::First { shuffled } => {
                let first = if shuffled { cluster.seed(draws) } else { 0 } + u64::from(attempt);
                (first % usable.length as u64) as usize
            }
        }
    }

    fn weighted<A: Attach>(
        &self,
        (weighted, skipped): (&Weighted, Option<&Skipped>),
        usable: Span<'_, A>,
        cluster: &ClusterState<A>,
        choice: &Choice<'_>,
        draws: &mut Draws,
    ) -> usize {
        let any = |draws: &mut Draws| Skipped::pass(skipped, || weighted.alias.at(draws.number()));
        let draw = |draws: &mut Draws| match (&self.policy.slow_start, choice.now) {
            (Some(slow), Some(_)) => self.rested(slow, usable, choice, draws, any),
            _ => any(draws),
        };
        match self.policy.pick {
            Pick::LeastRequest(choices) if self.policy.bias > 0.0 => {
                let mut best = draw(draws);
                for _ in 1..choices.min(MAX_CHOICES) {
                    let other = draw(draws);
                    if self.is_lighter(weighted, usable, other, best) {
                        best = other;
                    }
                }
                best
            }
            Pick::FullScan => {
                let mut best = draw(draws);
                for other in 0..usable.length {
                    if self.is_lighter(weighted, usable, other, best) {
                        best = other;
                    }
                }
                best
            }
            Pick::RoundRobin if self.policy.slow_start.is_none() => {
                // Steps of the golden ratio meet every part of the range as evenly as can be: no
                // endpoint waits for long, and none is met twice in a row without need.
                let turn = || (self.turn(cluster) as u64).wrapping_mul(GOLDEN_RATIO);
                Skipped::pass(skipped, || weighted.alias.at(turn()))
            }
            _ => draw(draws),
        }
    }

    /// Whether `other` has less under way for its weight.
    fn is_lighter<A: Attach>(
        &self,
        weighted: &Weighted,
        usable: Span<'_, A>,
        other: usize,
        best: usize,
    ) -> bool {
        let bias = self.policy.bias;
        let load = |index: usize| {
            let load = f64::from(usable.get(index).load());
            if bias == 1.0 { load } else { load.powf(bias) }
        };
        let weight = |index: usize| f64::from(weighted.weights[index]);
        load(other) * weight(best) < load(best) * weight(other)
    }

    /// A drawn endpoint, new ones only as often as their age allows.
    ///
    /// Refusing draws gives each endpoint its weight times its ramp, without tables that have to
    /// change as time passes.
    fn rested<A: Attach>(
        &self,
        slow: &SlowStart,
        usable: Span<'_, A>,
        choice: &Choice<'_>,
        draws: &mut Draws,
        draw: impl Fn(&mut Draws) -> usize,
    ) -> usize {
        let mut index = draw(draws);
        let Some(now) = choice.now else { return index };
        for _ in 0..MAX_CHOICES {
            let age = now.saturating_duration_since(usable.get(index).since(now));
            if age >= slow.window || draws.fraction() < ramp(slow, age.as_secs_f64()) {
                break;
            }
            index = draw(draws);
        }
        index
    }
}

/// The part of its weight an endpoint of that age has.
fn ramp(slow: &SlowStart, age_seconds: f64) -> f64 {
    let part = (age_seconds.max(0.001) / slow.window.as_secs_f64()).min(1.0);
    part.powf(1.0 / slow.aggression).max(slow.min_weight_percent / 100.0)
}

/// The lightest of `choices` endpoints; the first of equals. Each is drawn among all but the lightest
/// so far: Envoy draws among all, and so sends one in n² requests to the slowest of n endpoints
/// because it was compared with itself.
#[inline(always)]
pub(super) fn least<'s, A: Attach>(
    part: Span<'s, A>,
    choices: u32,
    draws: &mut Draws,
) -> &'s Arc<EndpointState<A>> {
    least_by(part, choices, draws, EndpointState::load)
}

/// The same by another weight.
#[inline(always)]
pub(super) fn least_by<'s, A: Attach, W: Ord>(
    part: Span<'s, A>,
    choices: u32,
    draws: &mut Draws,
    weight: impl Fn(&EndpointState<A>) -> W,
) -> &'s Arc<EndpointState<A>> {
    lightest(part, choices, draws, weight).1
}

/// The same, and where it is.
#[inline(always)]
fn lightest<'s, A: Attach, W: Ord>(
    part: Span<'s, A>,
    choices: u32,
    draws: &mut Draws,
    weight: impl Fn(&EndpointState<A>) -> W,
) -> (usize, &'s Arc<EndpointState<A>>) {
    let mut at = draws.below(part.length);
    let mut best = part.get(at);
    // Of one alone the weight does not count, and is not in a cache.
    if choices > 1 && part.length > 1 {
        let mut least = weight(best);
        let others = if choices == 2 { 1 } else { choices.min(MAX_CHOICES) - 1 };
        for _ in 0..others {
            let index = draws.below(part.length - 1);
            let index = index + usize::from(index >= at);
            let other = part.get(index);
            let its = weight(other);
            if its < least {
                (at, best, least) = (index, other, its);
            }
        }
    }
    (at, best)
}

/// The lightest of all; any of equals.
fn full_scan<A: Attach>(usable: Span<'_, A>, draws: &mut Draws) -> usize {
    let start = draws.below(usable.length);
    let later = (start..usable.length).chain(0..start);
    later.min_by_key(|index| usable.get(*index).load()).unwrap_or(start)
}

/// How many endpoints a pick looks at, at most, so that no value makes it slow. Two get nearly all
/// of the benefit of `choice_count`; gRPC stops at 10 (gRFC A48), Envoy states no limit.
pub(super) const MAX_CHOICES: u32 = 64;

/// 2⁶⁴ divided by the golden ratio.
const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15;

//! Picking one of the endpoints that may be picked.

use std::sync::Arc;

use super::levels::{Levels, Span, least, least_by};
use super::subsets::SubsetTables;
use super::tables::{Usable, Way};
use super::{Choice, ClusterState, EndpointState, NoEndpoints, Picked, Tables};
use crate::dialect::Dialect;
use crate::draws::Draws;
use crate::snapshot::Attach;

impl<A: Attach> ClusterState<A> {
    /// Picks an endpoint.
    ///
    /// # Errors
    /// When none may be picked.
    #[inline(always)]
    pub fn pick(&self, choice: &Choice<'_>, random: u64) -> Result<Picked<A>, NoEndpoints> {
        let tables = self.live(choice.dialect).load();
        let usable = &tables.usable;
        let length = usable.len();
        if length == 0 {
            return Err(tables.no_endpoints());
        }
        let mut draws = Draws::new(random);
        let endpoint = match &tables.way {
            Way::RoundRobin => usable.get(self.turn() % length),
            Way::LeastRequest(choices) => least(Span::all(usable), *choices, &mut draws),
            Way::Levels(levels) => return self.pick_level(&tables, levels, choice, random),
            Way::Subsets(subsets) => return self.pick_subset(&tables, subsets, choice, random),
        };
        if !choice.avoid.tried.is_empty() || self.is_out(endpoint, choice.dialect) {
            let endpoint = self.redraw(endpoint, &tables, choice, &mut draws);
            return Ok(Picked::new(endpoint.clone()));
        }
        Ok(Picked::new(endpoint.clone()))
    }

    /// Picks an endpoint for the first attempt of a request without a hash, as
    /// [`pick`](Self::pick) does; `None` when none may be picked.
    ///
    /// `tables` are the cluster's own for `dialect`, as they are now or were a moment ago: who has
    /// them at hand need not take them anew.
    #[inline(always)]
    pub fn pick_plain(
        &self,
        tables: &Tables<A>,
        dialect: Dialect,
        random: u64,
    ) -> Option<Picked<A>> {
        let usable = &tables.usable;
        let length = usable.len();
        let endpoint = match &tables.way {
            _ if length == 0 => return None,
            Way::RoundRobin => usable.get(self.turn() % length),
            Way::LeastRequest(2) if length > 1 => lighter(usable, &mut Draws::new(random)),
            Way::LeastRequest(choices) => {
                let weight = |one: &EndpointState<A>| {
                    // All that one of them may be asked for is waited for at once.
                    one.warm();
                    one.load()
                };
                least_by(Span::all(usable), *choices, &mut Draws::new(random), weight)
            }
            Way::Levels(_) | Way::Subsets(_) => return self.pick_slowly(dialect, random),
        };
        if self.is_out(endpoint, dialect) {
            return self.pick_slowly(dialect, random);
        }
        Some(Picked::new(endpoint.clone()))
    }

    /// The endpoint that is likely to be picked after that many other picks, without picking it.
    ///
    /// Round robin among endpoints that are alike has an order. Of other policies nothing is known.
    #[cold]
    pub fn foresee(&self, dialect: Dialect, ahead: usize) -> Option<Arc<EndpointState<A>>> {
        let tables = self.live(dialect).load();
        let length = tables.usable.len();
        if length == 0 || !matches!(tables.way, Way::RoundRobin) {
            return None;
        }
        let turn = self.next_turn().wrapping_add(ahead);
        Some(tables.usable.get(turn % length).clone())
    }

    #[inline(never)]
    fn pick_slowly(&self, dialect: Dialect, random: u64) -> Option<Picked<A>> {
        self.pick(&Choice::new(dialect), random).ok()
    }

    /// Whether outlier detection has ejected an endpoint since the tables were made.
    #[inline]
    pub(super) fn is_out(&self, endpoint: &EndpointState<A>, dialect: Dialect) -> bool {
        self.detectors.has_ejected(endpoint, dialect)
    }

    /// Draws again for as long as it is told to and finds endpoints that were tried, or ejected.
    ///
    /// A dead endpoint has no load, so among those drawn at once an untried one goes first,
    /// whatever its load.
    #[cold]
    fn redraw<'t>(
        &self,
        mut endpoint: &'t Arc<EndpointState<A>>,
        tables: &'t Tables<A>,
        choice: &Choice<'_>,
        draws: &mut Draws,
    ) -> &'t Arc<EndpointState<A>> {
        let usable = &tables.usable;
        let avoid = &choice.avoid;
        let tried = |endpoint: &EndpointState<A>| avoid.tried.contains(&endpoint.address());
        let out = |endpoint: &EndpointState<A>| self.is_out(endpoint, choice.dialect);
        for attempt in 0..MAX_REDRAWS {
            if !out(endpoint) && (attempt >= avoid.max_attempts || !tried(endpoint)) {
                break;
            }
            endpoint = match tables.way {
                Way::LeastRequest(choices) => {
                    let weight = |one: &EndpointState<A>| (out(one), tried(one), one.load());
                    least_by(Span::all(usable), choices, draws, weight)
                }
                Way::RoundRobin | Way::Levels(_) | Way::Subsets(_) => {
                    usable.get(self.turn() % usable.len())
                }
            };
        }
        endpoint
    }

    /// Picks by priority, locality, weight or hash.
    #[inline(never)]
    pub(super) fn pick_level(
        &self,
        tables: &Tables<A>,
        levels: &Levels,
        choice: &Choice<'_>,
        random: u64,
    ) -> Result<Picked<A>, NoEndpoints> {
        let mut draws = Draws::new(random);
        let hash = choice.hash.unwrap_or(random);
        let avoid = &choice.avoid;
        let mut drawn = None;
        for attempt in 0..=MAX_REDRAWS {
            drawn = levels.draw(self, &tables.usable, choice, hash, attempt, &mut draws);
            let Some((endpoint, level)) = drawn else { break };
            let is_out = !level.panic && self.is_out(endpoint, choice.dialect);
            let is_tried =
                attempt < avoid.max_attempts && avoid.tried.contains(&endpoint.address());
            if !is_out && !is_tried {
                break;
            }
        }
        match drawn {
            Some((endpoint, _)) => Ok(Picked::new(endpoint.clone())),
            None => Err(tables.no_endpoints()),
        }
    }

    /// Picks in the subset that the route asks for.
    #[inline(never)]
    fn pick_subset(
        &self,
        tables: &Tables<A>,
        subsets: &SubsetTables,
        choice: &Choice<'_>,
        random: u64,
    ) -> Result<Picked<A>, NoEndpoints> {
        for levels in subsets.choose(choice.metadata_match).into_iter().flatten() {
            if let Ok(picked) = self.pick_level(tables, levels, choice, random) {
                return Ok(picked);
            }
        }
        Err(NoEndpoints { subset: true, ..tables.no_endpoints() })
    }
}

/// The lighter of two that are drawn, as [`least`] of two choices; of more than one endpoint.
#[inline(always)]
fn lighter<'t, A: Attach>(usable: &'t Usable<A>, draws: &mut Draws) -> &'t Arc<EndpointState<A>> {
    let at = draws.below(usable.len());
    let other = draws.below(usable.len() - 1);
    let other = other + usize::from(other >= at);
    if usable.is_far() {
        return lighter_by_number(usable, at, other);
    }
    let (first, second) = (usable.get(at), usable.get(other));
    if second.load() < first.load() { second } else { first }
}

/// The same where there are so many that an endpoint is not looked at for its load.
#[inline(never)]
fn lighter_by_number<A: Attach>(
    usable: &Usable<A>,
    at: usize,
    other: usize,
) -> &Arc<EndpointState<A>> {
    let chosen = usable.get(if usable.load(other) < usable.load(at) { other } else { at });
    // All that it may be asked for is waited for at once.
    chosen.warm();
    chosen
}

/// How often at most another endpoint is drawn instead of a tried one, whatever configuration asks
/// for: when half of the endpoints were tried, this many draws all miss once in 2⁶⁴ requests.
pub(super) const MAX_REDRAWS: u32 = 64;

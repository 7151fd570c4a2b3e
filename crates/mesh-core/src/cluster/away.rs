//! Retries in other priorities than those before (`previous_priorities`).
//!
//! The tables hold who takes requests as things are; a priority that is well and waits for another
//! to fail has no place there. A retry that shall go there looks at all endpoints: it is rare, and
//! costs a look at each.

use super::pick::MAX_REDRAWS;
use super::plan::{Class, Host, survey};
use super::priority::{PriorityLoad, loads_without};
use super::tables::Way;
use super::{Avoid, Choice, ClusterState, Part, Picked, Tables};
use crate::draws::Draws;
use crate::snapshot::Attach;

impl<A: Attach> ClusterState<A> {
    /// Picks an endpoint in a priority that is none of `choice.avoid.priorities`, by the shares
    /// that the others then have; `None` when they have nothing to offer, so that all are as good
    /// again. For HTTP, and clusters without subsets.
    ///
    /// Where a priority takes requests anyway its endpoint is picked by the cluster's policy, else
    /// by weight.
    #[inline(never)]
    pub fn pick_away(&self, choice: &Choice<'_>, random: u64) -> Option<Picked<A>> {
        let tables = self.live(choice.dialect).load();
        let (hosts, censuses) = survey(&self.spec, &tables.membership, &tables.out);
        let loads = loads_without(&censuses, choice.avoid.priorities)?;
        let mut draws = Draws::new(random);
        let part = part_at(&loads, draws.below(100) as u32)?;
        let avoid = Avoid { priorities: &[], ..choice.avoid };
        let choice = choice.with_avoid(avoid).with_part(Some(part));
        if let Way::Levels(levels) = &tables.way
            && levels.part(part).is_some()
        {
            return self.pick_level(&tables, levels, &choice, draws.mixed()).ok();
        }
        self.pick_in(&tables, &hosts, part, &choice, &mut draws)
    }

    fn pick_in(
        &self,
        tables: &Tables<A>,
        hosts: &[Host],
        part: Part,
        choice: &Choice<'_>,
        draws: &mut Draws,
    ) -> Option<Picked<A>> {
        let class = if part.degraded { Class::Degraded } else { Class::Healthy };
        let is_in = |host: &&Host| host.slot.priority == part.priority && host.class == class;
        let total = hosts.iter().filter(is_in).map(|host| u64::from(host.slot.weight)).sum();
        let mut drawn = None;
        for attempt in 0..=MAX_REDRAWS {
            let mut left = draws.mixed().checked_rem(total)?;
            let host = hosts.iter().filter(is_in).find(|host| {
                let weight = u64::from(host.slot.weight);
                let is_it = left < weight;
                left = left.saturating_sub(weight);
                is_it
            })?;
            let endpoint = tables.membership.states.get(host.number as usize)?;
            drawn = Some(endpoint);
            let avoid = &choice.avoid;
            let is_tried =
                attempt < avoid.max_attempts && avoid.tried.contains(&endpoint.address());
            if !is_tried && !self.is_out(endpoint, choice.dialect) {
                break;
            }
        }
        Some(Picked::new(drawn?.clone()))
    }
}

/// Whose share that hundredth is of: of healthy endpoints first, as in Envoy.
fn part_at(loads: &[PriorityLoad], hundredth: u32) -> Option<Part> {
    let healthy = (0..).zip(loads).map(|(priority, load)| (priority, false, load.healthy));
    let degraded = (0..).zip(loads).map(|(priority, load)| (priority, true, load.degraded));
    let mut below = 0;
    for (priority, degraded, share) in healthy.chain(degraded) {
        below += share;
        if hundredth < below {
            return Some(Part { priority, degraded });
        }
    }
    None
}

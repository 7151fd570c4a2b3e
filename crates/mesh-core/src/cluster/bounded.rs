//! Consistent hashing with bounded loads.

use std::sync::Arc;

use super::ClusterState;
use super::levels::{MAX_CHOICES, Span};
use crate::draws::Draws;
use crate::snapshot::Attach;

/// Bounded loads: how much of all requests under way each endpoint may have.
#[derive(Clone, Debug)]
pub(super) struct Bounded {
    /// `hash_balance_factor`; 0 for no bound.
    pub(super) factor: u32,
    pub(super) weights: Arc<[f64]>,
}

impl Bounded {
    /// The endpoint of a hash; the next one on that hash's way when it has more than its share
    /// under way. All of them have: the one that is least over.
    pub(super) fn within<A: Attach>(
        &self,
        usable: Span<'_, A>,
        cluster: &ClusterState<A>,
        hash: u64,
        at: impl Fn(u64) -> usize,
    ) -> usize {
        let first = at(hash);
        if self.factor == 0 {
            return first;
        }
        // Who asks was admitted, and is counted already, but for those that ask for no admission.
        let slots = cluster.requests().max(1) as f64 * f64::from(self.factor) / 100.0;
        let excess = |index: usize| {
            let share = (slots.ceil() * self.weights[index]).ceil().max(1.0);
            f64::from(usable.get(index).load()) / share
        };
        let (mut best, mut least) = (first, excess(first));
        let mut way = Draws::new(hash);
        way.number();
        for _ in 0..MAX_CHOICES {
            if least <= 1.0 {
                break;
            }
            let other = at(way.number());
            let over = excess(other);
            if over < least {
                (best, least) = (other, over);
            }
        }
        best
    }
}

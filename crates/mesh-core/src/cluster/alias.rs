//! Choice by weight in constant time.

/// Vose's alias table: a uniform number takes two looks to become an index, whatever the number
/// of weights.
#[derive(Debug)]
pub(super) struct Alias {
    slots: Box<[Slot]>,
}

/// One of equally likely slots: its own index, or from `keep` on another one.
#[derive(Clone, Copy, Debug)]
struct Slot {
    /// The share of the slot that is its own, of 2³².
    keep: u32,
    other: u32,
}

impl Alias {
    /// The table of `weights`, which are finite and not negative; `None` when they are all zero.
    pub(super) fn new(weights: &[f64]) -> Option<Self> {
        let total: f64 = weights.iter().sum();
        if total <= 0.0 {
            return None;
        }
        let scale = weights.len() as f64 / total;
        let mut shares: Vec<f64> = weights.iter().map(|weight| weight * scale).collect();
        let (mut small, mut large) = (Vec::new(), Vec::new());
        for (index, share) in shares.iter().enumerate() {
            if *share < 1.0 { small.push(index) } else { large.push(index) }
        }
        let own = |index: usize| Slot { keep: u32::MAX, other: index as u32 };
        let mut slots: Box<[Slot]> = (0..weights.len()).map(own).collect();
        while let (Some(poor), Some(&rich)) = (small.pop(), large.last()) {
            // The product is below 2³², because the share is below 1.
            let keep = (shares[poor] * 4_294_967_296.0) as u32;
            slots[poor] = Slot { keep, other: rich as u32 };
            shares[rich] -= 1.0 - shares[poor];
            if shares[rich] < 1.0 {
                large.pop();
                small.push(rich);
            }
        }
        // What is left over is 1 but for rounding: a slot for itself alone. An index without
        // weight is never left: its share of 0 is far from 1.
        Some(Self { slots })
    }

    /// The index that `number`, uniform over all of its range, stands for.
    #[inline]
    pub(super) fn at(&self, number: u64) -> usize {
        let wide = u128::from(number) * self.slots.len() as u128;
        let index = (wide >> 64) as usize;
        let slot = self.slots[index];
        let fraction = (wide as u64 >> 32) as u32;
        if fraction < slot.keep { index } else { slot.other as usize }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::randoms;

    /// The length of all numbers that mean each index, by the slots themselves.
    fn shares(alias: &Alias) -> Vec<f64> {
        let mut shares = vec![0.0; alias.slots.len()];
        for (index, slot) in alias.slots.iter().enumerate() {
            let keep = f64::from(slot.keep) / 4_294_967_296.0;
            shares[index] += keep;
            shares[slot.other as usize] += 1.0 - keep;
        }
        shares.iter().map(|share| share / alias.slots.len() as f64).collect()
    }

    #[test]
    fn nothing_to_choose_without_weight() {
        assert!(Alias::new(&[]).is_none());
        assert!(Alias::new(&[0.0, 0.0]).is_none());
    }

    proptest! {
        #[test]
        fn shares_are_the_weights(weights in prop::collection::vec(0_u32..1_000_000, 1..200)) {
            let weights: Vec<f64> = weights.into_iter().map(f64::from).collect();
            let total: f64 = weights.iter().sum();
            prop_assume!(total > 0.0);
            let alias = Alias::new(&weights).unwrap();
            for (share, weight) in shares(&alias).iter().zip(&weights) {
                prop_assert!((share - weight / total).abs() < 1e-6, "{share} {weight} {total}");
            }
            for number in randoms(1000) {
                prop_assert!(weights[alias.at(number)] > 0.0, "an index without weight");
            }
        }
    }
}

//! Endpoints that are passed over without making the arrays they stand in anew.

use super::levels::MAX_CHOICES;

/// Which endpoints of a group are not to be picked, one bit each.
#[derive(Clone, Debug)]
pub(super) struct Skipped(Box<[u64]>);

impl Skipped {
    /// Those of `length` endpoints at ascending or any places.
    pub(super) fn new(length: usize, places: impl Iterator<Item = usize>) -> Self {
        let mut bits = vec![0; length.div_ceil(64)];
        places.for_each(|place| bits[place / 64] |= 1_u64 << (place % 64));
        Self(bits.into())
    }

    /// Draws until one may be picked: at least every second one may, by number.
    pub(super) fn pass(skipped: Option<&Self>, mut draw: impl FnMut() -> usize) -> usize {
        let mut index = draw();
        let Some(Self(bits)) = skipped else { return index };
        for _ in 0..MAX_CHOICES {
            if bits[index / 64] >> (index % 64) & 1 == 0 {
                break;
            }
            index = draw();
        }
        index
    }
}

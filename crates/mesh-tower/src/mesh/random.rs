use std::sync::atomic::{AtomicU64, Ordering};

/// Where a mesh's random numbers come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// Each thread's own generator.
    Threads,
    /// A sequence fixed by a seed, so that draws can be repeated.
    Seeded(AtomicU64),
}

impl Source {
    pub(crate) fn new(seed: Option<u64>) -> Self {
        seed.map_or(Self::Threads, |seed| Self::Seeded(AtomicU64::new(seed)))
    }

    /// The random number of one request, from which all its draws follow.
    pub(crate) fn request(&self) -> Random {
        Random(match self {
            Self::Threads => fastrand::u64(..),
            Self::Seeded(state) => mix(state.fetch_add(GOLDEN, Ordering::Relaxed)),
        })
    }
}

/// One request's draws.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// The first draw: the number itself, which is random as it is. Only before any other.
    pub(crate) fn first(&self) -> u64 {
        self.0
    }

    /// The next draw. The number is mixed well already, so half a round of SplitMix64 is enough to
    /// make another one of it.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        let mixed = (self.0 ^ (self.0 >> 32)).wrapping_mul(MIX);
        mixed ^ (mixed >> 32)
    }
}

/// SplitMix64's increment: 2⁶⁴ divided by the golden ratio.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The first multiplier of its finaliser.
const MIX: u64 = 0xbf58_476d_1ce4_e5b9;

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(MIX);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

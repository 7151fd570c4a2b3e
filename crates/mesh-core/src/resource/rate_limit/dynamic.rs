use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use foldhash::fast::RandomState;

use super::{DescriptorEntry, TokenBucket};

/// Buckets for values that are not known beforehand: a fixed number of places, of which the one
/// used longest ago is given to new values. Where there are many places, a value has a choice of
/// some of them, which it shares with others by their hash. They are made when the first value
/// comes.
///
/// Values are told apart by their hash: two that share one share a bucket, once in 2⁶⁴.
#[derive(Debug)]
pub struct DynamicBuckets {
    places: OnceLock<Box<[Place]>>,
    count: u32,
    /// How places begin.
    fill: (u32, u32, Duration),
    hasher: RandomState,
    /// Counts uses, to tell old ones.
    uses: AtomicU64,
}

#[derive(Debug)]
struct Place {
    /// The hash of the values it is for; 0 for none.
    owner: AtomicU64,
    used: AtomicU64,
    bucket: TokenBucket,
}

impl DynamicBuckets {
    /// So many places, at least one, for buckets like [`TokenBucket::new`] makes.
    pub fn new(
        places: u32,
        max_tokens: u32,
        tokens_per_fill: u32,
        fill_interval: Duration,
    ) -> Self {
        let count = places.clamp(1, MOST_PLACES);
        let fill = (max_tokens, tokens_per_fill, fill_interval);
        let (hasher, uses) = (RandomState::default(), AtomicU64::new(0));
        Self { places: OnceLock::new(), count, fill, hasher, uses }
    }

    fn places(&self) -> &[Place] {
        self.places.get_or_init(|| {
            let (max_tokens, tokens_per_fill, fill_interval) = self.fill;
            let place = |_| Place {
                owner: AtomicU64::new(0),
                used: AtomicU64::new(0),
                bucket: TokenBucket::new(max_tokens, tokens_per_fill, fill_interval),
            };
            (0..self.count).map(place).collect()
        })
    }

    /// The bucket of those entries.
    pub fn of(&self, entries: &[DescriptorEntry<'_>]) -> &TokenBucket {
        let order = Ordering::Relaxed;
        let mut hasher = self.hasher.build_hasher();
        for entry in entries {
            entry.value.hash(&mut hasher);
        }
        let owner = hasher.finish().max(1);
        let use_number = self.uses.fetch_add(1, order) + 1;
        let all = self.places();
        let choices = all.len().div_ceil(CHOICES);
        let size = all.len().div_ceil(choices);
        // The last part may be a little smaller, never empty.
        let part = (owner % choices as u64) as usize * size;
        let places = &all[part.min(all.len() - 1)..all.len().min(part + size)];
        let known = places.iter().find(|place| place.owner.load(order) == owner);
        let place = known.unwrap_or_else(|| {
            let oldest = places.iter().min_by_key(|place| place.used.load(order));
            oldest.expect("there is at least one place")
        });
        place.used.store(use_number, order);
        let before = place.owner.swap(owner, order);
        if before != owner && before != 0 {
            place.bucket.fill();
        }
        &place.bucket
    }
}

/// Envoy's default is 20.
const MOST_PLACES: u32 = 1024;

/// How many places are looked through one after the other. Up to so many, exactly the one used
/// longest ago makes room, as in Envoy.
const CHOICES: usize = 64;

use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use foldhash::fast::RandomState;

use super::{DescriptorEntry, TokenBucket};

/// Buckets for values that are not known beforehand: a fixed number of places, of which the one
/// used longest ago is given to new values.
///
/// Values are told apart by their hash: two that share one share a bucket, once in 2⁶⁴.
#[derive(Debug)]
pub struct DynamicBuckets {
    places: Box<[Place]>,
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
        let place = |_| Place {
            owner: AtomicU64::new(0),
            used: AtomicU64::new(0),
            bucket: TokenBucket::new(max_tokens, tokens_per_fill, fill_interval),
        };
        let places = (0..places.clamp(1, MOST_PLACES)).map(place).collect();
        Self { places, hasher: RandomState::default(), uses: AtomicU64::new(0) }
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
        let known = self.places.iter().find(|place| place.owner.load(order) == owner);
        let place = known.unwrap_or_else(|| {
            let oldest = self.places.iter().min_by_key(|place| place.used.load(order));
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

/// Places are looked through one after the other; Envoy's default is 20.
const MOST_PLACES: u32 = 1024;

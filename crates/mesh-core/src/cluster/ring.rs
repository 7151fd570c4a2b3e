//! Ketama rings, entry for entry as Envoy builds them.

use std::fmt::Write;

use super::hashing::{murmur_hash2, xx_hash};
use crate::resource::{HashFunction, RingHash};

/// An endpoint as hashing policies see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hashed<'k> {
    /// What is hashed: its address, name or `hash_key`.
    pub(super) key: &'k str,
    /// Its share of all weights: they add up to 1.
    pub(super) weight: f64,
}

/// Hashes of endpoints in order; a request goes to the first that is not below its own.
#[derive(Debug)]
pub(super) struct Ring {
    entries: Box<[Entry]>,
    /// For each value of the top bits of a hash, the first entry that may be meant. Hashes are
    /// uniform, so the entry is there or next to it, however large the ring.
    starts: Box<[u32]>,
    shift: u32,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    hash: u64,
    index: u32,
}

impl Ring {
    /// The ring of at least one endpoint. An endpoint has one entry for each of its numbered keys
    /// `key_0`, `key_1` …, and the lightest has a whole number of them unless the ring is full.
    pub(super) fn new(hosts: &[Hashed<'_>], config: &RingHash) -> Self {
        let lightest = hosts.iter().map(|host| host.weight).fold(1.0, f64::min);
        let minimum = (lightest * config.minimum_ring_size as f64).ceil() / lightest;
        let scale = minimum.min(config.maximum_ring_size as f64);
        let mut entries = Vec::with_capacity(scale.ceil() as usize);
        let mut text = String::new();
        // Running sums over all endpoints: what one gets too much the next one lacks.
        let (mut made, mut target) = (0.0, 0.0);
        for (index, host) in (0..).zip(hosts) {
            text.clear();
            text.push_str(host.key);
            text.push('_');
            let length = text.len();
            target += scale * host.weight;
            let mut number = 0_u64;
            while made < target {
                text.truncate(length);
                write!(text, "{number}").expect("a String takes everything");
                let hash = match config.hash_function {
                    HashFunction::XxHash => xx_hash(text.as_bytes(), 0),
                    HashFunction::MurmurHash2 => murmur_hash2(text.as_bytes()),
                };
                entries.push(Entry { hash, index });
                number += 1;
                made += 1.0;
            }
        }
        entries.sort_unstable_by_key(|entry| entry.hash);
        Self::indexed(entries.into())
    }

    fn indexed(entries: Box<[Entry]>) -> Self {
        let bits = entries.len().next_power_of_two().trailing_zeros().max(1);
        let shift = u64::BITS - bits;
        let mut starts = Vec::with_capacity(1 << bits);
        let mut at = 0;
        for bucket in 0..1_u64 << bits {
            while entries.get(at).is_some_and(|entry: &Entry| entry.hash >> shift < bucket) {
                at += 1;
            }
            starts.push(at as u32);
        }
        Self { entries, starts: starts.into(), shift }
    }

    /// The endpoint of a hash; of further attempts, those of the entries after it.
    #[inline]
    pub(super) fn at(&self, hash: u64, attempt: u32) -> usize {
        let mut at = self.starts[(hash >> self.shift) as usize] as usize;
        while self.entries.get(at).is_some_and(|entry| entry.hash < hash) {
            at += 1;
        }
        if at == self.entries.len() {
            at = 0;
        }
        if attempt > 0 {
            at = (at + attempt as usize) % self.entries.len();
        }
        self.entries[at].index as usize
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::randoms;

    fn keys(hosts: std::ops::Range<usize>) -> Vec<String> {
        hosts.map(|host| format!("10.0.0.{host}:80")).collect()
    }

    fn even(keys: &[String]) -> Vec<Hashed<'_>> {
        let weight = 1.0 / keys.len() as f64;
        keys.iter().map(|key| Hashed { key, weight }).collect()
    }

    fn sized(minimum: u64, maximum: u64) -> RingHash {
        RingHash { minimum_ring_size: minimum, maximum_ring_size: maximum, ..RingHash::default() }
    }

    #[test]
    fn lightest_endpoint_has_a_whole_number_of_entries() {
        let size = |hosts, minimum, maximum| {
            Ring::new(&even(&keys(0..hosts)), &sized(minimum, maximum)).entries.len()
        };
        assert_eq!(size(1, 1024, 8_388_608), 1024);
        assert_eq!(size(3, 1024, 8_388_608), 1026);
        assert_eq!(size(3, 1, 8_388_608), 3);
        assert_eq!(size(3, 1024, 100), 100, "the largest size wins");
    }

    #[test]
    fn removing_an_endpoint_moves_only_its_own_keys() {
        let all = keys(0..10);
        let rest: Vec<String> = all.iter().filter(|key| !key.contains("0.3:")).cloned().collect();
        let config = sized(10_000, 10_000_000);
        let (before, after) = (Ring::new(&even(&all), &config), Ring::new(&even(&rest), &config));
        let mut moved = 0;
        for hash in randoms(10_000) {
            let (was, is) = (&all[before.at(hash, 0)], &rest[after.at(hash, 0)]);
            // Nine endpoints get more entries each than ten, which moves a few keys among them.
            moved += u32::from(was != is);
        }
        assert!((800..2400).contains(&moved), "{moved} of 10,000");
    }

    #[test]
    fn further_attempts_walk_the_ring() {
        let all = keys(0..5);
        let ring = Ring::new(&even(&all), &sized(64, 64));
        let seen: std::collections::HashSet<_> = (0..64).map(|n| ring.at(7, n)).collect();
        assert_eq!(seen.len(), 5);
        assert_eq!(ring.at(7, 0), ring.at(7, ring.entries.len() as u32));
    }

    proptest! {
        /// Against a search from the start.
        #[test]
        fn finds_the_first_entry_that_is_not_below(
            mut hashes in prop::collection::vec(any::<u64>(), 1..300),
            probes in prop::collection::vec(any::<u64>(), 1..100),
        ) {
            hashes.sort_unstable();
            hashes.dedup();
            let entry = |(index, hash): (usize, &u64)| Entry { hash: *hash, index: index as u32 };
            let ring = Ring::indexed(hashes.iter().enumerate().map(entry).collect());
            for probe in probes.iter().chain(&hashes).chain(&[0, u64::MAX]) {
                let want = hashes.iter().position(|hash| hash >= probe).unwrap_or(0);
                prop_assert_eq!(ring.at(*probe, 0), want);
            }
        }

        #[test]
        fn entries_follow_the_weights(weights in prop::collection::vec(1_u32..100, 1..20)) {
            let total: u32 = weights.iter().sum();
            let keys = keys(0..weights.len());
            let share = |weight: &u32| f64::from(*weight) / f64::from(total);
            let hosts: Vec<_> = keys.iter().zip(&weights)
                .map(|(key, weight)| Hashed { key, weight: share(weight) }).collect();
            let ring = Ring::new(&hosts, &RingHash::default());
            for (index, weight) in (0..).zip(&weights) {
                let got = ring.entries.iter().filter(|entry| entry.index == index).count() as f64;
                let want = share(weight) * ring.entries.len() as f64;
                prop_assert!((got - want).abs() <= 1.5, "{got} for {want}");
            }
        }
    }
}

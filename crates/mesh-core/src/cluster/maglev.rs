//! Maglev tables, entry for entry as Envoy builds them.

use super::hashing::xx_hash;
use super::ring::Hashed;

/// Endpoints by the remainder of a hash.
///
/// Each endpoint has its own permutation of the table's places; in turns, they take the next free
/// place of theirs, heavier ones in more of the turns.
#[derive(Debug)]
pub(super) struct Maglev {
    places: Box<[u32]>,
}

/// An endpoint while the table is filled.
struct Filler {
    index: u32,
    /// Where its permutation begins.
    offset: u64,
    /// The step of its permutation. The table's size is a prime, so it meets every place.
    skip: u64,
    next: u64,
    weight: f64,
    /// What its weight must have grown to for its next place.
    target: f64,
}

impl Maglev {
    /// The table of at least one endpoint.
    pub(super) fn new(hosts: &[Hashed<'_>], size: u64) -> Self {
        let heaviest = hosts.iter().map(|host| host.weight).fold(0.0, f64::max);
        let mut sorted: Vec<(u32, &Hashed<'_>)> = (0..).zip(hosts).collect();
        // The order of turns: a table must not depend on the order of configuration.
        sorted.sort_by_key(|(_, host)| host.key);
        let filler = |(index, host): (u32, &Hashed<'_>)| Filler {
            index,
            offset: xx_hash(host.key.as_bytes(), 0) % size,
            skip: xx_hash(host.key.as_bytes(), 1) % (size - 1) + 1,
            next: 0,
            weight: host.weight,
            target: 0.0,
        };
        let mut fillers: Vec<Filler> = sorted.into_iter().map(filler).collect();
        let mut places = vec![FREE; size as usize];
        let mut left = places.len();
        let mut turn = 0.0;
        while left > 0 {
            turn += 1.0;
            for filler in fillers.iter_mut() {
                if left == 0 {
                    break;
                }
                if turn * filler.weight >= filler.target {
                    filler.target += heaviest;
                    filler.take(&mut places);
                    left -= 1;
                }
            }
        }
        Self { places: places.into() }
    }

    /// The endpoint of a hash; of further attempts, of hashes far from it.
    #[inline]
    pub(super) fn at(&self, hash: u64, attempt: u32) -> usize {
        let hash = if attempt > 0 { hash ^ u64::from(attempt).wrapping_neg() } else { hash };
        self.places[(hash % self.places.len() as u64) as usize] as usize
    }
}

const FREE: u32 = u32::MAX;

impl Filler {
    fn take(&mut self, places: &mut [u32]) {
        let size = places.len() as u64;
        loop {
            let place = (self.offset + self.skip * self.next) % size;
            self.next += 1;
            let place = &mut places[place as usize];
            if *place == FREE {
                *place = self.index;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::randoms;

    fn table(keys: &[String], weights: &[u32], size: u64) -> Maglev {
        let total: u32 = weights.iter().sum();
        let share = |weight: &u32| f64::from(*weight) / f64::from(total);
        let hosts: Vec<_> = keys
            .iter()
            .zip(weights)
            .map(|(key, weight)| Hashed { key, weight: share(weight) })
            .collect();
        Maglev::new(&hosts, size)
    }

    fn keys(count: usize) -> Vec<String> {
        (0..count).map(|host| format!("10.0.0.{host}:80")).collect()
    }

    #[test]
    fn removing_an_endpoint_moves_little_more_than_its_own_keys() {
        let all = keys(10);
        let before = table(&all, &[1; 10], 65_537);
        let after = table(&all[..9], &[1; 9], 65_537);
        let moved = randoms(10_000).filter(|hash| before.at(*hash, 0) != after.at(*hash, 0));
        let moved = moved.count();
        assert!((900..1900).contains(&moved), "{moved} of 10,000");
    }

    #[test]
    fn order_of_configuration_does_not_matter() {
        let all = keys(10);
        let mut turned = all.clone();
        turned.reverse();
        let (a, b) = (table(&all, &[1; 10], 10_007), table(&turned, &[1; 10], 10_007));
        assert!(randoms(1000).all(|hash| all[a.at(hash, 0)] == turned[b.at(hash, 0)]));
    }

    #[test]
    fn further_attempts_go_elsewhere() {
        let all = keys(10);
        let table = table(&all, &[1; 10], 10_007);
        let seen: std::collections::HashSet<_> = (0..64).map(|n| table.at(7, n)).collect();
        assert!(seen.len() > 5);
    }

    proptest! {
        #[test]
        fn places_follow_the_weights(
            weights in prop::collection::vec(1_u32..50, 1..15),
            size in prop::sample::select(vec![1009_u64, 10_007, 65_537]),
        ) {
            let table = table(&keys(weights.len()), &weights, size);
            prop_assert_eq!(table.places.len() as u64, size);
            let total: u32 = weights.iter().sum();
            for (index, weight) in (0..).zip(&weights) {
                let got = table.places.iter().filter(|place| **place == index).count() as f64;
                let want = f64::from(*weight) / f64::from(total) * size as f64;
                prop_assert!((got - want).abs() <= 2.0 + want * 0.02, "{got} for {want}");
            }
        }
    }
}

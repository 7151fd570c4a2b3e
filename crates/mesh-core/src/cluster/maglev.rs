//! Maglev tables, entry for entry as Envoy builds them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

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
        // By turn and in order. Most turns are none of a light one's: looking at each in all of
        // them would take the table's size times their number.
        let mut due: BinaryHeap<_> = (0..fillers.len()).map(|at| Reverse((1, at))).collect();
        for _ in 0..size {
            let Some(mut first) = due.peek_mut() else { break };
            let Reverse((turn, at)) = *first;
            let filler = &mut fillers[at];
            filler.target += heaviest;
            filler.take(&mut places);
            match filler.next_turn(turn + 1) {
                Some(next) => *first = Reverse((next, at)),
                None => drop(PeekMut::pop(first)),
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
    /// Its first turn from that one on; `None` when it has no weight.
    fn next_turn(&self, from: u64) -> Option<u64> {
        let is_due = |turn: u64| turn as f64 * self.weight >= self.target;
        if is_due(from) {
            return Some(from);
        }
        if self.weight <= 0.0 {
            return None;
        }
        // Rounded; the rule is the product, and the quotient is off by one at most.
        let near = ((self.target / self.weight) as u64).max(from + 1);
        let mut turns = [near - 1, near, near + 1].into_iter();
        Some(turns.find(|turn| *turn > from && is_due(*turn)).unwrap_or(near + 2))
    }

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

    #[test]
    fn many_light_endpoints_beside_a_heavy_one_do_not_slow_it_down() {
        let all: Vec<String> = (0..10_001).map(|host| format!("host-{host}:80")).collect();
        let mut weights = vec![1; 10_001];
        weights[0] = 1_000_000;
        let begun = std::time::Instant::now();
        let table = table(&all, &weights, 1_000_003);
        let heavy = table.places.iter().filter(|place| **place == 0).count();
        assert!(heavy > 980_000, "{heavy}");
        // Turn by turn it were ten thousand million steps.
        assert!(begun.elapsed() < std::time::Duration::from_secs(20));
    }

    /// Turn by turn, as Envoy describes it.
    fn naive(keys: &[String], weights: &[u32], size: u64) -> Vec<u32> {
        let total: u32 = weights.iter().sum();
        let share = |at: usize| f64::from(weights[at]) / f64::from(total);
        let heaviest = (0..keys.len()).map(share).fold(0.0, f64::max);
        let mut order: Vec<usize> = (0..keys.len()).collect();
        order.sort_by_key(|at| &keys[*at]);
        let (mut targets, mut next) = (vec![0.0; keys.len()], vec![0; keys.len()]);
        let mut places = vec![FREE; size as usize];
        let mut left = size;
        for turn in 1.. {
            for at in &order {
                if left == 0 {
                    return places;
                }
                if f64::from(turn) * share(*at) < targets[*at] {
                    continue;
                }
                targets[*at] += heaviest;
                let key = keys[*at].as_bytes();
                let (offset, skip) = (xx_hash(key, 0) % size, xx_hash(key, 1) % (size - 1) + 1);
                loop {
                    let place = ((offset + skip * next[*at]) % size) as usize;
                    next[*at] += 1;
                    if places[place] == FREE {
                        places[place] = *at as u32;
                        break;
                    }
                }
                left -= 1;
            }
        }
        places
    }

    proptest! {
        #[test]
        fn tables_are_those_of_turns(
            weights in prop::collection::vec(prop_oneof![1_u32..9, 1_u32..100_000], 1..30),
            size in prop::sample::select(vec![101_u64, 1009, 10_007]),
        ) {
            let keys = keys(weights.len());
            let found = table(&keys, &weights, size);
            prop_assert_eq!(&*found.places, &naive(&keys, &weights, size)[..]);
        }

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

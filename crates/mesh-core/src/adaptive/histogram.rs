//! Latencies by their first two digits, as in the histograms of Envoy, without a lock.

use std::sync::atomic::{AtomicU32, Ordering};

/// Buckets below 100 µs: one each.
const SMALL: usize = 100;
/// Buckets of each power of ten above: from 10 to 99.
const OF_DECADE: usize = 90;
/// Powers of ten: up to 1,000 s, which counts for all above.
const DECADES: usize = 7;
const BUCKETS: usize = SMALL + OF_DECADE * DECADES;

#[derive(Debug)]
pub(super) struct Histogram {
    buckets: Box<[AtomicU32]>,
    count: AtomicU32,
}

impl Default for Histogram {
    fn default() -> Self {
        let buckets = (0..BUCKETS).map(|_| AtomicU32::new(0)).collect();
        Self { buckets, count: AtomicU32::new(0) }
    }
}

impl Histogram {
    /// Adds a latency in microseconds; how many there are now.
    pub(super) fn add(&self, micros: u64) -> u32 {
        self.buckets[bucket(micros)].fetch_add(1, Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::AcqRel).wrapping_add(1)
    }

    /// The latency that a share of all stays within, in microseconds, and begins anew; `None`
    /// without any.
    pub(super) fn take(&self, share: f64) -> Option<u64> {
        self.count.store(0, Ordering::Release);
        let all: u64 = self.buckets.iter().map(|one| u64::from(one.load(Ordering::Acquire))).sum();
        let wanted = ((all as f64 * share).ceil() as u64).clamp(1, all.max(1));
        let (mut seen, mut found) = (0, None);
        // What comes in between the two looks is only ever more.
        for (at, one) in self.buckets.iter().enumerate() {
            seen += u64::from(one.swap(0, ORDER));
            if found.is_none() && seen >= wanted {
                found = Some(at);
            }
        }
        found.map(middle)
    }

    pub(super) fn clear(&self) {
        self.take(0.0);
    }
}

const ORDER: Ordering = Ordering::AcqRel;

fn bucket(micros: u64) -> usize {
    let (mut value, mut decade) = (micros, 0);
    while value >= SMALL as u64 {
        value /= 10;
        decade += 1;
    }
    match decade {
        0 => value as usize,
        _ if decade > DECADES => BUCKETS - 1,
        _ => SMALL + (decade - 1) * OF_DECADE + (value as usize - 10),
    }
}

/// A value in the middle of a bucket.
fn middle(bucket: usize) -> u64 {
    if bucket < SMALL {
        return bucket as u64;
    }
    let (decade, digits) = ((bucket - SMALL) / OF_DECADE, (bucket - SMALL) % OF_DECADE + 10);
    let width = 10u64.pow(decade as u32 + 1);
    digits as u64 * width + width / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_told_to_two_digits() {
        for value in [0, 1, 99, 100, 104, 1_234, 98_765, 9_999_999, 123_456_789] {
            let histogram = Histogram::default();
            assert_eq!(histogram.add(value), 1);
            let told = histogram.take(0.5).unwrap();
            assert!(told.abs_diff(value) * 20 <= value, "{value}: {told}");
            assert_eq!(histogram.take(0.5), None);
        }
        let histogram = Histogram::default();
        histogram.add(u64::MAX);
        assert!(histogram.take(1.0).unwrap() > 900_000_000);
    }

    #[test]
    fn shares_are_of_all_values() {
        let histogram = Histogram::default();
        (1..=99).for_each(|value| {
            histogram.add(value);
        });
        assert_eq!(histogram.take(0.5), Some(50));
        (1..=99).for_each(|value| {
            histogram.add(value);
        });
        assert_eq!(histogram.take(0.99), Some(99));
    }
}

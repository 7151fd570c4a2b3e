//! Which priority takes which share of requests, as Envoy computes it.

/// What is known of a priority's endpoints.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Census {
    /// All endpoints.
    pub(super) hosts: u32,
    /// Those that do not count, because they leave by themselves (DRAINING).
    pub(super) excluded: u32,
    pub(super) healthy: u32,
    pub(super) degraded: u32,
    /// The same in weights.
    pub(super) weight: Weights,
    /// `overprovisioning_factor`, in per cent.
    pub(super) overprovisioning_factor: u32,
    /// Whether health is counted in weights.
    pub(super) by_weight: bool,
}

/// Sums of weights.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Weights {
    pub(super) hosts: u64,
    pub(super) excluded: u64,
    pub(super) healthy: u64,
    pub(super) degraded: u64,
}

/// A priority's part of all requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PriorityLoad {
    /// Per cent of requests for its healthy endpoints.
    pub healthy: u32,
    /// Per cent of requests for its degraded endpoints.
    pub degraded: u32,
    /// Whether so few are healthy that health is ignored.
    pub panic: bool,
}

impl Census {
    /// Per cent of the load this many of its endpoints can take.
    fn availability(&self, part: u32, weight: u64) -> u32 {
        let (part, total) = match self.by_weight {
            true => (weight, self.weight.hosts - self.weight.excluded),
            false => (u64::from(part), u64::from(self.hosts - self.excluded)),
        };
        let scaled = u128::from(self.overprovisioning_factor) * u128::from(part);
        scaled.checked_div(u128::from(total)).unwrap_or(0).min(100) as u32
    }

    fn is_below(&self, panic_threshold: u32) -> bool {
        let counted = self.hosts - self.excluded;
        let usable = f64::from(self.healthy) + f64::from(self.degraded);
        let percent = if counted == 0 { 0.0 } else { 100.0 * usable / f64::from(counted) };
        percent < f64::from(panic_threshold)
    }
}

/// The share of each priority; they add up to 100 when there is any.
pub(super) fn loads(priorities: &[Census], panic_threshold: u32) -> Vec<PriorityLoad> {
    let mut loads = vec![PriorityLoad::default(); priorities.len()];
    let of = |census: &Census, part, weight| census.availability(part, weight);
    let healthy: Vec<u32> = priorities.iter().map(|c| of(c, c.healthy, c.weight.healthy)).collect();
    let degraded: Vec<u32> =
        priorities.iter().map(|c| of(c, c.degraded, c.weight.degraded)).collect();
    let total = healthy.iter().chain(&degraded).fold(0, |sum: u32, part| sum.saturating_add(*part));
    let total = total.min(100);
    if total > 0 {
        let (healthy, left) = distribute(&healthy, 100, total);
        let (degraded, left) = distribute(&degraded, left, total);
        for (load, (healthy, degraded)) in loads.iter_mut().zip(healthy.iter().zip(&degraded)) {
            (load.healthy, load.degraded) = (*healthy, *degraded);
        }
        // What rounding left goes to the first that has anything.
        if let Some(first) = loads.iter_mut().find(|load| load.healthy > 0) {
            first.healthy += left;
        } else if let Some(first) = loads.iter_mut().find(|load| load.degraded > 0) {
            first.degraded += left;
        }
    }
    if panic_threshold == 0 && total == 0 {
        if let Some(first) = loads.first_mut() {
            first.healthy = 100;
        }
        return loads;
    }
    // With enough over all priorities there is no panic in any.
    for (load, census) in loads.iter_mut().zip(priorities) {
        load.panic = total < 100 && census.is_below(panic_threshold);
    }
    if loads.iter().all(|load| load.panic) {
        in_total_panic(priorities, &mut loads);
    }
    loads
}

/// The share of each priority where some are excluded, by what the others can take; `None` when they
/// can take nothing. As Envoy's `previous_priorities`, which knows no panic.
pub(super) fn loads_without(priorities: &[Census], excluded: &[u32]) -> Option<Vec<PriorityLoad>> {
    let available = |part: fn(&Census) -> u32| -> Vec<u32> {
        let of = |(priority, census): (u32, &Census)| match excluded.contains(&priority) {
            true => 0,
            false => part(census),
        };
        (0..).zip(priorities).map(of).collect()
    };
    let healthy = available(|census| census.availability(census.healthy, census.weight.healthy));
    let degraded = available(|census| census.availability(census.degraded, census.weight.degraded));
    let total = healthy.iter().chain(&degraded).fold(0, |sum: u32, part| sum.saturating_add(*part));
    let total = Some(total.min(100)).filter(|total| *total > 0)?;
    let mut loads = vec![PriorityLoad::default(); priorities.len()];
    let mut left = 100;
    // What rounding leaves is shared in the same way.
    while left > 0 {
        let (more, after) = distribute(&healthy, left, total);
        let (worse, after) = distribute(&degraded, after, total);
        for (load, (healthy, degraded)) in loads.iter_mut().zip(more.iter().zip(&worse)) {
            load.healthy += healthy;
            load.degraded += degraded;
        }
        left = after;
    }
    Some(loads)
}

/// As much as each can take, from the first on, until nothing is left.
fn distribute(availability: &[u32], mut left: u32, total: u32) -> (Vec<u32>, u32) {
    let take = |available: &u32| {
        let taken = left.min(available * 100 / total);
        left -= taken;
        taken
    };
    let taken = availability.iter().map(take).collect();
    (taken, left)
}

/// Nobody knows what works: every endpoint gets the same.
fn in_total_panic(priorities: &[Census], loads: &mut [PriorityLoad]) {
    let total: u64 = priorities.iter().map(|census| u64::from(census.hosts)).sum();
    if total == 0 {
        if let Some(first) = loads.first_mut() {
            (first.healthy, first.degraded) = (100, 0);
        }
        return;
    }
    let mut left = 100;
    for (load, census) in loads.iter_mut().zip(priorities) {
        load.healthy = (100 * u64::from(census.hosts) / total) as u32;
        load.degraded = 0;
        left -= load.healthy;
    }
    let first = priorities.iter().position(|census| census.hosts > 0);
    loads[first.expect("the total is not 0")].healthy += left;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn census(hosts: u32, healthy: u32, degraded: u32) -> Census {
        let overprovisioning_factor = 140;
        Census { hosts, healthy, degraded, overprovisioning_factor, ..Census::default() }
    }

    /// Healthy, degraded, panic.
    type Share = (u32, u32, bool);

    fn shares(priorities: &[Census], threshold: u32) -> Vec<Share> {
        let loads = loads(priorities, threshold);
        loads.iter().map(|load| (load.healthy, load.degraded, load.panic)).collect()
    }

    #[test]
    fn first_priority_keeps_its_load_until_28_percent_are_gone() {
        let want = [100, 100, 100, 98, 84, 70, 56];
        for (sick, want) in (0..).zip(want) {
            let found = shares(&[census(10, 10 - sick, 0), census(10, 10, 0)], 50);
            assert_eq!(found, [(want, 0, false), (100 - want, 0, false)], "{sick} of 10 are sick");
        }
    }

    #[test]
    fn shares_as_envoy_documents_them() {
        let table: &[(&[Census], u32, &[Share])] = &[
            // One priority: panic below the threshold only.
            (&[census(10, 5, 0)], 50, &[(100, 0, false)]),
            (&[census(10, 4, 0)], 50, &[(100, 0, true)]),
            (&[census(10, 4, 0)], 0, &[(100, 0, false)]),
            (&[census(10, 0, 0)], 0, &[(100, 0, false)]),
            (&[census(0, 0, 0)], 50, &[(100, 0, true)]),
            // Degraded ones take what is left, before any priority panics.
            (&[census(10, 0, 10)], 50, &[(0, 100, false)]),
            (&[census(10, 5, 5)], 50, &[(70, 30, false)]),
            (&[census(10, 2, 0), census(10, 2, 6)], 50, &[(28, 0, false), (28, 44, false)]),
            // All in panic: by the number of endpoints.
            (&[census(10, 1, 0), census(30, 3, 0)], 50, &[(25, 0, true), (75, 0, true)]),
            (&[census(3, 0, 0), census(6, 0, 0)], 50, &[(34, 0, true), (66, 0, true)]),
            // An empty priority is in panic, and has no load.
            (&[census(0, 0, 0), census(5, 5, 0)], 50, &[(0, 0, false), (100, 0, false)]),
            (&[census(0, 0, 0), census(5, 3, 0)], 50, &[(0, 0, true), (100, 0, false)]),
        ];
        for (priorities, threshold, want) in table {
            assert_eq!(shares(priorities, *threshold), *want, "{priorities:?}");
        }
    }

    #[test]
    fn leaving_endpoints_do_not_count() {
        let leaving = Census { excluded: 5, ..census(10, 5, 0) };
        assert_eq!(shares(&[leaving, census(1, 1, 0)], 50)[0], (100, 0, false));
    }

    #[test]
    fn health_is_counted_in_weights_when_asked() {
        let weight = Weights { hosts: 100, healthy: 50, ..Weights::default() };
        let heavy = Census { weight, by_weight: true, ..census(10, 9, 0) };
        assert_eq!(shares(&[heavy, census(1, 1, 0)], 50)[0].0, 70);
    }

    proptest! {
        #[test]
        fn shares_add_up_to_all(
            list in prop::collection::vec((0_u32..50, 0_u32..50, 0_u32..50, 100_u32..300), 1..6),
            threshold in 0_u32..=100,
        ) {
            let of = |(healthy, degraded, sick, overprovisioning_factor)| Census {
                overprovisioning_factor,
                ..census(healthy + degraded + sick, healthy, degraded)
            };
            let priorities: Vec<Census> = list.into_iter().map(of).collect();
            let loads = loads(&priorities, threshold);
            let sum: u32 = loads.iter().map(|load| load.healthy + load.degraded).sum();
            prop_assert_eq!(sum, 100, "{:?}", loads);
            for (load, census) in loads.iter().zip(&priorities) {
                if !load.panic && load.healthy > 0 && threshold > 0 {
                    prop_assert!(census.healthy > 0);
                }
            }
        }
    }
}

//! What checks say of an endpoint's health, by Envoy's rules.
//!
//! The first check decides alone, so that a start is quick: one success makes an endpoint healthy,
//! and one failure of any kind leaves it unhealthy. Later on a wrong answer makes it unhealthy at
//! once, no answer only several times in a row, and to become healthy takes several in a row.

use std::time::Duration;

use crate::draws::Draws;
use crate::resource::HealthCheck;

/// How one check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Checked {
    /// As it should.
    Good,
    /// With a wrong answer.
    Wrong,
    /// With an answer that counts as none (`retriable_statuses`).
    Retriable,
    /// Without an answer: no connection, a broken one, or too late.
    Unanswered,
}

/// What a check changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Transition {
    /// Nothing.
    Unchanged,
    /// Nothing yet; some more like it will.
    Pending,
    /// The endpoint's health.
    Changed,
}

/// What is known of one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckedHealth {
    is_healthy: bool,
    is_first: bool,
    /// In a row.
    good: u32,
    bad: u32,
}

impl CheckedHealth {
    /// An endpoint that was not checked yet.
    pub fn new() -> Self {
        Self { is_healthy: false, is_first: true, good: 0, bad: 0 }
    }

    /// Whether it is healthy, as far as was checked; not before the first check.
    pub fn is_healthy(&self) -> bool {
        self.is_healthy
    }

    /// Whether it was not checked yet.
    pub fn is_unknown(&self) -> bool {
        self.is_first
    }

    /// Takes what a check found.
    pub fn observe(&mut self, spec: &HealthCheck, checked: Checked) -> Transition {
        let is_first = std::mem::replace(&mut self.is_first, false);
        if checked == Checked::Good {
            self.bad = 0;
            if self.is_healthy {
                return Transition::Unchanged;
            }
            self.good += 1;
            if !is_first && self.good < spec.healthy_threshold {
                return Transition::Pending;
            }
            self.is_healthy = true;
            return Transition::Changed;
        }
        self.good = 0;
        if !self.is_healthy {
            // Nobody was told of its health before the first check.
            return if is_first { Transition::Changed } else { Transition::Unchanged };
        }
        self.bad += 1;
        if checked != Checked::Wrong && self.bad < spec.unhealthy_threshold {
            return Transition::Pending;
        }
        self.is_healthy = false;
        self.bad = 0;
        Transition::Changed
    }

    /// How long until the next check. `had_traffic` tells whether the cluster was ever connected to.
    pub fn next_check(
        &self,
        spec: &HealthCheck,
        checked: Checked,
        transition: Transition,
        had_traffic: bool,
        random: u64,
    ) -> Duration {
        let pending = transition == Transition::Pending;
        let base = match (had_traffic, checked == Checked::Good) {
            (false, true) if !pending => spec.no_traffic_healthy_interval,
            (false, _) => spec.no_traffic_interval,
            (true, true) if pending => spec.healthy_edge_interval,
            (true, true) => spec.interval,
            (true, false) if pending => spec.unhealthy_edge_interval,
            (true, false) => spec.unhealthy_interval,
        };
        let mut draws = Draws::new(random);
        let share = base.saturating_mul(spec.interval_jitter_percent) / 100;
        let wait = base + part(share, &mut draws) + part(spec.interval_jitter, &mut draws);
        wait.max(MIN_INTERVAL)
    }

    /// How long until the first check.
    pub fn first_check(spec: &HealthCheck, random: u64) -> Duration {
        part(spec.initial_jitter, &mut Draws::new(random))
    }
}

impl Default for CheckedHealth {
    fn default() -> Self {
        Self::new()
    }
}

/// A random part of a time, in milliseconds.
fn part(of: Duration, draws: &mut Draws) -> Duration {
    let millis = u64::try_from(of.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 { Duration::ZERO } else { Duration::from_millis(draws.remainder(millis)) }
}

/// Envoy's least time between two checks.
const MIN_INTERVAL: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::{HealthChecker, TcpHealthCheck};
    use Checked::{Good, Retriable, Unanswered, Wrong};

    fn spec(unhealthy: u32, healthy: u32) -> HealthCheck {
        let checker = HealthChecker::Tcp(TcpHealthCheck::default());
        let second = Duration::from_secs(1);
        HealthCheck::new(checker, second, second, unhealthy, healthy)
    }

    /// The health after each check.
    fn healths(spec: &HealthCheck, checks: &[Checked]) -> Vec<bool> {
        let mut health = CheckedHealth::new();
        let each = checks.iter().map(|checked| {
            health.observe(spec, *checked);
            health.is_healthy()
        });
        each.collect()
    }

    #[test]
    fn health_follows_checks_as_in_envoy() {
        let table: [(&str, &[Checked], &[bool]); 7] = [
            ("one success suffices for the first", &[Good], &[true]),
            (
                "after a first failure it takes the threshold",
                &[Unanswered, Good, Good, Good],
                &[false, false, false, true],
            ),
            ("a wrong answer counts at once", &[Good, Wrong], &[true, false]),
            (
                "no answer counts by the threshold",
                &[Good, Unanswered, Unanswered],
                &[true, true, false],
            ),
            (
                "a retriable answer counts as none",
                &[Good, Retriable, Unanswered],
                &[true, true, false],
            ),
            (
                "a success between begins the count anew",
                &[Good, Unanswered, Good, Unanswered, Unanswered],
                &[true, true, true, true, false],
            ),
            (
                "a failure between begins the count anew",
                &[Wrong, Good, Good, Wrong, Good, Good, Good],
                &[false, false, false, false, false, false, true],
            ),
        ];
        for (what, checks, expected) in table {
            assert_eq!(healths(&spec(2, 3), checks), expected, "{what}");
        }
    }

    #[test]
    fn changes_are_told_once() {
        let (spec, mut health) = (spec(2, 2), CheckedHealth::new());
        let table = [
            (Unanswered, Transition::Changed),
            (Unanswered, Transition::Unchanged),
            (Good, Transition::Pending),
            (Good, Transition::Changed),
            (Good, Transition::Unchanged),
            (Unanswered, Transition::Pending),
            (Unanswered, Transition::Changed),
        ];
        for (checked, expected) in table {
            assert_eq!(health.observe(&spec, checked), expected);
        }
    }

    #[test]
    fn each_state_has_its_own_interval() {
        let mut spec = spec(3, 3);
        let seconds = Duration::from_secs;
        spec.unhealthy_interval = seconds(2);
        spec.unhealthy_edge_interval = seconds(3);
        spec.healthy_edge_interval = seconds(4);
        spec.no_traffic_interval = seconds(5);
        spec.no_traffic_healthy_interval = seconds(6);
        let (health, changed) = (CheckedHealth::new(), Transition::Changed);
        let table = [
            (Good, changed, true, 1),
            (Good, Transition::Unchanged, true, 1),
            (Good, Transition::Pending, true, 4),
            (Wrong, changed, true, 2),
            (Unanswered, Transition::Unchanged, true, 2),
            (Unanswered, Transition::Pending, true, 3),
            (Good, changed, false, 6),
            (Good, Transition::Pending, false, 5),
            (Unanswered, changed, false, 5),
        ];
        for (checked, transition, traffic, expected) in table {
            let next = health.next_check(&spec, checked, transition, traffic, 7);
            assert_eq!(next, seconds(expected), "{checked:?} {transition:?} {traffic}");
        }
    }

    #[test]
    fn jitter_is_added_and_stays_below_its_bounds() {
        let mut spec = spec(1, 1);
        spec.interval_jitter = Duration::from_millis(100);
        spec.interval_jitter_percent = 50;
        spec.initial_jitter = Duration::from_millis(300);
        let health = CheckedHealth::new();
        let mut seen = Vec::new();
        for random in 0..1000_u64 {
            let random = random.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let next = health.next_check(&spec, Good, Transition::Unchanged, true, random);
            assert!((1000..1600).contains(&next.as_millis()), "{next:?}");
            assert!(CheckedHealth::first_check(&spec, random).as_millis() < 300);
            seen.push(next);
        }
        seen.sort_unstable();
        assert!(seen[0].as_millis() < 1100 && seen[999].as_millis() > 1500, "{seen:?}");
    }
}

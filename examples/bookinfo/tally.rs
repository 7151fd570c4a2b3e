//! What became of each request, and what follows from it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

/// A part of the run; failures are told by the stage in which the request began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stage(pub(crate) usize);

/// The edits, the time without a control plane, and the edit after its return.
pub(crate) const STAGES: usize = 6;

/// Edits are counted from 1; 0 is not used.
pub(crate) const GENERATIONS: usize = 6;

/// One page, as its response headers tell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) jason: bool,
    /// Of the route that was taken to reviews.
    pub(crate) generation: usize,
    /// 0 for v1 and so on.
    pub(crate) version: usize,
    pub(crate) decided_at_us: u64,
}

/// Counts so far, shared by all requests.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    counts: Mutex<Counts>,
    stage: AtomicUsize,
    changed: Notify,
}

/// Sums of answers and failures.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    /// By generation, then others and jason, then version.
    served: [[[u64; 3]; 2]; GENERATIONS],
    last_decided_us: [u64; GENERATIONS],
    answered: [u64; STAGES],
    failed: [u64; STAGES],
    /// Of the first failures.
    pub(crate) reasons: Vec<String>,
}

impl Tally {
    pub(crate) fn begin(&self, stage: Stage) {
        self.stage.store(stage.0, Ordering::Relaxed);
    }

    pub(crate) fn stage(&self) -> Stage {
        Stage(self.stage.load(Ordering::Relaxed))
    }

    pub(crate) fn answered(&self, stage: Stage, answer: Answer) {
        self.update(|counts| counts.answered(stage, answer));
    }

    pub(crate) fn failed(&self, stage: Stage, reason: String) {
        self.update(|counts| counts.failed(stage, reason));
    }

    /// Waits until `requests` have taken routes of `generation`; whether that came in time.
    pub(crate) async fn served(&self, generation: usize, requests: u64, within: Duration) -> bool {
        let enough = async {
            loop {
                // Before the look, so that no change falls in between.
                let changed = self.changed.notified();
                if self.counts().of_generation(generation) >= requests {
                    return;
                }
                changed.await;
            }
        };
        timeout(within, enough).await.is_ok()
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts.lock().expect("no panic while held").clone()
    }

    fn update(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.counts.lock().expect("no panic while held"));
        self.changed.notify_waiters();
    }
}

impl Counts {
    fn answered(&mut self, stage: Stage, answer: Answer) {
        let Answer { jason, generation, version, decided_at_us } = answer;
        self.answered[stage.0] += 1;
        self.served[generation][usize::from(jason)][version] += 1;
        let last = &mut self.last_decided_us[generation];
        *last = decided_at_us.max(*last);
    }

    fn failed(&mut self, stage: Stage, reason: String) {
        self.failed[stage.0] += 1;
        if self.reasons.len() < MAX_REASONS {
            self.reasons.push(reason);
        }
    }

    /// By version, those who took routes of `generation`: jason, the others, or both.
    pub(crate) fn by_version(&self, generation: usize, who: Who) -> [u64; 3] {
        let [others, jason] = self.served[generation];
        match who {
            Who::Jason => jason,
            Who::Others => others,
            Who::Everyone => std::array::from_fn(|version| others[version] + jason[version]),
        }
    }

    pub(crate) fn of_generation(&self, generation: usize) -> u64 {
        self.by_version(generation, Who::Everyone).iter().sum()
    }

    /// Answers to requests that began in `stage`.
    pub(crate) fn of_stage(&self, stage: Stage) -> u64 {
        self.answered[stage.0]
    }

    pub(crate) fn failed_in(&self, stage: Stage) -> u64 {
        self.failed[stage.0]
    }

    /// How long after `saved_at_us`, when `generation` was written, a request was still decided
    /// on an older one.
    pub(crate) fn old_routes_for(&self, generation: usize, saved_at_us: u64) -> Duration {
        let last = self.last_decided_us[..generation].iter().max();
        Duration::from_micros(last.copied().unwrap_or_default().saturating_sub(saved_at_us))
    }
}

/// Whose requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Everyone,
    Jason,
    Others,
}

/// What is tolerated between a share and the percentage configured: five standard deviations of
/// `requests` independent draws, in percentage points. 1.5 for 90 % of 10,000; 0 for all or none.
///
/// Five, because a run looks at several shares and its draws are others each time: beyond three is
/// one share in 370 by chance alone, beyond five one in 1.7 million.
pub(crate) fn tolerance(percent: u32, requests: u64) -> f64 {
    let share = f64::from(percent) / 100.0;
    500.0 * (share * (1.0 - share) / requests.max(1) as f64).sqrt()
}

/// Enough to see what is wrong.
const MAX_REASONS: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(generation: usize, version: usize, decided_at_us: u64) -> Answer {
        Answer { jason: version == 1, generation, version, decided_at_us }
    }

    #[test]
    fn tolerates_one_and_a_half_points_for_ninety_percent_of_ten_thousand() {
        assert!((tolerance(90, 10_000) - 1.5).abs() < 1e-9);
        assert_eq!(tolerance(100, 10), 0.0);
        assert_eq!(tolerance(0, 10), 0.0);
    }

    #[test]
    fn old_routes_last_until_the_latest_older_decision() {
        let mut counts = Counts::default();
        for (generation, at) in [(1, 900), (2, 1_500), (1, 1_400), (3, 9_000)] {
            counts.answered(Stage(0), answer(generation, 0, at));
        }
        assert_eq!(counts.old_routes_for(2, 1_000), Duration::from_micros(400));
        assert_eq!(counts.old_routes_for(3, 2_000), Duration::ZERO);
    }

    #[test]
    fn counts_by_generation_version_and_user() {
        let mut counts = Counts::default();
        for version in [0, 0, 1] {
            counts.answered(Stage(2), answer(3, version, 1));
        }
        assert_eq!(counts.by_version(3, Who::Everyone), [2, 1, 0]);
        assert_eq!(counts.by_version(3, Who::Jason), [0, 1, 0]);
        assert_eq!(counts.by_version(3, Who::Others), [2, 0, 0]);
        assert_eq!((counts.of_generation(3), counts.of_stage(Stage(2))), (3, 3));
    }

    #[tokio::test]
    async fn waits_for_enough_answers() {
        let tally = Tally::default();
        let within = Duration::from_secs(5);
        let (came, ()) = tokio::join!(tally.served(1, 2, within), async {
            tally.answered(Stage(0), answer(1, 0, 1));
            tally.answered(Stage(0), answer(1, 0, 2));
        });
        assert!(came);
        assert!(!tally.served(1, 3, Duration::ZERO).await);
    }
}

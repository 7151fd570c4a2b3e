//! Rounds: one batch of every contender, in an order that turns.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::contender::{Batch, Bench, BoxError, Caller, Contender};
use crate::plan::Plan;

/// What one contender took per request, round by round, in nanoseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples {
    /// CPU time of the one thread that everything runs on.
    pub(crate) cpu: Series,
    /// Time that passed.
    pub(crate) wall: Series,
}

/// One figure of every round, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Series(Vec<f64>);

impl Series {
    /// Adds the next round's figure.
    pub(crate) fn push(&mut self, figure: f64) {
        self.0.push(figure);
    }

    /// The figures with those of the same rounds taken off.
    pub(crate) fn minus(&self, other: &Self) -> Self {
        self.with(other, |figure, other| figure - other)
    }

    /// The figures as multiples of those of the same rounds.
    pub(crate) fn over(&self, other: &Self) -> Self {
        self.with(other, |figure, other| figure / other)
    }

    /// The middle figure.
    pub(crate) fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    }

    /// The least and the greatest figure.
    pub(crate) fn range(&self) -> (f64, f64) {
        let least = self.0.iter().copied().fold(f64::INFINITY, f64::min);
        let greatest = self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        (least, greatest)
    }

    fn with(&self, other: &Self, with: impl Fn(f64, f64) -> f64) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(figure, other)| with(*figure, *other)).collect())
    }
}

/// Runs every contender in every round; gives their samples in the order of `contenders`.
pub(crate) fn run(
    bench: &Bench<'_>,
    plan: &Plan,
    from: Caller,
    contenders: &[Contender],
) -> Result<Vec<Samples>, BoxError> {
    let batches: Vec<_> = contenders
        .iter()
        .map(|contender| calibrate(bench, plan, from, contender))
        .collect::<Result<_, _>>()?;
    let mut samples = vec![Samples::default(); contenders.len()];
    for round in 0..plan.rounds {
        for turn in 0..contenders.len() {
            let at = (round + turn) % contenders.len();
            // The contenders before it took the caches.
            let warm = Batch { requests: batches[at].requests / 2, ..batches[at] };
            contenders[at].run(bench.runtime, warm)?;
            let (cpu, wall) = timed(bench, &contenders[at], batches[at])?;
            let each = |time: Duration| time.as_nanos() as f64 / batches[at].requests as f64;
            samples[at].cpu.push(each(cpu));
            samples[at].wall.push(each(wall));
        }
    }
    Ok(samples)
}

/// The batch that takes about as long as planned. Also makes all that is made on first use.
fn calibrate(
    bench: &Bench<'_>,
    plan: &Plan,
    from: Caller,
    contender: &Contender,
) -> Result<Batch, BoxError> {
    // Enough for every endpoint of a cluster of 10,000 to get into balancers that learn of them
    // as requests pass.
    const WARM: u64 = 4_800;
    const TRIED: u64 = 1_600;
    contender.start(bench.runtime)?;
    contender.run(bench.runtime, Batch { from, requests: WARM })?;
    let (cpu, _) = timed(bench, contender, Batch { from, requests: TRIED })?;
    let requests = plan.batch.as_nanos() * u128::from(TRIED) / cpu.as_nanos().max(1);
    let requests = u64::try_from(requests).unwrap_or(TRIED);
    let tasks = if let Caller::Tasks(tasks) = from { tasks } else { 1 };
    Ok(Batch { from, requests: requests.max(1).next_multiple_of(tasks) })
}

fn timed(
    bench: &Bench<'_>,
    contender: &Contender,
    batch: Batch,
) -> Result<(Duration, Duration), BoxError> {
    let (cpu, wall) = (thread_time(), Instant::now());
    contender.run(bench.runtime, batch)?;
    Ok((thread_time().saturating_sub(cpu), wall.elapsed()))
}

/// CPU time of this thread.
pub(crate) fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).expect("a thread's time starts at zero")
}

#[cfg(test)]
mod tests {
    use super::Series;

    #[test]
    fn compares_figures_of_the_same_round() {
        let [ours, stub] = [[30.0, 20.0, 90.0], [10.0, 10.0, 80.0]].map(|each| Series(each.into()));
        assert_eq!(ours.minus(&stub).median(), 10.0);
        assert_eq!(ours.minus(&stub).range(), (10.0, 20.0));
        assert_eq!(ours.over(&stub).median(), 2.0);
    }
}

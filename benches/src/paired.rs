//! Contenders that send the same requests in turn, from one thread, over loopback.
//!
//! Rounds are paired and their order turns; a ratio is that of one round, so that what else the
//! machine does counts for all of them.

use std::time::Instant;

use tokio::runtime::Runtime;
use tokio::task::LocalSet;

/// Sends one request after the other.
pub trait Sender: 'static {
    /// Sends a request with that many bytes, and reads the answer.
    fn send(&mut self, bytes: usize) -> impl Future<Output = ()>;
}

/// What one request took in one round, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Took {
    /// Of this thread's CPU.
    pub cpu: f64,
    /// Of time, so that its inverse is the throughput.
    pub time: f64,
}

/// A runtime of one thread.
///
/// # Panics
/// When there can be none.
pub fn runtime() -> Runtime {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime can be built")
}

/// Sends a round's requests, each of `senders` its share.
///
/// # Panics
/// When a request fails.
pub async fn send<S: Sender>(senders: Vec<S>, bytes: usize, requests: usize) -> (Vec<S>, Took) {
    let count = senders.len();
    let each = requests / count;
    let (before, began) = (crate::cpu_time(), Instant::now());
    let start = |mut sender: S| {
        tokio::task::spawn_local(async move {
            for _ in 0..each {
                sender.send(bytes).await;
            }
            sender
        })
    };
    let tasks: Vec<_> = senders.into_iter().map(start).collect();
    let mut senders = Vec::with_capacity(count);
    for task in tasks {
        senders.push(task.await.expect("no request fails"));
    }
    let (cpu, time) = ((crate::cpu_time() - before) as f64, began.elapsed().as_nanos() as f64);
    let sent = (each * count) as f64;
    (senders, Took { cpu: cpu / sent, time: time / sent })
}

/// That many rounds of all contenders, and one before that makes connections; what each took.
pub fn rounds<S: Sender, const N: usize>(
    (runtime, all): (&Runtime, &LocalSet),
    mut contenders: [Vec<S>; N],
    (bytes, requests): (usize, usize),
    rounds: usize,
) -> [Vec<Took>; N] {
    let mut measured = [const { Vec::new() }; N];
    for round in 0..=rounds {
        for turn in 0..N {
            let at = (round + turn) % N;
            let senders = std::mem::take(&mut contenders[at]);
            let (senders, took) = all.block_on(runtime, send(senders, bytes, requests));
            contenders[at] = senders;
            if round > 0 {
                measured[at].push(took);
            }
        }
    }
    measured
}

/// The median and the quarter below which a goal has to be missed to count as missed.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// The 25th percentile.
    pub low: f64,
    /// The 75th percentile.
    pub high: f64,
}

impl Spread {
    /// That of some figures.
    ///
    /// # Panics
    /// When there are none.
    pub fn of(figures: impl Iterator<Item = f64>) -> Self {
        let mut all: Vec<f64> = figures.collect();
        all.sort_by(f64::total_cmp);
        let at = |part: usize| all[(all.len() - 1) * part / 4];
        Self { median: at(2), low: at(1), high: at(3) }
    }

    /// That of the ratios of two contenders' rounds.
    pub fn ratio(these: &[Took], those: &[Took], figure: fn(&Took) -> f64) -> Self {
        Self::of(these.iter().zip(those).map(|(one, other)| figure(one) / figure(other)))
    }
}

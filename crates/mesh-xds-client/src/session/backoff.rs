use std::time::Duration;

/// As good as never, and short enough to be added to a point in time, and multiplied: 30 years, as
/// tokio has it.
pub(crate) const FOREVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// How long to wait before connecting again.
///
/// Waits grow by 1.6 from a base to a cap, each made longer or shorter by up to 20 % so that
/// clients of one server spread out (the gRPC connection backoff). They are counted from the
/// *start* of the attempt that failed: a stream that lived longer than its wait is replaced at
/// once, and a server that answers once and hangs up, in a loop, is still called at most once per
/// base interval.
#[derive(Clone, Debug)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    next: Duration,
}

impl Backoff {
    /// The base wait of gRPC.
    pub const BASE: Duration = Duration::from_secs(1);
    /// The longest wait of gRPC, before jitter.
    pub const CAP: Duration = Duration::from_secs(120);
    const FACTOR: f64 = 1.6;
    const JITTER: f64 = 0.2;

    /// Waits from `base` to `cap`.
    pub fn new(base: Duration, cap: Duration) -> Self {
        let base = base.min(FOREVER);
        let cap = cap.min(FOREVER).max(base);
        Self { base, cap, next: base }
    }

    /// The attempt was answered: the next wait is the base again.
    pub fn reset(&mut self) {
        self.next = self.base;
    }

    /// The wait after an attempt that lasted `lasted`. `random` is uniform in 0 … 1.
    pub fn next_wait(&mut self, lasted: Duration, random: f64) -> Duration {
        let spread = 1.0 - Self::JITTER + 2.0 * Self::JITTER * random.clamp(0.0, 1.0);
        let wait = self.next.mul_f64(spread);
        self.next = self.next.mul_f64(Self::FACTOR).min(self.cap);
        wait.saturating_sub(lasted)
    }
}

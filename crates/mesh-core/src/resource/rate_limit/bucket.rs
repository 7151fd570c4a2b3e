use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// `envoy.type.v3.TokenBucket`, without locks: it fills evenly, and all it keeps is the moment
/// since which it would have had to fill to hold what it holds.
#[derive(Debug)]
pub struct TokenBucket {
    max_tokens: u32,
    per_second: f64,
    /// What moments are counted from: the first one that was told.
    epoch: OnceLock<Instant>,
    /// When it was empty, in seconds, as the bits of a double.
    empty_at: AtomicU64,
}

impl TokenBucket {
    /// A full bucket of so many tokens that gets `tokens_per_fill` in each `fill_interval`, which
    /// is not zero. One of no tokens refuses everything.
    pub fn new(max_tokens: u32, tokens_per_fill: u32, fill_interval: Duration) -> Self {
        let per_second = f64::from(tokens_per_fill) / fill_interval.as_secs_f64();
        let empty_at = AtomicU64::new(0);
        let made = Self { max_tokens, per_second, epoch: OnceLock::new(), empty_at };
        made.fill();
        made
    }

    /// Takes a token; false when there is none.
    ///
    /// Relaxed: the exchange alone decides who gets it.
    pub fn take(&self, now: Instant) -> bool {
        let now = self.seconds(now);
        let order = Ordering::Relaxed;
        let taken = self.empty_at.fetch_update(order, order, |bits| {
            let from = self.from(f64::from_bits(bits), now);
            let tokens = (now - from) * self.per_second;
            (tokens + ROUNDING >= 1.0).then(|| (from + 1.0 / self.per_second).to_bits())
        });
        self.max_tokens > 0 && taken.is_ok()
    }

    /// How many tokens there are, in whole ones.
    pub fn remaining(&self, now: Instant) -> u32 {
        (self.tokens(now) + ROUNDING) as u32
    }

    /// How many there are at most.
    pub fn max_tokens(&self) -> u32 {
        self.max_tokens
    }

    /// How many it gets in a second.
    pub fn per_second(&self) -> f64 {
        self.per_second
    }

    /// How long until there is a token; zero when there is one.
    pub fn until_token(&self, now: Instant) -> Duration {
        let missing = 1.0 - ROUNDING - self.tokens(now);
        Duration::try_from_secs_f64((missing / self.per_second).max(0.0)).unwrap_or(Duration::MAX)
    }

    /// Makes it full: nothing is fuller than a bucket that has filled since ever.
    pub(super) fn fill(&self) {
        self.empty_at.store(f64::NEG_INFINITY.to_bits(), Ordering::Relaxed);
    }

    fn tokens(&self, now: Instant) -> f64 {
        let now = self.seconds(now);
        let from = self.from(f64::from_bits(self.empty_at.load(Ordering::Relaxed)), now);
        ((now - from) * self.per_second).max(0.0)
    }

    /// The moment it fills from, no earlier than makes it full.
    fn from(&self, empty_at: f64, now: f64) -> f64 {
        empty_at.max(now - f64::from(self.max_tokens) / self.per_second)
    }

    fn seconds(&self, now: Instant) -> f64 {
        now.saturating_duration_since(*self.epoch.get_or_init(|| now)).as_secs_f64()
    }
}

/// What doubles lose in sums of moments: a billionth of a token in years of work.
const ROUNDING: f64 = 1e-6;

use std::time::Duration;

/// How long and how much is measured.
#[derive(Debug)]
pub struct Plan {
    /// Rounds; each has one batch of every contender. Odd, so that a median was measured.
    pub(crate) rounds: usize,
    /// What a batch in this process should take, for the number of its requests.
    pub(crate) batch: Duration,
    /// What a batch through Envoy should take.
    pub(crate) envoy_batch: Duration,
    /// Routes or virtual hosts.
    pub(crate) routes: &'static [usize],
    /// Endpoints of each cluster.
    pub(crate) endpoints: &'static [u16],
}

impl Plan {
    /// A minute or two.
    pub fn full() -> Self {
        Self {
            rounds: 15,
            batch: Duration::from_millis(30),
            envoy_batch: Duration::from_millis(200),
            routes: &[1, 10, 100, 1_000, 10_000],
            endpoints: &[10, 100, 1_000, 10_000],
        }
    }

    /// Some seconds.
    pub fn quick() -> Self {
        Self {
            rounds: 7,
            batch: Duration::from_millis(10),
            envoy_batch: Duration::from_millis(60),
            routes: &[1, 100, 10_000],
            endpoints: &[10, 10_000],
        }
    }
}

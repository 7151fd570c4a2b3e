use std::time::Duration;

use super::{Arrival, Chance};

/// Who an [`Echo`](super::Echo) says it is, and what it does by itself.
#[derive(Clone, Debug)]
pub struct Settings {
    pub(super) name: String,
    pub(super) version: Option<String>,
    pub(super) fail: Option<Chance>,
    pub(super) delay: Duration,
    pub(super) seed: Option<u64>,
    pub(super) log: Option<fn(&Arrival<'_>)>,
}

impl Settings {
    /// A server of this name, without a version, that neither fails nor waits by itself.
    pub fn new(name: impl Into<String>) -> Self {
        let (version, fail, seed, log) = (None, None, None, None);
        Self { name: name.into(), version, fail, delay: Duration::ZERO, seed, log }
    }

    /// Tells this version beside the name.
    pub fn with_version(self, version: impl Into<String>) -> Self {
        Self { version: Some(version.into()), ..self }
    }

    /// Answers a share of the requests with a status, where the request does not say itself.
    pub fn with_fail(self, fail: Chance) -> Self {
        Self { fail: Some(fail), ..self }
    }

    /// Waits this long before every answer, in addition to what the request asks for.
    pub fn with_delay(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// Fixes the draws of percentages. They then depend on the order of requests alone.
    pub fn with_seed(self, seed: u64) -> Self {
        Self { seed: Some(seed), ..self }
    }

    /// Hands every request to `log` when its head has arrived, before anything is done with it.
    pub fn with_log(self, log: fn(&Arrival<'_>)) -> Self {
        Self { log: Some(log), ..self }
    }
}

use std::sync::Arc;
use std::time::Duration;

use mesh_core::cluster::LoadStats;
use mesh_core::resource::Name;

use super::resolver::{Resolve, SystemResolver};
use crate::bootstrap::Ask;
use crate::connecting::Settings;
use crate::decode::Context;
use crate::session::{Backoff, FOREVER};

/// Settings of a [`Client`](super::Client). A duration as long as can be written means no limit.
#[derive(Clone, Debug)]
pub struct Options {
    pub(super) keep_alive_interval: Duration,
    pub(super) keep_alive_timeout: Duration,
    pub(super) connect_timeout: Duration,
    pub(super) max_message_bytes: usize,
    pub(super) backoff: Backoff,
    pub(super) probe_interval: Option<Duration>,
    pub(super) responses_ahead: usize,
    pub(super) delta: bool,
    pub(super) ask: Option<Ask>,
    pub(super) resolver: Arc<dyn Resolve>,
    pub(super) unsubscribe_delay: Duration,
    pub(super) load_stats: Option<Arc<LoadStats>>,
    pub(super) own_secrets: Vec<Name>,
    pub(super) regex_program_size: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            // A dead connection is noticed within 40 s, at the cost of two pings a minute.
            keep_alive_interval: Duration::from_secs(30),
            keep_alive_timeout: Duration::from_secs(10),
            // Below the 15 s a first request waits, so that it fails with this as its reason.
            connect_timeout: Duration::from_secs(5),
            // Some 100,000 endpoints, or 50,000 routes. More is a fault of the control plane.
            max_message_bytes: 64 << 20,
            backoff: Backoff::new(Backoff::BASE, Backoff::CAP),
            // With its jitter, the attempt, and the answers, within a second.
            probe_interval: Some(Duration::from_millis(600)),
            // A guess: what comes while one large configuration is compiled, and not much more.
            responses_ahead: 64,
            delta: false,
            ask: None,
            resolver: Arc::new(SystemResolver),
            // As long as an answer may take (gRFC A57): whoever edits a rule twice, or opens a
            // channel again, mostly does so within it.
            unsubscribe_delay: Duration::from_secs(15),
            load_stats: None,
            own_secrets: Vec::new(),
            regex_program_size: Context::ISTIO_REGEX_PROGRAM_SIZE,
        }
    }
}

impl Options {
    pub(super) fn connecting(&self) -> Settings {
        Settings {
            connect_timeout: self.connect_timeout,
            keep_alive_interval: self.keep_alive_interval,
            keep_alive_timeout: self.keep_alive_timeout,
        }
    }

    /// Sets how the control plane is asked; as the [bootstrap](crate::Bootstrap::ask) says when not
    /// set.
    #[must_use]
    pub fn with_ask(mut self, ask: Ask) -> Self {
        self.ask = Some(ask);
        self
    }

    /// Sets the largest regular expression that is accepted, in RE2's instructions, where
    /// configuration does not say: 32,768 when not set, as Istio sets it for Envoy. Envoy's own
    /// default is 100.
    #[must_use]
    pub fn with_regex_program_size(mut self, instructions: u32) -> Self {
        self.regex_program_size = instructions;
        self
    }

    /// Names secrets that the application has itself: they are not asked for.
    #[must_use]
    pub fn with_own_secrets(mut self, names: impl IntoIterator<Item = Name>) -> Self {
        self.own_secrets.extend(names);
        self
    }

    /// Sets how long a resource that nothing needs any more is still asked for, so that what comes
    /// back within that time is there at once: 15 s when not set. The data plane lets go of it in
    /// any case.
    #[must_use]
    pub fn with_unsubscribe_delay(mut self, delay: Duration) -> Self {
        self.unsubscribe_delay = delay.min(FOREVER);
        self
    }

    /// Sets where requests are counted of clusters that ask for their load to be reported
    /// (`lrs_server`): it is then reported to the server that each came from. Not set, no load is.
    #[must_use]
    pub fn with_load_stats(mut self, stats: Arc<LoadStats>) -> Self {
        self.load_stats = Some(stats);
        self
    }

    /// Sets how long the connection is silent before it is probed, and how long the answer may
    /// take: 30 s and 10 s when not set.
    #[must_use]
    pub fn with_keep_alive(mut self, interval: Duration, timeout: Duration) -> Self {
        self.keep_alive_interval = interval.min(FOREVER);
        self.keep_alive_timeout = timeout.min(FOREVER);
        self
    }

    /// Sets how long connecting may take: 5 s when not set.
    #[must_use]
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout.min(FOREVER);
        self
    }

    /// Sets the largest response that is read: 64 MiB when not set. A larger one ends the stream.
    #[must_use]
    pub fn with_max_message_bytes(mut self, bytes: usize) -> Self {
        self.max_message_bytes = bytes;
        self
    }

    /// Asks every server by the incremental protocol, as the server feature `xds.delta` does for
    /// one, and by the state of the world where a server turns out not to speak it.
    #[must_use]
    pub fn with_delta(mut self) -> Self {
        self.delta = true;
        self
    }

    /// Sets what looks up names of endpoints (`STRICT_DNS`, `LOGICAL_DNS`): the
    /// [`SystemResolver`] when not set.
    #[must_use]
    pub fn with_resolver(mut self, resolver: impl Resolve) -> Self {
        self.resolver = Arc::new(resolver);
        self
    }

    /// Sets the first and the longest wait between attempts to connect: 1 s and 120 s when not
    /// set.
    #[must_use]
    pub fn with_backoff(mut self, base: Duration, cap: Duration) -> Self {
        self.backoff = Backoff::new(base, cap);
        self
    }

    /// Sets how often is looked whether a server listens again that did not: every 0.6 s when not
    /// set. Its return is then noticed earlier than at the next attempt to connect, which may be
    /// two minutes away. With `None` it is not.
    #[must_use]
    pub fn with_probe_interval(mut self, interval: Option<Duration>) -> Self {
        self.probe_interval = interval.map(|interval| interval.min(FOREVER));
        self
    }

    /// Sets how many responses are read before the data plane has taken the updates that follow
    /// from them: 64 when not set, at least 1. These updates are merged, so that a data plane that
    /// is behind catches up in one go.
    #[must_use]
    pub fn with_responses_ahead(mut self, responses: usize) -> Self {
        self.responses_ahead = responses.max(1);
        self
    }
}

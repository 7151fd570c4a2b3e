use std::time::Duration;

/// What happens to the bytes of one direction. [`Faults::none`] forwards them as they are.
///
/// Numbers of bytes count from when the faults were put in force, or the connection was made,
/// whichever was later.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Faults {
    pub(super) delay: Duration,
    pub(super) bytes_per_second: Option<u64>,
    pub(super) held: bool,
    pub(super) swallowed: bool,
    pub(super) corrupt_every: Option<u64>,
    pub(super) end: Option<(End, u64)>,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// Both directions are closed in order (FIN): what follows is truncated.
    Truncate,
    /// Both directions are torn down (RST): what was on its way may be lost.
    Reset,
    /// This direction is closed in order, and the other one goes on.
    HalfClose,
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Direction {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
}

/// What becomes of new connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Connects {
    /// They are made. The default.
    #[default]
    Accept,
    /// They are refused, as by a machine where nothing listens.
    Refuse,
    /// They are neither made nor refused, as by a machine that is gone. Linux only: elsewhere the
    /// first few may be made.
    Ignore,
}

impl Faults {
    /// No fault.
    pub fn none() -> Self {
        Self::default()
    }

    /// Bytes arrive that much later; no fewer of them per second.
    pub fn with_delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// So many bytes pass per second at most; 0 counts as 1.
    pub fn with_bytes_per_second(mut self, bytes_per_second: u64) -> Self {
        self.bytes_per_second = Some(bytes_per_second.max(1));
        self
    }

    /// Nothing is read: the sender is held up once the buffers between are full. What has been read
    /// already is kept, and goes on when the fault ends.
    pub fn with_hold(mut self) -> Self {
        self.held = true;
        self
    }

    /// All is read and nothing is written: the sender notices nothing. The end of the sender is not
    /// passed on either.
    pub fn with_blackhole(mut self) -> Self {
        self.swallowed = true;
        self
    }

    /// One byte in so many is changed, the last one of each; 0 counts as 1.
    pub fn with_corruption_every(mut self, bytes: u64) -> Self {
        self.corrupt_every = Some(bytes.max(1));
        self
    }

    /// After so many bytes the connection ends; with 0 at once.
    pub fn with_end_after(mut self, bytes: u64, end: End) -> Self {
        self.end = Some((end, bytes));
        self
    }
}

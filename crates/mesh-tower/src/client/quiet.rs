use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// Ends a connection on which nothing moves.
pub(super) struct Quiet {
    limit: Duration,
    /// When a byte went or came last.
    moved: Instant,
    /// For who reads and who writes: they may be two tasks, and each is to hear of it.
    timers: [Option<Pin<Box<Sleep>>>; 2],
}

/// The direction that somebody waits for.
#[derive(Clone, Copy)]
pub(super) enum Way {
    Read,
    Write,
}

impl Quiet {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, moved: Instant::now(), timers: [None, None] }
    }

    /// What was polled, or that nothing has moved for too long.
    pub(super) fn watch<T>(
        &mut self,
        way: Way,
        polled: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.moved = Instant::now();
            return polled;
        }
        let Some(until) = self.moved.checked_add(self.limit) else { return Poll::Pending };
        let timer = self.timers[way as usize]
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        if timer.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        if until <= Instant::now() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        // Something moved meanwhile.
        timer.as_mut().reset(until);
        timer.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

use std::future::Future;
use std::pin::Pin;
use std::sync::Weak;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use super::Timers;

/// The task that wakes those whose deadline has passed. Ends when its timers are dropped; when its
/// runtime ends first, all are woken and wait on timers of their own.
pub(super) struct Driver {
    timers: Weak<Timers>,
    sleep: Option<Pin<Box<Sleep>>>,
    /// Kept for its room.
    passed: Vec<Waker>,
}

impl Driver {
    pub(super) fn new(timers: Weak<Timers>) -> Self {
        Self { timers, sleep: None, passed: Vec::new() }
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        loop {
            let Some(timers) = this.timers.upgrade() else { return Poll::Ready(()) };
            let now = timers.since_epoch(crate::client::now());
            let next = timers.lock().expire(now, cx.waker(), &mut this.passed);
            // Not while the lock is held: who is woken may strike out a deadline at once.
            this.passed.drain(..).for_each(Waker::wake);
            let Some(next) = next else { return Poll::Pending };
            let next = Instant::from_std(timers.epoch) + Duration::from_nanos(next);
            drop(timers);
            let sleep = match &mut this.sleep {
                None => this.sleep.insert(Box::pin(tokio::time::sleep_until(next))),
                Some(sleep) => {
                    sleep.as_mut().reset(next);
                    sleep
                }
            };
            ready!(sleep.as_mut().poll(cx));
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(timers) = self.timers.upgrade() {
            let waiting = timers.lock().close();
            waiting.into_iter().for_each(Waker::wake);
        }
    }
}

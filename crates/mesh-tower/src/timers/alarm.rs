use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::time::Sleep;

use super::Timers;

/// Waits until a deadline, and costs nothing before it is asked to. Dropping it strikes the deadline
/// out.
#[derive(Debug, Default)]
pub(crate) struct Alarm(State);

#[derive(Debug, Default)]
enum State {
    #[default]
    Off,
    Set(Set),
    /// A timer of tokio's, where the shared ones take no more.
    Own(Pin<Box<Sleep>>),
}

#[derive(Debug)]
struct Set {
    timers: Arc<Timers>,
    key: usize,
}

impl Drop for Set {
    fn drop(&mut self) {
        self.timers.remove(self.key);
    }
}

impl Alarm {
    /// Whether `deadline`, which may be another one each time, has passed; else the task is woken
    /// when it has. The first to wait does so among `timers`, if there are any.
    #[inline(never)]
    pub(crate) fn poll(
        &mut self,
        timers: Option<&Arc<Timers>>,
        deadline: Instant,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        match &mut self.0 {
            // The clock is not looked at: what has passed already is woken for at once.
            State::Off => {
                if let Some(timers) = timers
                    && let Some(key) = timers.insert(deadline, cx.waker())
                {
                    self.0 = State::Set(Set { timers: timers.clone(), key });
                    return Poll::Pending;
                }
            }
            State::Set(set) => {
                if crate::client::now() >= deadline {
                    return Poll::Ready(());
                }
                if set.timers.renew(set.key, deadline, cx.waker()) {
                    return Poll::Pending;
                }
            }
            State::Own(sleep) => return poll_own(sleep.as_mut(), deadline.into(), cx),
        }
        self.0 = State::Own(Box::pin(tokio::time::sleep_until(deadline.into())));
        self.poll(None, deadline, cx)
    }
}

fn poll_own(
    mut sleep: Pin<&mut Sleep>,
    deadline: tokio::time::Instant,
    cx: &mut Context<'_>,
) -> Poll<()> {
    if sleep.deadline() != deadline {
        sleep.as_mut().reset(deadline);
    }
    sleep.poll(cx)
}

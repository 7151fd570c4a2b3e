//! The futures of one HTTP/2 connection, in one task.
//!
//! hyper hands a future or two out for each request, of one type for all that a connection needs run
//! and therefore over 1 KiB. A task for each would be made and freed with its request. Here they join
//! the [`Crew`] of their connection: boxes stay and take one future after another, and what one of
//! them wakes is polled in the turn that is under way.
//!
//! ```text
//! hyper ─ Enlist ─▶ joined ─▶ members ──ended──▶ idle boxes ─▶ the next future
//!                               ▲   └─lasts──▶ a task of its own
//!                     called by its Bell
//! ```
//!
//! Members come to an end soon: a request that is written, an answer that is handed over. One that is
//! polled often is a long body, which might take its time at each frame; it leaves for a task of its
//! own, so that no other request waits for it. The connection itself stays.

mod bell;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::future::Future;
use std::mem::{swap, take};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use hyper::rt::Executor;
use slab::Slab;
use tokio::task::coop::has_budget_remaining;

use bell::Bell;

use super::berth::Berth;

/// Boxes kept for futures to come, of some 1.2 KiB each: two for each of the requests in flight that
/// most connections see at once, a guess. They go with their connection.
const MAX_IDLE: usize = 128;

/// How often a future may be polled without coming to its end. An answer is waited for in two turns,
/// a body in memory is sent in one or two.
const MAX_POLLS: u8 = 8;

/// The polls of what stays however often it is polled.
const RESIDENT: u8 = u8::MAX;

/// Runs what has joined it, until all of it has ended. Dropping it drops all of it.
pub(super) struct Crew {
    shared: Arc<Shared>,
    members: Slab<Member>,
    /// What is taken from `State` in one turn, and ended in it.
    joined: Vec<Member>,
    called: VecDeque<usize>,
    ended: Vec<Member>,
}

/// Lets futures join a crew.
#[derive(Clone, Debug)]
pub(super) struct Enlist(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    joined: Vec<Member>,
    /// Members to be polled, by their place. No longer than there are members and were before.
    called: Vec<usize>,
    idle: Vec<Member>,
    /// Wakes the task, which is told once and looks until it finds nothing more.
    task: Option<Waker>,
    is_awake: bool,
    /// Whether the connection has begun, and what joins belongs to a request.
    has_begun: bool,
    is_over: bool,
}

/// A box with its own waker, and the future in it.
#[derive(Debug)]
struct Member {
    future: Berth<()>,
    polls: u8,
    bell: Arc<Bell>,
    waker: Waker,
}

impl Crew {
    /// Nobody yet. What joins before [`begin`](Self::begin) stays to its end.
    pub(super) fn new() -> Self {
        Self {
            shared: Arc::default(),
            members: Slab::new(),
            joined: Vec::new(),
            called: VecDeque::new(),
            ended: Vec::new(),
        }
    }

    pub(super) fn enlist(&self) -> Enlist {
        Enlist(Arc::clone(&self.shared))
    }

    /// Has `connection` join, to whose requests all else belongs.
    pub(super) fn begin(self, connection: impl Future<Output = ()> + Send + 'static) -> Self {
        self.enlist().execute(connection);
        self.shared.lock().has_begun = true;
        self
    }

    /// Takes what there is to be done, and gives back what can be used again; whether it is anything.
    fn look(&mut self, cx: &Context<'_>) -> bool {
        let mut state = self.shared.lock();
        let room = MAX_IDLE.saturating_sub(state.idle.len());
        state.idle.extend(self.ended.drain(..).take(room));
        swap(&mut state.joined, &mut self.joined);
        // After those that were left when the task's turn was over.
        self.called.extend(state.called.drain(..));
        state.is_awake = !self.joined.is_empty() || !self.called.is_empty();
        if !state.is_awake && !state.task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
            state.task = Some(cx.waker().clone());
        }
        state.is_awake
    }

    /// Polls a member, if it is still there.
    fn attend(&mut self, place: usize) {
        let Some(member) = self.members.get_mut(place) else { return };
        member.bell.answer();
        let mut context = Context::from_waker(&member.waker);
        // As in a task of its own, what panics is gone and the others go on.
        let polled = catch_unwind(AssertUnwindSafe(|| member.future.poll(&mut context)));
        match polled {
            Ok(Poll::Pending) if member.polls == RESIDENT => {}
            Ok(Poll::Pending) => {
                member.polls += 1;
                if member.polls == MAX_POLLS {
                    tokio::spawn(self.members.remove(place).future);
                }
            }
            Ok(Poll::Ready(())) => self.ended.push(self.members.remove(place)),
            Err(_) => {
                let member = self.members.remove(place);
                // Its destructor may do so again.
                let _panicked = catch_unwind(AssertUnwindSafe(|| drop(member)));
            }
        }
    }
}

impl Future for Crew {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        while self.look(cx) {
            let Self { members, joined, called, .. } = &mut *self;
            called.extend(joined.drain(..).map(|member| {
                let entry = members.vacant_entry();
                let place = entry.key();
                member.bell.place.store(place, Ordering::Relaxed);
                entry.insert(member);
                place
            }));
            while let Some(place) = self.called.pop_front() {
                self.attend(place);
                if !has_budget_remaining() {
                    // Still awake: whoever is called meanwhile need not wake the task.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
        }
        match self.members.is_empty() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.is_over = true;
        // Members know their executor, so that a member left there would keep itself alive. Dropped
        // without the lock, which they may take.
        let rest = (take(&mut state.joined), take(&mut state.idle), state.task.take());
        drop(state);
        drop(rest);
    }
}

impl<F> Executor<F> for Enlist
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        let mut state = self.0.lock();
        if state.is_over {
            // After the lock, which its destructor may take.
            drop(state);
            return;
        }
        let mut member = state.idle.pop().unwrap_or_else(|| Member::new(&self.0));
        member.future.set(future);
        member.polls = if state.has_begun { 0 } else { RESIDENT };
        state.joined.push(member);
        let task = state.rouse();
        drop(state);
        if let Some(task) = task {
            task.wake();
        }
    }
}

impl Member {
    fn new(shared: &Arc<Shared>) -> Self {
        let bell = Arc::new(Bell::new(Arc::clone(shared)));
        let waker = Waker::from(Arc::clone(&bell));
        Self { future: Berth::new(), polls: 0, bell, waker }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The task, if it has to be woken to look once more: without the lock, as that takes its time.
    fn rouse(&mut self) -> Option<Waker> {
        if self.is_awake {
            return None;
        }
        let task = self.task.clone();
        self.is_awake = task.is_some();
        task
    }
}

//! Requests on which nothing moves for too long (`idle_timeout`, `stream_idle_timeout`).

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::Sleep;

use super::now;
use crate::body::{Body, BoxError};

/// How long a request may be silent, and since when it is.
#[derive(Clone, Debug)]
pub(super) struct Idle {
    limit: Duration,
    seen: Arc<Seen>,
}

#[derive(Debug)]
struct Seen {
    last: Mutex<Instant>,
    /// Whether all of the request's body was taken to be sent.
    sent: AtomicBool,
}

impl Idle {
    /// A request that begins now.
    pub(super) fn new(limit: Duration) -> Self {
        let seen = Seen { last: Mutex::new(now()), sent: AtomicBool::new(false) };
        Self { limit, seen: Arc::new(seen) }
    }

    /// Something moved.
    pub(super) fn active(&self) {
        *self.seen.last.lock().unwrap_or_else(PoisonError::into_inner) = now();
    }

    /// When it has been silent for too long, as of now.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let last = *self.seen.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.checked_add(self.limit)
    }

    pub(super) fn is_over(&self) -> bool {
        self.deadline().is_some_and(|deadline| deadline <= now())
    }

    /// Whether the request was sent to its end, so that the server is the one that is silent.
    pub(super) fn is_sent(&self) -> bool {
        self.seen.sent.load(Ordering::Relaxed)
    }

    /// A request's body, each frame of which counts.
    pub(super) fn watch(&self, body: Body) -> Body {
        self.active();
        let is_over = body.is_end_stream();
        self.seen.sent.store(is_over, Ordering::Relaxed);
        if is_over { body } else { Body::new(Watched { body, idle: self.clone() }) }
    }
}

pin_project! {
    struct Watched {
        #[pin]
        body: Body,
        idle: Idle,
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut this = self.project();
        let frame = ready!(this.body.as_mut().poll_frame(cx));
        this.idle.active();
        if frame.is_none() || this.body.is_end_stream() {
            this.idle.seen.sent.store(true, Ordering::Relaxed);
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Waits for the silence of an answer's body.
pub(super) struct IdleTimer {
    idle: Idle,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl IdleTimer {
    /// Of a request whose answer has begun.
    pub(super) fn new(idle: Idle) -> Self {
        idle.active();
        Self { idle, sleep: None }
    }

    pub(super) fn active(&self) {
        self.idle.active();
    }

    /// Whether it has been silent for too long.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // What is sent meanwhile moves the deadline, and wakes nobody here.
        while let Some(deadline) = self.idle.deadline() {
            let deadline = tokio::time::Instant::from_std(deadline);
            let sleep =
                self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
            if sleep.deadline() != deadline {
                sleep.as_mut().reset(deadline);
            }
            ready!(sleep.as_mut().poll(cx));
            if self.idle.is_over() {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_frame_begins_the_silence_anew() {
        let idle = Idle::new(Duration::from_secs(10));
        let mut timer = IdleTimer::new(idle.clone());
        for _ in 0..3 {
            let wait = poll_fn(|cx| timer.poll_over(cx));
            assert!(tokio::time::timeout(Duration::from_secs(9), wait).await.is_err());
            idle.active();
        }
        let before = now();
        poll_fn(|cx| timer.poll_over(cx)).await;
        assert_eq!(now() - before, Duration::from_secs(10));
        assert!(idle.is_over());
    }

    #[tokio::test(start_paused = true)]
    async fn sending_counts_and_its_end_is_known() {
        use http_body_util::BodyExt as _;
        let idle = Idle::new(Duration::from_secs(10));
        let mut body = idle.watch(Body::from("x"));
        assert!(!idle.is_sent());
        tokio::time::advance(Duration::from_secs(9)).await;
        assert!(body.frame().await.is_some());
        assert!(idle.is_sent());
        tokio::time::advance(Duration::from_secs(9)).await;
        assert!(!idle.is_over());
        drop(idle.watch(Body::empty()));
        assert!(idle.is_sent());
    }
}

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::lock;
use crate::body::{Body, BodyError};

/// How many frames are kept at most. A body of one-byte frames under the byte cap would otherwise
/// cost forty times its size in bookkeeping.
pub(super) const MAX_FRAMES: usize = 1024;

type Polled = Poll<Option<Result<Frame<Bytes>, BodyError>>>;

/// What all attempts of one request share.
pub(crate) struct Shared {
    /// Only this attempt may read.
    current: u32,
    source: Source,
    copy: Copy,
    cap_bytes: usize,
    sent: Sent,
    /// Of the attempt that waits for the source, so that it learns when it is superseded.
    waiting: Option<Waker>,
}

enum Source {
    Reading(Body),
    Ended,
    Failed,
}

/// How much of what was kept the current attempt has sent.
#[derive(Default)]
struct Sent {
    frames: usize,
    bytes: u64,
    trailers: bool,
}

/// What was kept of the frames read from the source so far.
struct Copy {
    data: Vec<Bytes>,
    bytes: u64,
    trailers: Option<HeaderMap>,
    state: Keeping,
}

#[derive(PartialEq, Eq)]
enum Keeping {
    /// Complete so far, and to be continued.
    On,
    /// No attempt will follow: what is there still serves the current one, and no more is added.
    Stopped,
    /// Incomplete: there cannot be another attempt.
    GivenUp,
}

impl Shared {
    pub(super) fn new(body: Body, cap_bytes: usize) -> Self {
        let copy = Copy { data: Vec::new(), bytes: 0, trailers: None, state: Keeping::On };
        let sent = Sent::default();
        Self { current: 0, source: Source::Reading(body), copy, cap_bytes, sent, waiting: None }
    }

    pub(super) fn is_replayable(&self) -> bool {
        self.copy.state == Keeping::On
    }

    pub(super) fn stop_keeping(&mut self) {
        if self.copy.state == Keeping::On {
            self.copy.state = Keeping::Stopped;
        }
    }

    /// Makes room for the next attempt and returns its number.
    pub(super) fn begin_next(&mut self) -> Option<u32> {
        if !self.is_replayable() {
            return None;
        }
        self.current += 1;
        self.sent = Sent::default();
        if let Some(earlier) = self.waiting.take() {
            earlier.wake();
        }
        Some(self.current)
    }

    /// The current attempt's next frame: from the copy, then from the source.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Polled {
        if let Some(data) = self.copy.data.get(self.sent.frames) {
            self.sent.frames += 1;
            self.sent.bytes += data.len() as u64;
            return Poll::Ready(Some(Ok(Frame::data(data.clone()))));
        }
        if !self.sent.trailers
            && let Some(trailers) = &self.copy.trailers
        {
            self.sent.trailers = true;
            return Poll::Ready(Some(Ok(Frame::trailers(trailers.clone()))));
        }
        let polled = ready!(self.poll_source(cx));
        if let Some(Ok(frame)) = &polled {
            // Whatever was just kept is being sent as well.
            self.sent.frames = self.copy.data.len();
            self.sent.bytes = self.copy.bytes;
            self.sent.trailers |= frame.is_trailers();
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.sent.frames >= self.copy.data.len()
            && (self.sent.trailers || self.copy.trailers.is_none())
            && match &self.source {
                Source::Reading(body) => body.is_end_stream(),
                Source::Ended => true,
                Source::Failed => false,
            }
    }

    fn size_hint(&self) -> SizeHint {
        let kept = self.copy.bytes.saturating_sub(self.sent.bytes);
        match &self.source {
            Source::Reading(body) => plus(&body.size_hint(), kept),
            Source::Ended => SizeHint::with_exact(kept),
            Source::Failed => SizeHint::default(),
        }
    }

    fn poll_source(&mut self, cx: &mut Context<'_>) -> Polled {
        let body = match &mut self.source {
            Source::Reading(body) => body,
            Source::Ended => return Poll::Ready(None),
            // The end would be taken for the end of the body, and the peer for having all of it.
            Source::Failed => return Poll::Ready(Some(Err(BodyError::after_failure()))),
        };
        let Poll::Ready(polled) = Pin::new(&mut *body).poll_frame(cx) else {
            self.waiting = Some(cx.waker().clone());
            return Poll::Pending;
        };
        match &polled {
            Some(Ok(frame)) => {
                if body.is_end_stream() {
                    self.source = Source::Ended;
                }
                self.keep(frame);
            }
            Some(Err(_)) => {
                self.source = Source::Failed;
                self.copy.give_up();
            }
            None => self.source = Source::Ended,
        }
        Poll::Ready(polled)
    }

    fn keep(&mut self, frame: &Frame<Bytes>) {
        if self.copy.state != Keeping::On {
            return;
        }
        let added = match (frame.data_ref(), frame.trailers_ref()) {
            (Some(data), _) => data.len(),
            (_, Some(trailers)) => trailers.iter().map(|(k, v)| k.as_str().len() + v.len()).sum(),
            (None, None) => 0,
        } as u64;
        let full =
            self.copy.bytes + added > self.cap_bytes as u64 || self.copy.data.len() == MAX_FRAMES;
        if full {
            self.copy.give_up();
        } else if let Some(data) = frame.data_ref() {
            self.copy.data.push(data.clone());
            self.copy.bytes += added;
        } else {
            self.copy.trailers = frame.trailers_ref().cloned();
        }
    }
}

impl Copy {
    fn give_up(&mut self) {
        *self = Self { data: Vec::new(), bytes: 0, trailers: None, state: Keeping::GivenUp };
    }
}

/// The body of one attempt.
pub(crate) struct Attempt {
    shared: Arc<Mutex<Shared>>,
    number: u32,
}

impl Attempt {
    pub(super) fn new(shared: Arc<Mutex<Shared>>, number: u32) -> Self {
        Self { shared, number }
    }

    pub(in crate::body) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Polled {
        let mut shared = lock(&self.shared);
        if shared.current == self.number {
            shared.poll_frame(cx)
        } else {
            Poll::Ready(Some(Err(BodyError::superseded())))
        }
    }

    pub(in crate::body) fn is_end_stream(&self) -> bool {
        let shared = lock(&self.shared);
        // Of an attempt that was superseded, an early end would be a short body.
        shared.current == self.number && shared.is_end_stream()
    }

    pub(in crate::body) fn size_hint(&self) -> SizeHint {
        let shared = lock(&self.shared);
        if shared.current == self.number { shared.size_hint() } else { SizeHint::default() }
    }
}

/// A size hint with bytes added that are known to come first.
pub(crate) fn plus(hint: &SizeHint, bytes: u64) -> SizeHint {
    let mut sum = SizeHint::new();
    sum.set_lower(hint.lower().saturating_add(bytes));
    if let Some(upper) = hint.upper() {
        sum.set_upper(upper.saturating_add(bytes));
    }
    sum
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("attempt", &self.current)
            .field("kept_bytes", &self.copy.bytes)
            .field("replayable", &self.is_replayable())
            .finish_non_exhaustive()
    }
}

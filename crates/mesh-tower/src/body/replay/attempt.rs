use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::lock;
use crate::body::{Body, BodyError};

/// How many frames are kept at most. A body of one-byte frames under the byte cap would otherwise cost
/// forty times its size in bookkeeping.
pub(super) const MAX_FRAMES: usize = 1024;

type Polled = Poll<Option<Result<Frame<Bytes>, BodyError>>>;

/// What all attempts of one request share.
pub(crate) struct Shared {
    /// Only this attempt may read.
    current: u32,
    source: Source,
    copy: Copy,
    cap_bytes: usize,
    /// Of the attempt that waits for the source, so that it learns when it is superseded.
    waiting: Option<Waker>,
}

enum Source {
    Reading(Body),
    Ended,
    Failed,
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
        Self { current: 0, source: Source::Reading(body), copy, cap_bytes, waiting: None }
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
        if let Some(earlier) = self.waiting.take() {
            earlier.wake();
        }
        Some(self.current)
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
    /// How many of the kept frames, and how many of their bytes, this attempt has sent.
    frames: usize,
    bytes: u64,
    trailers_sent: bool,
}

impl Attempt {
    pub(super) fn first(shared: Arc<Mutex<Shared>>) -> Self {
        Self::later(shared, 0)
    }

    pub(super) fn later(shared: Arc<Mutex<Shared>>, number: u32) -> Self {
        Self { shared, number, frames: 0, bytes: 0, trailers_sent: false }
    }

    pub(in crate::body) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Polled {
        let mut shared = lock(&self.shared);
        if shared.current != self.number {
            return Poll::Ready(Some(Err(BodyError::superseded())));
        }
        if let Some(data) = shared.copy.data.get(self.frames) {
            self.frames += 1;
            self.bytes += data.len() as u64;
            return Poll::Ready(Some(Ok(Frame::data(data.clone()))));
        }
        if !self.trailers_sent
            && let Some(trailers) = &shared.copy.trailers
        {
            self.trailers_sent = true;
            return Poll::Ready(Some(Ok(Frame::trailers(trailers.clone()))));
        }
        let polled = ready!(shared.poll_source(cx));
        if let Some(Ok(frame)) = &polled {
            // Whatever was just kept has just been sent as well.
            self.trailers_sent |= frame.is_trailers();
            self.frames = shared.copy.data.len();
            self.bytes = shared.copy.bytes;
        }
        Poll::Ready(polled)
    }

    pub(in crate::body) fn is_end_stream(&self) -> bool {
        let shared = lock(&self.shared);
        shared.current == self.number
            && self.frames >= shared.copy.data.len()
            && (self.trailers_sent || shared.copy.trailers.is_none())
            && match &shared.source {
                Source::Reading(body) => body.is_end_stream(),
                Source::Ended => true,
                Source::Failed => false,
            }
    }

    pub(in crate::body) fn size_hint(&self) -> SizeHint {
        let shared = lock(&self.shared);
        if shared.current != self.number {
            return SizeHint::default();
        }
        let kept = shared.copy.bytes.saturating_sub(self.bytes);
        match &shared.source {
            Source::Reading(body) => plus(&body.size_hint(), kept),
            Source::Ended => SizeHint::with_exact(kept),
            Source::Failed => SizeHint::default(),
        }
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

use std::any::Any;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{Empty, Full};
use hyper::body::Incoming;

use super::error::{BodyError, BoxError};
use super::lookahead::Lookahead;
use super::replay::Attempt;

/// The body of a message: nothing, bytes in memory, or frames still to come.
///
/// Frames are `Bytes` and possibly trailers at the end. `size_hint` and `is_end_stream` are as
/// exact as those of what is inside, and of a boxed body `is_end_stream` is true with its last
/// frame already when its end is known by then. `Send`, not `Sync`; `Default` is the empty body.
pub struct Body(Inner);

/// Two variants and none larger, so that it is as large as `Bytes`: requests move often, and their
/// bodies with them.
enum Inner {
    /// What is left of the bytes in memory; none is the end.
    Memory(Bytes),
    Frames(Frames),
}

enum Frames {
    Incoming(Box<Incoming>),
    Boxed(UnsyncBoxBody<Bytes, BodyError>),
    Replay(Attempt),
}

impl Body {
    /// A body without bytes and without trailers.
    pub const fn empty() -> Self {
        Self(Inner::Memory(Bytes::new()))
    }

    /// A body of bytes in memory.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Self(Inner::Memory(bytes.into()))
    }

    /// Any body.
    ///
    /// Boxed only when it has something left and is none of `Body`, `Full<Bytes>` and
    /// `Empty<Bytes>`.
    #[inline]
    pub fn new<B>(body: B) -> Self
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let mut slot = Some(body);
        match take::<B, Self>(&mut slot) {
            Some(body) => body,
            None => Self::made(slot),
        }
    }

    fn made<B>(mut slot: Option<B>) -> Self
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        if slot.as_ref().is_none_or(HttpBody::is_end_stream) {
            return Self::empty();
        }
        if let Some(body) = take::<B, Incoming>(&mut slot) {
            return Self::of(Frames::Incoming(Box::new(body)));
        }
        if let Some(body) = take::<B, Full<Bytes>>(&mut slot) {
            return Self::from_full(body);
        }
        if take::<B, Empty<Bytes>>(&mut slot).is_some() {
            return Self::empty();
        }
        let body = slot.expect("none of the types above took it");
        Self::of(Frames::Boxed(UnsyncBoxBody::new(Lookahead::new(body))))
    }

    fn of(frames: Frames) -> Self {
        Self(Inner::Frames(frames))
    }

    fn from_full(mut full: Full<Bytes>) -> Self {
        let mut context = Context::from_waker(std::task::Waker::noop());
        match Pin::new(&mut full).poll_frame(&mut context) {
            Poll::Ready(Some(Ok(frame))) => frame.into_data().map(Self::full).unwrap_or_default(),
            _ => Self::empty(),
        }
    }

    pub(super) fn replayed(attempt: Attempt) -> Self {
        Self::of(Frames::Replay(attempt))
    }

    /// The whole body, when it lies in memory.
    pub(super) fn in_memory(&self) -> Option<&Bytes> {
        match &self.0 {
            Inner::Memory(bytes) => Some(bytes),
            Inner::Frames(_) => None,
        }
    }
}

/// Moves the value out when it is of the wanted type.
fn take<B: 'static, T: 'static>(slot: &mut Option<B>) -> Option<T> {
    (slot as &mut dyn Any).downcast_mut::<Option<T>>().and_then(Option::take)
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.0 {
            Inner::Memory(bytes) if bytes.is_empty() => Poll::Ready(None),
            Inner::Memory(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Inner::Frames(frames) => frames.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Memory(bytes) => bytes.is_empty(),
            Inner::Frames(Frames::Incoming(body)) => body.is_end_stream(),
            Inner::Frames(Frames::Boxed(body)) => body.is_end_stream(),
            Inner::Frames(Frames::Replay(attempt)) => attempt.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Memory(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Inner::Frames(Frames::Incoming(body)) => body.size_hint(),
            Inner::Frames(Frames::Boxed(body)) => body.size_hint(),
            Inner::Frames(Frames::Replay(attempt)) => attempt.size_hint(),
        }
    }
}

impl Frames {
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self {
            Self::Incoming(body) => {
                let frame = ready!(Pin::new(&mut **body).poll_frame(cx));
                Poll::Ready(frame.map(|frame| frame.map_err(BodyError::received)))
            }
            Self::Boxed(body) => Pin::new(body).poll_frame(cx),
            Self::Replay(attempt) => attempt.poll_frame(cx),
        }
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.0 {
            Inner::Memory(_) => "memory",
            Inner::Frames(Frames::Incoming(_)) => "incoming",
            Inner::Frames(Frames::Boxed(_)) => "boxed",
            Inner::Frames(Frames::Replay(_)) => "replay",
        };
        f.debug_struct("Body").field("kind", &kind).field("size", &self.size_hint()).finish()
    }
}

impl From<()> for Body {
    fn from((): ()) -> Self {
        Self::empty()
    }
}

impl From<Incoming> for Body {
    fn from(body: Incoming) -> Self {
        Self::new(body)
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::full(bytes)
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self::full(bytes)
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::full(text)
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Self::full(text)
    }
}

impl From<&'static [u8]> for Body {
    fn from(bytes: &'static [u8]) -> Self {
        Self::full(bytes)
    }
}

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
/// Frames are `Bytes` and possibly trailers at the end. `size_hint` and `is_end_stream` are as exact as
/// those of what is inside, and of a boxed body `is_end_stream` is true with its last frame already when
/// its end is known by then. `Send`, not `Sync`; `Default` is the empty body.
#[derive(Default)]
pub struct Body(Inner);

/// No larger than `Bytes`: it moves with every request, and requests move often.
#[derive(Default)]
pub(super) enum Inner {
    #[default]
    Empty,
    /// Never empty bytes: those are `Empty`.
    Full(Bytes),
    Incoming(Box<Incoming>),
    Boxed(UnsyncBoxBody<Bytes, BodyError>),
    Replay(Attempt),
}

impl Body {
    /// A body without bytes and without trailers.
    pub const fn empty() -> Self {
        Self(Inner::Empty)
    }

    /// A body of bytes in memory.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self(if bytes.is_empty() { Inner::Empty } else { Inner::Full(bytes) })
    }

    /// Any body.
    ///
    /// Boxed only when it has something left and is none of `Body`, `Full<Bytes>` and `Empty<Bytes>`.
    pub fn new<B>(body: B) -> Self
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        if body.is_end_stream() {
            return Self::empty();
        }
        let mut slot = Some(body);
        if let Some(body) = take::<B, Self>(&mut slot) {
            return body;
        }
        if let Some(body) = take::<B, Incoming>(&mut slot) {
            return Self(Inner::Incoming(Box::new(body)));
        }
        if let Some(body) = take::<B, Full<Bytes>>(&mut slot) {
            return Self::from_full(body);
        }
        if take::<B, Empty<Bytes>>(&mut slot).is_some() {
            return Self::empty();
        }
        let body = slot.expect("none of the types above took it");
        Self(Inner::Boxed(UnsyncBoxBody::new(Lookahead::new(body))))
    }

    fn from_full(mut full: Full<Bytes>) -> Self {
        let mut context = Context::from_waker(std::task::Waker::noop());
        match Pin::new(&mut full).poll_frame(&mut context) {
            Poll::Ready(Some(Ok(frame))) => frame.into_data().map(Self::full).unwrap_or_default(),
            _ => Self::empty(),
        }
    }

    pub(super) fn replayed(attempt: Attempt) -> Self {
        Self(Inner::Replay(attempt))
    }

    /// The whole body, when it lies in memory.
    pub(super) fn in_memory(&self) -> Option<&Bytes> {
        match &self.0 {
            Inner::Full(bytes) => Some(bytes),
            _ => None,
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
            Inner::Empty => Poll::Ready(None),
            Inner::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                self.0 = Inner::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Inner::Incoming(body) => {
                let frame = ready!(Pin::new(&mut **body).poll_frame(cx));
                Poll::Ready(frame.map(|frame| frame.map_err(BodyError::received)))
            }
            Inner::Boxed(body) => Pin::new(body).poll_frame(cx),
            Inner::Replay(attempt) => attempt.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Empty => true,
            Inner::Full(_) => false,
            Inner::Incoming(body) => body.is_end_stream(),
            Inner::Boxed(body) => body.is_end_stream(),
            Inner::Replay(attempt) => attempt.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Empty => SizeHint::with_exact(0),
            Inner::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Inner::Incoming(body) => body.size_hint(),
            Inner::Boxed(body) => body.size_hint(),
            Inner::Replay(attempt) => attempt.size_hint(),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.0 {
            Inner::Empty => "empty",
            Inner::Full(_) => "full",
            Inner::Incoming(_) => "incoming",
            Inner::Boxed(_) => "boxed",
            Inner::Replay(_) => "replay",
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

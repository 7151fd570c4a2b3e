use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::{Body, BodyError};

/// A body read one frame ahead, so that `is_end_stream` is already true with the last frame.
///
/// Many bodies, tonic's among them, only learn that they have ended when they are polled once more.
/// hyper asks right after a frame, hears no, and sends `END_STREAM` on an empty DATA frame of its own.
/// A frame is never held back: when the next one is not there yet, it goes out as it is.
pub(crate) struct Lookahead {
    body: Body,
    next: Next,
}

/// What was read ahead. The rare and large cases are boxed, since this moves with every request.
enum Next {
    Unknown,
    Data(Bytes),
    Trailers(Box<HeaderMap>),
    Failed(BodyError),
    End,
}

impl Lookahead {
    pub(crate) fn new(body: Body) -> Self {
        Self { body, next: Next::Unknown }
    }

    /// The body back, for a connection that never read from it.
    pub(crate) fn into_unread(self) -> Body {
        debug_assert!(matches!(self.next, Next::Unknown), "read before it came back");
        self.body
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        if self.body.is_end_stream() {
            return Poll::Ready(Next::End);
        }
        Poll::Ready(match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            None => Next::End,
            Some(Err(error)) => Next::Failed(error),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => Next::Data(data),
                // A frame is data or trailers; another kind, should one appear, cannot be sent.
                Err(frame) => Next::Trailers(Box::new(frame.into_trailers().unwrap_or_default())),
            },
        })
    }
}

impl HttpBody for Lookahead {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let now = match std::mem::replace(&mut self.next, Next::Unknown) {
            Next::Unknown => ready!(self.poll_body(cx)),
            known => known,
        };
        Poll::Ready(match now {
            Next::Data(data) => {
                if let Poll::Ready(next) = self.poll_body(cx) {
                    self.next = next;
                }
                Some(Ok(Frame::data(data)))
            }
            Next::Trailers(trailers) => {
                self.next = Next::End;
                Some(Ok(Frame::trailers(*trailers)))
            }
            Next::Failed(error) => Some(Err(error)),
            Next::End | Next::Unknown => {
                self.next = Next::End;
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        match self.next {
            Next::End => true,
            Next::Unknown => self.body.is_end_stream(),
            Next::Data(_) | Next::Trailers(_) | Next::Failed(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.next {
            Next::Data(data) => super::replay::plus(&self.body.size_hint(), data.len() as u64),
            Next::End => SizeHint::with_exact(0),
            _ => self.body.size_hint(),
        }
    }
}

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::BodyError;
use super::error::BoxError;

pin_project! {
    /// A body read one frame ahead, so that `is_end_stream` is already true with the last frame.
    ///
    /// Many bodies, tonic's among them, only learn that they have ended when they are polled once
    /// more. hyper asks right after a frame, hears no, and sends the end on its own: on HTTP/2 an
    /// empty DATA frame, and with it a write and a wake-up more per request. A frame is never held
    /// back: when the next one is not there yet, it goes out as it is.
    pub(super) struct Lookahead<B> {
        #[pin]
        body: B,
        next: Next,
    }
}

/// What was read ahead.
enum Next {
    Unknown,
    Frame(Result<Frame<Bytes>, BodyError>),
    End,
}

impl<B> Lookahead<B>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    pub(super) fn new(body: B) -> Self {
        Self { body, next: Next::Unknown }
    }

    fn poll_body(body: Pin<&mut B>, cx: &mut Context<'_>) -> Poll<Next> {
        if body.is_end_stream() {
            return Poll::Ready(Next::End);
        }
        Poll::Ready(match ready!(body.poll_frame(cx)) {
            Some(frame) => Next::Frame(frame.map_err(BodyError::new)),
            None => Next::End,
        })
    }
}

impl<B> HttpBody for Lookahead<B>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut this = self.project();
        let now = match std::mem::replace(this.next, Next::Unknown) {
            Next::Unknown => ready!(Self::poll_body(this.body.as_mut(), cx)),
            known => known,
        };
        let Next::Frame(frame) = now else {
            *this.next = Next::End;
            return Poll::Ready(None);
        };
        // What comes after a failure is nobody's to read.
        if frame.is_ok()
            && let Poll::Ready(next) = Self::poll_body(this.body, cx)
        {
            *this.next = next;
        }
        Poll::Ready(Some(frame))
    }

    fn is_end_stream(&self) -> bool {
        match self.next {
            Next::End => true,
            Next::Unknown => self.body.is_end_stream(),
            Next::Frame(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.next {
            Next::Unknown => self.body.size_hint(),
            Next::Frame(Ok(frame)) => {
                let ahead = frame.data_ref().map_or(0, Bytes::len);
                super::replay::plus(&self.body.size_hint(), ahead as u64)
            }
            Next::Frame(Err(_)) => SizeHint::default(),
            Next::End => SizeHint::with_exact(0),
        }
    }
}

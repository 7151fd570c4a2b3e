use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;

use super::{http1, http2};
use crate::body::BodyError;

/// The body of a response, and its hold on the connection.
///
/// At its end an HTTP/1.1 connection becomes free for the next request. Dropped half way, it closes
/// such a connection, and resets the stream of an HTTP/2 one.
pub struct Received {
    body: Incoming,
    lease: Option<Lease>,
}

/// What a request holds of its connection, and its response gives back at its end.
pub(super) enum Lease {
    Http1 { sender: Box<http1::Sender>, pool: Arc<http1::Pool> },
    Http2 { stream: http2::Stream },
}

impl Received {
    /// The body of an answer that came on this connection.
    #[inline]
    pub(super) fn over(body: Incoming, on: Lease) -> Self {
        let mut received = Self { body, lease: Some(on) };
        received.release_if_ended();
        received
    }

    /// The same of an HTTP/1.1 connection, which is free at once where nothing more comes.
    #[inline]
    pub(super) fn alone(
        body: Incoming,
        sender: Box<http1::Sender>,
        pool: &Arc<http1::Pool>,
    ) -> Self {
        if body.is_end_stream() {
            pool.put(sender);
            return Self { body, lease: None };
        }
        Self { body, lease: Some(Lease::Http1 { sender, pool: Arc::clone(pool) }) }
    }

    /// Frees an HTTP/1.1 connection as early as possible: few read on once they have all of the
    /// body.
    fn release_if_ended(&mut self) {
        if matches!(self.lease, Some(Lease::Http1 { .. })) && self.body.is_end_stream() {
            self.release();
        }
    }

    fn release(&mut self) {
        if let Some(Lease::Http1 { sender, pool }) = self.lease.take() {
            pool.put(sender);
        }
    }
}

impl HttpBody for Received {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = ready!(Pin::new(&mut self.body).poll_frame(cx));
        Poll::Ready(match polled {
            Some(Ok(frame)) => {
                self.release_if_ended();
                Some(Ok(frame))
            }
            Some(Err(error)) => {
                self.lease = None;
                Some(Err(BodyError::received(error)))
            }
            None => {
                self.release();
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        // Not at its end: without its sender hyper closes an HTTP/1.1 connection.
        self.release_if_ended();
    }
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received").field("body", &self.body).finish_non_exhaustive()
    }
}

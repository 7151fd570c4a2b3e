use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::limits::{Limits, end_of};
use crate::body::BoxError;

/// The body of a request to a [`Server`](super::Server): what the client sends, as long as it sends
/// in time.
///
/// Reading fails with an [`io::Error`] of kind `TimedOut` when the next part or the whole takes
/// longer than the server's [`Limits`] allow.
pub struct RequestBody {
    incoming: Incoming,
    idle_timeout: Duration,
    /// When all of it must have come.
    end: Option<Instant>,
    /// Made when something is really waited for.
    timer: Option<Pin<Box<Sleep>>>,
    is_waiting: bool,
}

impl RequestBody {
    pub(super) fn new(incoming: Incoming, limits: &Limits) -> Self {
        let now = || Instant::now();
        // Most requests have no body, and need no look at the clock.
        let total = limits.request_timeout.filter(|_| !incoming.is_end_stream());
        let end = total.and_then(|total| now().checked_add(total));
        let idle_timeout = limits.body_idle_timeout;
        Self { incoming, idle_timeout, end, timer: None, is_waiting: false }
    }

    fn poll_limit(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = |this: &Self| {
            let idle = end_of(this.idle_timeout);
            this.end.map_or(idle, |end| end.min(idle))
        };
        if !self.is_waiting {
            self.is_waiting = true;
            let limit = limit(self);
            match &mut self.timer {
                Some(timer) => timer.as_mut().reset(limit),
                None => self.timer = Some(Box::pin(tokio::time::sleep_until(limit))),
            }
        }
        self.timer.as_mut().expect("it was made above").as_mut().poll(cx)
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.incoming).poll_frame(cx) {
            Poll::Ready(frame) => {
                this.is_waiting = false;
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending => this.poll_limit(cx).map(|()| {
                let text = "the client was too slow to send the request's body";
                Some(Err(io::Error::new(io::ErrorKind::TimedOut, text).into()))
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody").field("size", &self.size_hint()).finish_non_exhaustive()
    }
}

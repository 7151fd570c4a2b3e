use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::Full;
use mesh_core::cluster::{Permit, Picked};
use pin_project_lite::pin_project;
use tokio::time::Sleep;

use crate::body::BoxError;
use crate::error::{Error, ErrorKind};
use crate::mesh::Io;

pin_project! {
    /// The body of a response that came through the mesh.
    ///
    /// Until it has ended or is dropped, its request counts as under way: for circuit breakers,
    /// for the endpoint's load and for the route's timeout. Errors are the connection's, or an
    /// [`Error`](crate::Error) of kind `Deadline`.
    pub struct ResponseBody<B> {
        #[pin]
        inner: Inner<B>,
        under_way: Option<UnderWay>,
        deadline: Option<Instant>,
        timer: Option<Pin<Box<Sleep>>>,
    }
}

pin_project! {
    #[project = InnerProject]
    enum Inner<B> {
        Upstream { #[pin] body: B },
        Local { #[pin] body: Full<Bytes> },
    }
}

/// What a request holds until its response has ended.
pub(super) struct UnderWay {
    pub(super) _permit: Option<Permit>,
    pub(super) _endpoint: Option<Picked<Io>>,
}

impl<B: HttpBody> ResponseBody<B> {
    #[inline]
    pub(super) fn upstream(body: B, under_way: UnderWay, deadline: Option<Instant>) -> Self {
        // A response without a body is over with its head.
        let under_way = (!body.is_end_stream()).then_some(under_way);
        Self { inner: Inner::Upstream { body }, under_way, deadline, timer: None }
    }

    pub(super) fn local(body: Bytes) -> Self {
        let inner = Inner::Local { body: Full::new(body) };
        Self { inner, under_way: None, deadline: None, timer: None }
    }
}

impl<B> HttpBody for ResponseBody<B>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut this = self.project();
        let frame = match this.inner.as_mut().project() {
            InnerProject::Upstream { body } => body.poll_frame(cx).map_err(Into::into),
            InnerProject::Local { body } => body.poll_frame(cx).map_err(Into::into),
        };
        match frame {
            Poll::Ready(frame) => {
                let over = !matches!(frame, Some(Ok(_))) || this.inner.is_end_stream();
                if over {
                    *this.under_way = None;
                    *this.timer = None;
                }
                Poll::Ready(frame)
            }
            Poll::Pending => {
                let Some(deadline) = *this.deadline else { return Poll::Pending };
                let timer = this
                    .timer
                    .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.into())));
                if timer.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                *this.under_way = None;
                *this.deadline = None;
                let error = Error::new(ErrorKind::Deadline, "response body timed out");
                Poll::Ready(Some(Err(error.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Upstream { body } => body.size_hint(),
            Inner::Local { body } => body.size_hint(),
        }
    }
}

impl<B: HttpBody> Inner<B> {
    fn is_end_stream(&self) -> bool {
        match self {
            Self::Upstream { body } => body.is_end_stream(),
            Self::Local { body } => body.is_end_stream(),
        }
    }
}

impl<B> fmt::Debug for ResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody").finish_non_exhaustive()
    }
}

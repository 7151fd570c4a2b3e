use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
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
    _permit: Option<Permit>,
    _endpoint: Option<Picked<Io>>,
    deadline: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl UnderWay {
    #[inline]
    pub(super) fn new(
        permit: Option<Permit>,
        endpoint: Option<Picked<Io>>,
        deadline: Option<Instant>,
    ) -> Self {
        Self { _permit: permit, _endpoint: endpoint, deadline, timer: None }
    }

    /// Whether its time is over.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.deadline else { return Poll::Pending };
        let timer =
            self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.into())));
        timer.as_mut().poll(cx)
    }
}

impl<B: HttpBody> ResponseBody<B> {
    #[inline]
    pub(super) fn upstream(body: B, under_way: Option<UnderWay>) -> Self {
        Self { inner: Inner::Upstream { body }, under_way }
    }

    pub(super) fn local(body: Bytes) -> Self {
        Self { inner: Inner::Local { body: Full::new(body) }, under_way: None }
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
                }
                Poll::Ready(frame)
            }
            Poll::Pending => {
                let Some(under_way) = this.under_way else { return Poll::Pending };
                ready!(under_way.poll_over(cx));
                *this.under_way = None;
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

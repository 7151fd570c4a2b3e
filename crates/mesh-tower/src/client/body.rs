use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::Full;
use mesh_core::cluster::{Permit, Picked};
use pin_project_lite::pin_project;

use super::outliers::OpenCall;
use crate::body::BoxError;
use crate::error::{Error, ErrorKind};
use crate::faults::Faults;
use crate::mesh::Io;
use crate::timers::Alarm;

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
        // Boxed: it is rare, and would make every response 32 bytes larger.
        Local { body: Box<Full<Bytes>> },
    }
}

/// What a request holds until its response has ended.
pub(super) struct UnderWay {
    _permit: Option<Permit>,
    endpoint: Option<Picked<Io>>,
    /// When the response must be over, and what waits for that.
    limit: Option<(Instant, Alarm)>,
    call: Option<Box<OpenCall>>,
}

impl UnderWay {
    #[inline]
    pub(super) fn new(
        permit: Option<Permit>,
        endpoint: Option<Picked<Io>>,
        limit: Option<(Instant, Alarm)>,
    ) -> Self {
        Self { _permit: permit, endpoint, limit, call: None }
    }

    /// The same, of a call whose status outlier detection waits for.
    #[inline]
    pub(super) fn with_call(self, call: Option<Box<OpenCall>>) -> Self {
        Self { call, ..self }
    }

    /// Tells outlier detection of a call that ended: with trailers, or broken.
    #[cold]
    fn ended(&mut self, trailers: Option<&HeaderMap>) {
        if let (Some(mut call), Some(endpoint)) = (self.call.take(), &self.endpoint) {
            call.ended(endpoint, trailers);
        }
    }

    /// Something came of it.
    #[cold]
    fn active(&self) {
        if let Some(call) = &self.call {
            call.active();
        }
    }

    /// Whether its time is over, and which.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<&'static str> {
        if let Some((deadline, alarm)) = &mut self.limit
            && alarm.poll(None, *deadline, cx).is_ready()
        {
            return Poll::Ready("response body timed out");
        }
        match &mut self.call {
            Some(call) => call.poll_idle(cx).map(|()| "nothing moved for the idle timeout"),
            None => Poll::Pending,
        }
    }
}

impl<B: HttpBody> ResponseBody<B> {
    #[inline]
    pub(super) fn upstream(body: B, under_way: Option<UnderWay>) -> Self {
        Self { inner: Inner::Upstream { body }, under_way }
    }

    /// A body of which nothing is to be done at its end.
    pub(crate) fn passed(body: B) -> Self {
        Self::upstream(body, None)
    }

    /// One made here, during which those faults are active.
    pub(super) fn local(body: Bytes, faults: Faults) -> Self {
        let under_way = (!faults.is_empty() && !body.is_empty()).then(|| {
            let mut call = OpenCall::default();
            call.hold(faults);
            UnderWay::new(None, None, None).with_call(Some(Box::new(call)))
        });
        Self { inner: Inner::Local { body: Box::new(Full::new(body)) }, under_way }
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
            InnerProject::Local { body } => {
                Pin::new(&mut **body).poll_frame(cx).map_err(Into::into)
            }
        };
        match frame {
            Poll::Ready(frame) => {
                let over = !matches!(frame, Some(Ok(_))) || this.inner.is_end_stream();
                if let Some(under_way) = this.under_way
                    && under_way.call.is_some()
                {
                    match &frame {
                        Some(Ok(frame)) if frame.is_trailers() => {
                            under_way.ended(frame.trailers_ref());
                        }
                        Some(Ok(_)) => under_way.active(),
                        Some(Err(_)) | None => under_way.ended(None),
                    }
                }
                if over {
                    *this.under_way = None;
                }
                Poll::Ready(frame)
            }
            Poll::Pending => {
                let Some(under_way) = this.under_way else { return Poll::Pending };
                let text = ready!(under_way.poll_over(cx));
                *this.under_way = None;
                let error = Error::new(ErrorKind::Deadline, text);
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

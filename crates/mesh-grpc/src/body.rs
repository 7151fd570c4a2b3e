use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use mesh_tower::client::{Received, ResponseBody as Inner};
use pin_project_lite::pin_project;
use tonic::Status;

use crate::status::of_body_error;

pin_project! {
    /// The body of a gRPC response. Its errors are statuses, so that a stream that breaks or
    /// outlives its deadline ends with the right one.
    pub struct ResponseBody {
        #[pin]
        inner: Inner<Received>,
    }
}

impl ResponseBody {
    pub(crate) fn new(inner: Inner<Received>) -> Self {
        Self { inner }
    }
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.project().inner.poll_frame(cx).map_err(of_body_error)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody").finish_non_exhaustive()
    }
}

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::{Body, BodyError, DEFAULT_CAP_BYTES};

/// What is done with a whole body once it has been read.
type WhenWhole = Box<dyn FnOnce(Bytes) + Send>;

/// A body that hands over a copy of itself when its end has been read.
///
/// One that fails, is given up or is longer than [`DEFAULT_CAP_BYTES`] is not handed over.
struct Tee {
    body: Body,
    kept: BytesMut,
    when_whole: Option<WhenWhole>,
}

impl Body {
    /// The same body, of which `when_whole` gets a copy: at once when it lies in memory.
    pub(crate) fn copied_to(self, when_whole: impl FnOnce(Bytes) + Send + 'static) -> Self {
        if let Some(bytes) = self.in_memory() {
            when_whole(bytes.clone());
            return self;
        }
        let when_whole: WhenWhole = Box::new(when_whole);
        Self::new(Tee { body: self, kept: BytesMut::new(), when_whole: Some(when_whole) })
    }
}

impl HttpBody for Tee {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if self.when_whole.is_some() {
            match &frame {
                Some(Ok(frame)) => self.keep(frame),
                Some(Err(_)) => self.when_whole = None,
                None => {}
            }
            // A reader may stop at the end it was told of.
            if frame.is_none() || self.body.is_end_stream() {
                self.hand_over();
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Tee {
    fn keep(&mut self, frame: &Frame<Bytes>) {
        let Some(data) = frame.data_ref() else { return };
        if self.kept.len() + data.len() > DEFAULT_CAP_BYTES {
            self.when_whole = None;
            self.kept = BytesMut::new();
        } else {
            self.kept.extend_from_slice(data);
        }
    }

    fn hand_over(&mut self) {
        if let Some(when_whole) = self.when_whole.take() {
            when_whole(std::mem::take(&mut self.kept).freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};

    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    /// Reads a body to its end and gives what was handed over.
    async fn copy_of(body: Body) -> Option<Bytes> {
        let kept = Arc::new(Mutex::new(None));
        let copy = kept.clone();
        let body = body.copied_to(move |bytes| *copy.lock().unwrap() = Some(bytes));
        body.collect().await.unwrap();
        kept.lock().unwrap().take()
    }

    fn pieces(count: usize, bytes: usize) -> Body {
        let piece = Bytes::from(vec![b'x'; bytes]);
        let frames = (0..count).map(move |_| Ok::<_, Infallible>(Frame::data(piece.clone())));
        Body::new(StreamBody::new(futures_util::stream::iter(frames)))
    }

    #[tokio::test]
    async fn hands_over_a_whole_body_and_none_that_is_too_long() {
        assert_eq!(copy_of(Body::from("in memory")).await.unwrap(), "in memory");
        assert_eq!(copy_of(pieces(3, 2)).await.unwrap(), "xxxxxx");
        assert_eq!(copy_of(Body::empty()).await.unwrap(), "");
        assert_eq!(copy_of(pieces(64, 1024)).await.unwrap().len(), DEFAULT_CAP_BYTES);
        assert_eq!(copy_of(pieces(65, 1024)).await, None);
    }

    #[tokio::test]
    async fn hands_nothing_over_when_the_body_is_given_up() {
        let kept = Arc::new(Mutex::new(None));
        let copy = kept.clone();
        let mut body = pieces(3, 2).copied_to(move |bytes| *copy.lock().unwrap() = Some(bytes));
        body.frame().await.unwrap().unwrap();
        drop(body);
        assert_eq!(*kept.lock().unwrap(), None);
    }
}

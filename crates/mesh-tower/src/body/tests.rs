use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame};
use http_body_util::{BodyExt, Empty, Full};

use super::{Body, BodyError, BodyErrorKind};

/// A body that does as it is told, step by step, and only learns of its end when polled for it.
pub(super) struct Script(Vec<Step>);

pub(super) enum Step {
    Data(&'static [u8]),
    Trailers(HeaderMap),
    /// Not ready; wakes at once, so that an executor polls again.
    Wait,
    Fail,
}

impl Script {
    pub(super) fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        let mut steps: Vec<_> = steps.into_iter().collect();
        steps.reverse();
        Self(steps)
    }
}

impl HttpBody for Script {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        Poll::Ready(match self.0.pop() {
            None => None,
            Some(Step::Data(data)) => Some(Ok(Frame::data(Bytes::from_static(data)))),
            Some(Step::Trailers(trailers)) => Some(Ok(Frame::trailers(trailers))),
            Some(Step::Fail) => Some(Err(std::io::Error::other("disk on fire"))),
            Some(Step::Wait) => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        })
    }
}

pub(super) fn poll(
    body: &mut (impl HttpBody<Data = Bytes, Error = BodyError> + Unpin),
) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
    Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop()))
}

fn kind_of(body: &Body) -> String {
    format!("{body:?}")
}

#[test]
fn takes_common_bodies_without_boxing() {
    assert!(kind_of(&Body::new(Full::new(Bytes::from_static(b"x")))).contains("memory"));
    assert!(kind_of(&Body::new(Empty::<Bytes>::new())).contains("memory"));
    assert!(kind_of(&Body::new(Body::full("x"))).contains("memory"));
    assert!(kind_of(&Body::new(Full::new(Bytes::new()).boxed_unsync())).contains("memory"));
    assert!(kind_of(&Body::new(Script::new([Step::Data(b"x")]))).contains("boxed"));
}

#[tokio::test]
async fn full_body_is_one_exact_frame() {
    let mut body = Body::from("hello");
    assert_eq!(body.size_hint().exact(), Some(5));
    assert!(!body.is_end_stream());
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "hello");
    assert!(body.is_end_stream());
    assert_eq!(body.size_hint().exact(), Some(0));
    assert!(body.frame().await.is_none());
}

#[test]
fn empty_bytes_are_an_empty_body() {
    assert!(Body::full(Bytes::new()).is_end_stream());
    assert!(Body::from("").is_end_stream());
    assert!(Body::default().is_end_stream());
}

#[tokio::test]
async fn error_of_inner_body_is_the_source() {
    let error = Body::new(Script::new([Step::Fail])).collect().await.unwrap_err();
    assert_eq!(error.kind(), BodyErrorKind::Other);
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!(source.to_string(), "disk on fire");
    // Passing through another boxing does not add a level.
    let again = BodyError::new(error);
    assert_eq!(std::error::Error::source(&again).unwrap().to_string(), "disk on fire");
}

#[tokio::test]
async fn boxed_body_knows_its_end_with_the_last_frame() {
    let mut body = Body::new(Script::new([Step::Data(b"a"), Step::Data(b"b")]));
    assert!(!body.is_end_stream());
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "a");
    assert!(!body.is_end_stream());
    assert_eq!(body.size_hint().lower(), 1);
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "b");
    assert!(body.is_end_stream());
    assert!(body.frame().await.is_none());
    assert!(body.frame().await.is_none());
}

#[test]
fn boxed_body_never_holds_a_frame_back() {
    let mut body = Body::new(Script::new([Step::Data(b"a"), Step::Wait]));
    assert!(matches!(poll(&mut body), Poll::Ready(Some(Ok(_)))));
    assert!(!body.is_end_stream());
    assert!(matches!(poll(&mut body), Poll::Ready(None)));
    assert!(body.is_end_stream());
}

#[tokio::test]
async fn boxed_body_passes_trailers_and_errors_in_order() {
    let mut trailers = HeaderMap::new();
    trailers.insert("x", "1".parse().unwrap());
    let steps = [Step::Data(b"a"), Step::Trailers(trailers)];
    let mut body = Body::new(Script::new(steps));
    assert!(body.frame().await.unwrap().unwrap().is_data());
    assert!(!body.is_end_stream());
    assert_eq!(body.frame().await.unwrap().unwrap().into_trailers().unwrap()["x"], "1");
    assert!(body.is_end_stream());

    let mut body = Body::new(Script::new([Step::Data(b"a"), Step::Fail]));
    assert!(body.frame().await.unwrap().is_ok());
    assert!(!body.is_end_stream());
    assert!(body.frame().await.unwrap().is_err());
}

#[test]
fn body_is_no_larger_than_bytes() {
    assert_eq!(size_of::<Body>(), size_of::<Bytes>());
}

#[test]
fn types_are_send() {
    fn send<T: Send + Unpin>() {}
    fn shared<T: Send + Sync>() {}
    send::<Body>();
    shared::<BodyError>();
    shared::<super::Replay>();
}

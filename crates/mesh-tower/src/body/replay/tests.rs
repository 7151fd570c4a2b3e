use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Body as HttpBody;
use http_body_util::BodyExt;
use proptest::prelude::*;

use super::super::tests::{Script, Step, poll};
use super::{Body, Replay};
use crate::body::BodyErrorKind;

fn body(steps: impl IntoIterator<Item = Step>) -> Body {
    Body::new(Script::new(steps))
}

fn next_data(body: &mut Body) -> Bytes {
    match poll(body) {
        Poll::Ready(Some(Ok(frame))) => frame.into_data().unwrap(),
        other => panic!("expected data, got {other:?}"),
    }
}

async fn bytes(body: Body) -> Bytes {
    body.collect().await.unwrap().to_bytes()
}

#[tokio::test]
async fn replays_the_whole_body() {
    let (first, mut replay) =
        Replay::split(body([Step::Data(b"ab"), Step::Wait, Step::Data(b"c")]));
    assert_eq!(bytes(first).await, "abc");
    for _ in 0..3 {
        assert_eq!(bytes(replay.again().unwrap()).await, "abc");
    }
}

#[tokio::test]
async fn next_attempt_replays_and_then_goes_on() {
    let steps = [Step::Data(b"ab"), Step::Data(b"cd"), Step::Data(b"ef")];
    let (mut first, mut replay) = Replay::split(body(steps));
    assert_eq!(next_data(&mut first), "ab");
    drop(first);

    let mut second = replay.again().unwrap();
    assert_eq!(next_data(&mut second), "ab");
    assert_eq!(next_data(&mut second), "cd");

    let third = replay.again().unwrap();
    assert_eq!(third.size_hint().lower(), 6, "four were kept and two are read ahead");
    assert_eq!(bytes(third).await, "abcdef");
}

#[tokio::test]
async fn earlier_attempt_still_alive_reads_nothing_more() {
    let (mut first, mut replay) = Replay::split(body([Step::Data(b"ab"), Step::Data(b"cd")]));
    assert_eq!(next_data(&mut first), "ab");
    let second = replay.again().unwrap();

    assert!(!first.is_end_stream(), "an early end would be a short body");
    match poll(&mut first) {
        Poll::Ready(Some(Err(error))) => assert_eq!(error.kind(), BodyErrorKind::Superseded),
        other => panic!("expected an error, got {other:?}"),
    }
    assert_eq!(bytes(second).await, "abcd");
    assert!(matches!(poll(&mut first), Poll::Ready(Some(Err(_)))));
}

#[test]
fn superseded_attempt_is_woken() {
    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let count = Arc::new(Count(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&count));

    let never = http_body_util::StreamBody::new(futures_util::stream::pending::<
        Result<http_body::Frame<Bytes>, std::io::Error>,
    >());
    let (first, mut replay) = Replay::split(Body::new(never));
    let mut first = pin!(first);
    assert!(first.as_mut().poll_frame(&mut Context::from_waker(&waker)).is_pending());
    let _second = replay.again().unwrap();
    assert_eq!(count.0.load(Ordering::Relaxed), 1);
    assert!(matches!(
        first.as_mut().poll_frame(&mut Context::from_waker(&waker)),
        Poll::Ready(Some(Err(_)))
    ));
}

#[tokio::test]
async fn keeps_exactly_the_cap() {
    let (first, mut replay) =
        Replay::split_with_cap(body([Step::Data(b"ab"), Step::Data(b"cd")]), 4);
    assert_eq!(bytes(first).await, "abcd");
    assert_eq!(bytes(replay.again().unwrap()).await, "abcd");

    let (first, mut replay) =
        Replay::split_with_cap(body([Step::Data(b"ab"), Step::Data(b"cd")]), 3);
    assert_eq!(bytes(first).await, "abcd", "over the cap the body still goes out whole");
    assert!(!replay.is_replayable());
    assert!(replay.again().is_none());
}

#[tokio::test]
async fn later_attempt_may_go_over_the_cap() {
    let steps = [Step::Data(b"ab"), Step::Data(b"cd"), Step::Data(b"ef")];
    let (mut first, mut replay) = Replay::split_with_cap(body(steps), 4);
    assert_eq!(next_data(&mut first), "ab");
    let second = replay.again().unwrap();
    assert_eq!(bytes(second).await, "abcdef");
    assert!(replay.again().is_none());
}

#[tokio::test]
async fn keeps_no_more_frames_than_the_limit() {
    let many = std::iter::repeat_with(|| Step::Data(b"x")).take(super::attempt::MAX_FRAMES + 1);
    let (first, replay) = Replay::split(body(many));
    assert_eq!(bytes(first).await.len(), super::attempt::MAX_FRAMES + 1);
    assert!(!replay.is_replayable());
}

#[tokio::test]
async fn replays_trailers() {
    let mut trailers = HeaderMap::new();
    trailers.insert("checksum", "7".parse().unwrap());
    let steps = [Step::Data(b"ab"), Step::Trailers(trailers.clone())];
    let (first, mut replay) = Replay::split(body(steps));
    let first = first.collect().await.unwrap();
    assert_eq!(first.trailers(), Some(&trailers));
    let second = replay.again().unwrap().collect().await.unwrap();
    assert_eq!(second.trailers(), Some(&trailers));
    assert_eq!(second.to_bytes(), "ab");
}

#[tokio::test]
async fn failed_body_is_never_replayed_nor_taken_for_ended() {
    let (mut first, mut replay) = Replay::split(body([Step::Data(b"ab"), Step::Fail]));
    assert_eq!(next_data(&mut first), "ab");
    assert!(matches!(poll(&mut first), Poll::Ready(Some(Err(_)))));
    assert!(!first.is_end_stream());
    assert!(matches!(poll(&mut first), Poll::Ready(Some(Err(_)))));
    assert!(replay.again().is_none());
}

#[tokio::test]
async fn memory_bodies_are_cloned_whatever_their_size() {
    let large = vec![7; super::DEFAULT_CAP_BYTES * 2];
    let (first, mut replay) = Replay::split(Body::from(large.clone()));
    assert_eq!(first.size_hint().exact(), Some(large.len() as u64));
    assert_eq!(bytes(first).await, large);
    assert_eq!(bytes(replay.again().unwrap()).await, large);

    let (first, mut replay) = Replay::split(Body::empty());
    assert!(first.is_end_stream() && replay.again().unwrap().is_end_stream());
}

#[tokio::test]
async fn keeps_nothing_more_once_the_handle_is_gone() {
    let (mut first, replay) = Replay::split(body([Step::Data(b"ab"), Step::Data(b"cd")]));
    assert_eq!(next_data(&mut first), "ab");
    drop(replay);
    assert_eq!(next_data(&mut first), "cd");
    let text = format!("{first:?}");
    assert!(matches!(poll(&mut first), Poll::Ready(None)), "{text}");
}

#[tokio::test]
async fn every_attempt_ends_with_its_last_frame() {
    let (first, mut replay) = Replay::split(body([Step::Data(b"ab")]));
    let mut attempt = Some(first);
    for _ in 0..2 {
        let mut body = attempt.take().unwrap();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "ab");
        assert!(body.is_end_stream());
        attempt = replay.again();
    }
}

proptest! {
    /// Whatever the frame sizes, the cap, and where each attempt is given up: the attempt that runs
    /// to its end sends every byte, or there is none.
    #[test]
    fn never_a_short_body(
        sizes in prop::collection::vec(0_usize..5, 0..12),
        cap in 0_usize..40,
        give_up in prop::collection::vec(0_usize..12, 0..4),
    ) {
        const BYTES: &[u8] = b"abcde";
        let whole: Vec<u8> = sizes.iter().flat_map(|&n| BYTES[..n].to_vec()).collect();
        let (first, mut replay) = Replay::split_with_cap(
            body(sizes.iter().map(|&n| Step::Data(&BYTES[..n]))), cap);
        let mut attempt = Some(first);
        let mut alive = Vec::new();
        for frames in give_up {
            let Some(mut body) = attempt.take() else { break };
            for _ in 0..frames {
                let _ = poll(&mut body);
            }
            alive.push(body);
            attempt = replay.again();
        }
        if let Some(mut body) = attempt {
            let mut sent = Vec::new();
            while let Poll::Ready(Some(frame)) = poll(&mut body) {
                sent.extend_from_slice(&frame.unwrap().into_data().unwrap());
            }
            prop_assert_eq!(sent, whole);
            prop_assert!(body.is_end_stream());
        } else {
            prop_assert!(whole.len() > cap);
        }
    }
}

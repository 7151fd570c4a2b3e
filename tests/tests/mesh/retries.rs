//! Retries and timeouts on real sockets.

use std::convert::Infallible;
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use mesh_tests::client::mesh_error;
use mesh_tests::serve::{Serving, any_port, refused, serve};
use mesh_tests::{Backend, Control, get, mesh, send, yaml};
use mesh_tower::{Body, Channel, ErrorKind, Record};

/// What a server does with one attempt.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// Reads the body and gives it back with this status.
    Answer(u16),
    /// Never answers.
    Hang,
    /// Drops the connection.
    Close,
}

/// A server that plays a script, and after it answers 200; and the bodies it read.
#[derive(Debug)]
struct Script {
    channel: Channel,
    bodies: Arc<Mutex<Vec<Bytes>>>,
    _serving: Serving,
    _control: Control,
}

impl Script {
    async fn play(acts: &[Act], policy: &str) -> Self {
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let acts = Arc::new(Mutex::new(acts.iter().rev().copied().collect::<Vec<_>>()));
        let seen = bodies.clone();
        let service = tower::service_fn(move |request: Request<Incoming>| {
            let act = acts.lock().unwrap().pop().unwrap_or(Act::Answer(200));
            let seen = seen.clone();
            async move {
                let body = request.into_body().collect().await?.to_bytes();
                seen.lock().unwrap().push(body.clone());
                match act {
                    Act::Answer(status) => {
                        let mut response = Response::new(Full::from(body));
                        *response.status_mut() = StatusCode::from_u16(status)?;
                        Ok(response)
                    }
                    Act::Hang => pending().await,
                    Act::Close => Err(mesh_tower::BoxError::from("closed by the script")),
                }
            }
        });
        let serving = serve(any_port(), service).await;
        let http = format!("  - route: [{{destination: {{host: echo}}}}]\n    {policy}\n");
        let files = [
            ("service.yaml", yaml::service("echo", 9080, "HTTP", &[(serving.address(), "v1")])),
            ("routes.yaml", yaml::routes("echo", &http)),
        ];
        let control =
            Control::start(&files.each_ref().map(|(name, text)| (*name, text.as_str()))).await;
        let channel = Channel::new(&mesh(control.xds()), "echo:9080").unwrap();
        Self { channel, bodies, _serving: serving, _control: control }
    }

    fn attempts(&self) -> usize {
        self.bodies.lock().unwrap().len()
    }
}

/// A body that arrives in pieces and does not say how long it is.
fn pieces(count: usize, bytes: usize) -> Body {
    let frames = (0..count).map(move |number| {
        let piece = Bytes::from(vec![b'a' + (number % 26) as u8; bytes]);
        Ok::<_, Infallible>(Frame::data(piece))
    });
    Body::new(StreamBody::new(tokio_stream::iter(frames)))
}

fn post(body: Body) -> Request<Body> {
    Request::post("/").body(body).unwrap()
}

#[tokio::test]
async fn body_is_replayed_whole_to_the_next_attempt() {
    let policy = "retries: {attempts: 2, retryOn: 5xx, backoff: 1ms}";
    let script = Script::play(&[Act::Answer(503), Act::Answer(500)], policy).await;
    let answer = send(&script.channel, post(pieces(26, 1_000))).await.unwrap();
    assert_eq!(answer.status, 200);
    let bodies = script.bodies.lock().unwrap();
    assert_eq!(bodies.len(), 3);
    assert!(bodies.iter().all(|body| body.len() == 26_000 && *body == answer.body));
}

#[tokio::test]
async fn body_too_long_to_keep_is_sent_once() {
    let policy = "retries: {attempts: 2, retryOn: 5xx, backoff: 1ms}";
    let script = Script::play(&[Act::Answer(503)], policy).await;
    let answer = send(&script.channel, post(pieces(100, 1_000))).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.body.len()), (503, 100_000));
    assert_eq!(script.attempts(), 1);
}

#[tokio::test]
async fn last_answer_is_returned_when_retries_are_used_up() {
    let policy = "retries: {attempts: 2, retryOn: 5xx, backoff: 1ms}";
    let script = Script::play(&[Act::Answer(503); 10], policy).await;
    let answer = get(&script.channel, "/").await.unwrap();
    assert_eq!(answer.status, 503);
    assert_eq!(script.attempts(), 3);
}

#[tokio::test]
async fn answers_that_no_condition_names_are_returned_at_once() {
    let policy = "retries: {attempts: 2, retryOn: \"5xx,409\", backoff: 1ms}";
    for (status, attempts) in [(404, 1), (409, 2), (502, 2)] {
        let script = Script::play(&[Act::Answer(status)], policy).await;
        get(&script.channel, "/").await.unwrap();
        assert_eq!(script.attempts(), attempts, "{status}");
    }
}

#[tokio::test]
async fn attempt_that_hangs_is_given_up_for_another() {
    let policy = "retries: {attempts: 1, perTryTimeout: 200ms, retryOn: 5xx, backoff: 1ms}";
    let script = Script::play(&[Act::Hang], policy).await;
    let start = Instant::now();
    let answer = send(&script.channel, post(Body::from("kept"))).await.unwrap();
    assert_eq!((answer.status.as_u16(), &*answer.body), (200, &b"kept"[..]));
    assert_eq!(script.attempts(), 2);
    let elapsed = start.elapsed();
    assert!((Duration::from_millis(200)..Duration::from_secs(2)).contains(&elapsed), "{elapsed:?}");
}

#[tokio::test]
async fn route_timeout_ends_all_attempts_together() {
    let policy = "timeout: 500ms\n    \
                  retries: {attempts: 9, perTryTimeout: 200ms, retryOn: 5xx, backoff: 1ms}";
    let script = Script::play(&[Act::Hang; 20], policy).await;
    let start = Instant::now();
    let error = get(&script.channel, "/").await.unwrap_err();
    let elapsed = start.elapsed();
    assert_eq!(mesh_error(&error).kind(), ErrorKind::Deadline, "{error}");
    assert_eq!(mesh_error(&error).to_response().status(), 504);
    assert!((Duration::from_millis(500)..Duration::from_secs(2)).contains(&elapsed), "{elapsed:?}");
    assert_eq!(script.attempts(), 3);
}

#[tokio::test]
async fn connection_that_breaks_is_tried_again_only_where_asked() {
    let reset = "retries: {attempts: 1, retryOn: reset, backoff: 1ms}";
    let script = Script::play(&[Act::Close], reset).await;
    assert_eq!(get(&script.channel, "/").await.unwrap().status, 200);
    assert_eq!(script.attempts(), 2);

    let none = "retries: {attempts: 1, retryOn: connect-failure, backoff: 1ms}";
    let script = Script::play(&[Act::Close], none).await;
    let error = get(&script.channel, "/").await.unwrap_err();
    assert_eq!(mesh_error(&error).kind(), ErrorKind::Reset, "{error}");
    assert_eq!(script.attempts(), 1);
}

#[tokio::test]
async fn refused_connection_moves_on_to_another_endpoint() {
    let (_socket, dead) = refused();
    let alive = Backend::start("echo", "v2").await;
    for protocol in ["HTTP", "HTTP2"] {
        let endpoints = [(dead, "v1"), (alive.address, "v2")];
        let service = yaml::service("echo", 9080, protocol, &endpoints);
        let rule = yaml::round_robin("echo");
        let files = [("service.yaml", service.as_str()), ("rule.yaml", &rule)];
        let control = Control::start(&files).await;
        let channel = Channel::new(&mesh(control.xds()), "echo:9080").unwrap();
        let mut refused = 0;
        for _ in 0..50 {
            let record = Record::new();
            let request = Request::post("/").extension(record.clone()).body(pieces(3, 10_000));
            let answer = send(&channel, request.unwrap()).await.unwrap();
            assert_eq!((answer.version(), &answer.json()["body_bytes"]), ("v2", &30_000.into()));
            assert_eq!(record.endpoint(), Some(alive.address));
            refused += record.attempts() - 1;
        }
        // Each request takes both turns, so the next one begins at the dead endpoint again.
        assert!(refused >= 49, "refused {refused} times");
    }
}

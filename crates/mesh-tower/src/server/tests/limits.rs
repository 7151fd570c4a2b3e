//! What clients may do, and what becomes of those that do more.

use http::StatusCode;
use http_body_util::{Full, StreamBody};
use hyper::body::Frame;

use super::*;
use crate::server::Limits;

const MINUTE: Duration = Duration::from_secs(60);

fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    change(&mut limits);
    limits
}

async fn with_limits(change: impl FnOnce(&mut Limits)) -> Server {
    bound().await.with_limits(limits(change))
}

/// Answers with what became of the request's body.
async fn reads(request: Request<RequestBody>) -> Response<Body> {
    match request.into_body().collect().await {
        Ok(body) => Response::new(Body::from(body.to_bytes())),
        Err(error) => {
            let error = error.downcast::<std::io::Error>().unwrap();
            assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
            let mut answer = Response::new(Body::empty());
            *answer.status_mut() = StatusCode::REQUEST_TIMEOUT;
            answer
        }
    }
}

#[tokio::test]
async fn request_with_too_many_headers_is_refused() {
    let (address, _server) = start(bound().await, hello);
    let with = |count: usize, mut request: Request<Empty<Bytes>>| {
        let names = (request.headers().len()..count).map(|n| format!("x-{n}"));
        for name in names {
            let name = http::HeaderName::try_from(name).unwrap();
            request.headers_mut().insert(name, "".parse().unwrap());
        }
        request
    };
    for (count, status) in [(100, 200), (101, 431), (900, 431)] {
        let one = client1(address).await.send_request(with(count, get1("/"))).await.unwrap();
        assert_eq!(one.status(), status, "{count} headers on HTTP/1.1");
        let two = client2(address).await.send_request(with(count, get2("/"))).await.unwrap();
        assert_eq!(two.status(), status, "{count} headers on HTTP/2");
    }
}

/// A client that sends a head and `parts` of a body, one a minute.
async fn trickle(address: SocketAddr, parts: usize) -> (String, Duration) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 1000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let began = Instant::now();
    let (mut read, mut write) = stream.into_split();
    let sending = tokio::spawn(async move {
        for _ in 0..parts {
            tokio::time::sleep(MINUTE).await;
            if write.write_all(b"x").await.is_err() {
                break;
            }
        }
        pending::<()>().await;
    });
    let mut answer = vec![0; 12];
    read.read_exact(&mut answer).await.unwrap();
    sending.abort();
    (String::from_utf8(answer).unwrap(), began.elapsed())
}

#[tokio::test(start_paused = true)]
async fn body_that_stops_is_given_up() {
    let (address, _server) = start(bound().await, reads);
    let (answer, after) = trickle(address, 2).await;
    assert_eq!(answer, "HTTP/1.1 408");
    assert_eq!(after.as_secs(), 120 + 300);
}

#[tokio::test(start_paused = true)]
async fn no_limit_may_be_told_as_the_longest_time() {
    let server = with_limits(|limits| {
        limits.body_idle_timeout = Duration::MAX;
        limits.request_timeout = Some(10 * MINUTE);
    });
    let (stop, stopped) = oneshot::channel::<()>();
    let server = server.await.with_drain_timeout(Duration::MAX);
    let server = server.with_graceful_shutdown(async { drop(stopped.await) });
    let (address, server) = start(server, reads);
    let (answer, after) = trickle(address, 1).await;
    assert_eq!((answer.as_str(), after.as_secs()), ("HTTP/1.1 408", 600));
    stop.send(()).unwrap();
    server.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn body_that_trickles_is_given_up_at_its_end() {
    let server = with_limits(|limits| limits.request_timeout = Some(10 * MINUTE)).await;
    let (address, _server) = start(server, reads);
    let (answer, after) = trickle(address, 1000).await;
    assert_eq!((answer.as_str(), after.as_secs()), ("HTTP/1.1 408", 600));
}

#[tokio::test(start_paused = true)]
async fn client_that_takes_no_bytes_is_cut() {
    struct Noted(watch::Sender<bool>);
    impl Drop for Noted {
        fn drop(&mut self) {
            self.0.send_replace(true);
        }
    }
    let gone = watch::Sender::new(false);
    let noted = gone.clone();
    let endless = move |_: Request<RequestBody>| {
        let noted = Noted(noted.clone());
        let parts = futures_util::stream::repeat_with(move || {
            let _noted = &noted;
            Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[b'x'; 1 << 14])))
        });
        async move { Response::new(Body::new(StreamBody::new(parts))) }
    };
    let (address, _server) = start(bound().await, endless);
    let mut stream = TcpStream::connect(address).await.unwrap();
    let began = Instant::now();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n").await.unwrap();
    gone.subscribe().wait_for(|gone| *gone).await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 300);
}

#[tokio::test(start_paused = true)]
async fn unused_http2_connection_is_closed() {
    let server = with_limits(|limits| limits.idle_timeout = 4 * MINUTE).await;
    let (address, _server) = start(server, hello);
    for uses in [0, 1] {
        let mut two = client2(address).await;
        if uses > 0 {
            assert_eq!(text(two.send_request(get2("/")).await.unwrap()).await, "hello");
        }
        let began = Instant::now();
        while !two.is_closed() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let after = began.elapsed();
        assert!((4 * MINUTE..=5 * MINUTE + IDLE).contains(&after), "{uses}: {after:?}");
    }
}

/// What rounding and the drain itself add.
const IDLE: Duration = Duration::from_secs(3);

#[tokio::test(start_paused = true)]
async fn connection_with_a_call_is_not_unused() {
    let held = Held::new();
    let server = with_limits(|limits| limits.idle_timeout = MINUTE).await;
    let app = held.clone();
    let (address, _server) = start(server, move |request| app.clone().answer(request));
    let mut two = client2(address).await;
    let call = tokio::spawn(async move { text(two.send_request(get2("/")).await.unwrap()).await });
    held.begun(1).await;
    tokio::time::sleep(100 * MINUTE).await;
    held.release.send(true).unwrap();
    assert_eq!(call.await.unwrap(), "hello");
}

#[tokio::test(start_paused = true)]
async fn old_connection_is_drained_and_its_calls_finish() {
    let held = Held::new();
    let server = with_limits(|limits| limits.max_connection_age = Some(10 * MINUTE)).await;
    let app = held.clone();
    let (address, _server) = start(server, move |request| {
        let app = app.clone();
        async move {
            match request.uri().path() {
                "/held" => app.answer(request).await,
                _ => hello(request).await,
            }
        }
    });
    let mut two = client2(address).await;
    let began = Instant::now();
    let mut first = two.clone();
    let call = tokio::spawn(async move { first.send_request(get2("/held")).await });
    held.begun(1).await;
    while two.send_request(get2("/")).await.is_ok() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let age = began.elapsed();
    assert!((9 * MINUTE..=11 * MINUTE + IDLE).contains(&age), "{age:?}");
    assert!(!call.is_finished());
    held.release.send(true).unwrap();
    assert_eq!(text(call.await.unwrap().unwrap()).await, "hello");
    assert!(client2(address).await.send_request(get2("/")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn call_on_an_old_connection_is_cut_after_the_grace() {
    let held = Held::new();
    let server = with_limits(|limits| {
        limits.max_connection_age = Some(10 * MINUTE);
        limits.max_connection_age_grace = Some(5 * MINUTE);
    });
    let app = held.clone();
    let (address, _server) = start(server.await, move |request| app.clone().answer(request));
    for protocol in [1, 2] {
        let began = Instant::now();
        let failed = match protocol {
            1 => client1(address).await.send_request(get1("/")).await.is_err(),
            _ => client2(address).await.send_request(get2("/")).await.is_err(),
        };
        let after = began.elapsed();
        assert!(failed && (14 * MINUTE..=16 * MINUTE + IDLE).contains(&after), "{after:?}");
    }
}

#[tokio::test]
async fn calls_beyond_the_limit_of_streams_wait() {
    let held = Held::new();
    let server = with_limits(|limits| limits.max_concurrent_streams = 2).await;
    let app = held.clone();
    let (address, _server) = start(server, move |request| app.clone().answer(request));
    let two = client2(address).await;
    // Its settings have arrived with the first answer.
    held.release.send_replace(true);
    assert!(two.clone().send_request(get2("/")).await.unwrap().status().is_success());
    held.release.send_replace(false);
    let calls: Vec<_> = (0..5)
        .map(|_| {
            let mut two = two.clone();
            tokio::spawn(async move { two.send_request(get2("/")).await.unwrap().status() })
        })
        .collect();
    soon(held.begun(3)).await;
    tokio::task::yield_now().await;
    assert_eq!(*held.begun.borrow(), 3, "one before, two now");
    held.release.send(true).unwrap();
    for call in calls {
        assert!(soon(call).await.unwrap().is_success());
    }
}

#[tokio::test]
async fn whole_body_in_time_is_read() {
    let (address, _server) = start(bound().await, reads);
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let body = Full::new(Bytes::from(vec![b'x'; 300_000]));
    let request = Request::post("/").header("host", "test").body(body).unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(text(answer).await.len(), 300_000);
}

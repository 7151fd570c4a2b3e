//! A child never outlives its parent: three tiers, of which the middle one is a server of ours that
//! calls the last.

use std::time::{Duration, Instant};

use http::{Request, Response, StatusCode};
use mesh_core::Dialect;
use mesh_tests::serve::any_port;
use mesh_tests::world::{TARGET, World};
use mesh_tests::{send, within};
use mesh_tower::server::RequestBody;
use mesh_tower::{Body, BoxError, Channel, Deadline, ErrorKind, Mesh, Server};
use tokio::sync::mpsc;
use tower::ServiceExt as _;

/// What the last tier saw: the headers that tell the time, and when its handler was dropped.
#[derive(Debug)]
enum Seen {
    Told(Option<String>, Option<String>),
    Dropped(Instant),
}

struct Dropped(mpsc::UnboundedSender<Seen>);

impl Drop for Dropped {
    fn drop(&mut self) {
        // Nobody asks any more when the test is over.
        let _ = self.0.send(Seen::Dropped(Instant::now()));
    }
}

/// A last tier that never answers.
async fn silent() -> (std::net::SocketAddr, mpsc::UnboundedReceiver<Seen>, Mesh) {
    let (seen, events) = mpsc::unbounded_channel();
    let mesh = Mesh::disabled().unwrap();
    let server = Server::bind(&mesh, any_port()).await.unwrap();
    let address = server.local_addr();
    let app = tower::service_fn(move |request: Request<RequestBody>| {
        let header = |name: &str| {
            let value = request.headers().get(name)?;
            Some(value.to_str().unwrap().to_owned())
        };
        let told = Seen::Told(header("x-envoy-expected-rq-timeout-ms"), header("grpc-timeout"));
        seen.send(told).unwrap();
        let dropped = Dropped(seen.clone());
        async move {
            let _dropped = dropped;
            std::future::pending::<Result<Response<Body>, BoxError>>().await
        }
    });
    tokio::spawn(server.serve(app));
    (address, events, mesh)
}

/// A middle tier that asks the last one, with a deadline of its own or none, in a task of its own or
/// not, and answers with the kind of error it got and the time that took.
async fn middle(
    last: std::net::SocketAddr,
    dialect: Dialect,
    own: Option<Duration>,
) -> (std::net::SocketAddr, Mesh) {
    let mesh = World::new(&[last]).channel().0;
    let channel = Channel::with_dialect(&mesh, TARGET, dialect).unwrap();
    let server = Server::bind(&mesh, any_port()).await.unwrap();
    let address = server.local_addr();
    let app = tower::service_fn(move |request: Request<RequestBody>| {
        let channel = channel.clone();
        async move {
            let mut call = Request::get("/last").body(Body::empty())?;
            if let Some(own) = own {
                call.extensions_mut().insert(Deadline(Instant::now() + own));
            }
            assert_eq!(request.extensions().get().copied(), Deadline::inherited());
            let began = Instant::now();
            let error = match request.uri().path() {
                "/spawned" => {
                    let deadline = Deadline::inherited().ok_or("no deadline")?;
                    let call = async move { channel.oneshot(call).await.map(drop) };
                    tokio::spawn(deadline.scope(call)).await?.err()
                }
                _ => channel.oneshot(call).await.err(),
            };
            let error = error.ok_or("an answer")?;
            let text = format!("{:?} {}", error.kind(), began.elapsed().as_millis());
            let mut answer = Response::new(Body::from(text));
            *answer.status_mut() = StatusCode::GATEWAY_TIMEOUT;
            Ok::<_, BoxError>(answer)
        }
    });
    tokio::spawn(server.serve(app));
    (address, mesh)
}

/// Asks the middle tier as a client that tells the time it has and then waits for ever.
async fn ask(middle: std::net::SocketAddr, path: &str, header: &str, value: &str) -> (String, u64) {
    let (_mesh, channel) = World::new(&[middle]).channel();
    let request = Request::get(path).header(header, value).body(Body::empty()).unwrap();
    let answer = within("answer", send(&channel, request)).await.unwrap();
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    let (kind, millis) = text.split_once(' ').unwrap();
    (kind.to_owned(), millis.parse().unwrap())
}

#[tokio::test]
async fn call_made_while_handling_ends_with_the_callers_time() {
    let table = [
        ("/", "x-envoy-expected-rq-timeout-ms", "200", Dialect::Http),
        ("/", "grpc-timeout", "200m", Dialect::Http),
        ("/", "x-envoy-expected-rq-timeout-ms", "200", Dialect::Grpc),
        ("/spawned", "grpc-timeout", "200000u", Dialect::Grpc),
    ];
    for (path, header, value, dialect) in table {
        let (last, mut events, _last) = silent().await;
        let (middle, _middle) = middle(last, dialect, None).await;
        let began = Instant::now();
        let (kind, millis) = ask(middle, path, header, value).await;
        assert_eq!(kind, "Deadline", "{header} {dialect:?}");
        assert!((150..2000).contains(&millis), "{header} {dialect:?}: {millis} ms");

        let Some(Seen::Told(http, grpc)) = events.recv().await else { panic!("no request") };
        let left = match dialect {
            Dialect::Http => http.unwrap().parse::<u64>().unwrap(),
            Dialect::Grpc => {
                let grpc = grpc.unwrap();
                let (digits, unit) = grpc.split_at(grpc.len() - 1);
                assert!(unit == "u" || unit == "n", "{grpc}");
                digits.parse::<u64>().unwrap() / if unit == "u" { 1000 } else { 1_000_000 }
            }
        };
        assert!((1..=200).contains(&left), "{header} {dialect:?}: {left} ms left");
        let ended = within("end of the last tier", events.recv()).await;
        let Some(Seen::Dropped(at)) = ended else { panic!("{ended:?}") };
        assert!(at - began < Duration::from_secs(2), "{:?}", at - began);
    }
}

#[tokio::test]
async fn childs_own_deadline_counts_where_it_is_earlier() {
    let (last, _events, _last) = silent().await;
    let (middle, _middle) = middle(last, Dialect::Http, Some(Duration::from_millis(100))).await;
    let header = "x-envoy-expected-rq-timeout-ms";
    let (kind, millis) = ask(middle, "/", header, "60000").await;
    assert_eq!(kind, "Deadline");
    assert!((80..5000).contains(&millis), "{millis} ms");
}

#[tokio::test]
async fn first_tiers_deadline_reaches_the_last() {
    let (last, mut events, _last) = silent().await;
    let (middle, _middle) = middle(last, Dialect::Http, None).await;
    let (_mesh, channel) = World::new(&[middle]).channel();
    let deadline = Deadline(Instant::now() + Duration::from_millis(300));
    let request = Request::get("/").extension(deadline).body(Body::empty()).unwrap();
    // Time is told in whole milliseconds: the middle's may be over before the first tier's.
    match within("end", send(&channel, request)).await {
        Ok(answer) => assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT),
        Err(error) => {
            let error = error.downcast::<mesh_tower::Error>().unwrap();
            assert_eq!(error.kind(), ErrorKind::Deadline);
        }
    }
    let Some(Seen::Told(Some(left), _)) = events.recv().await else { panic!("not told") };
    assert!((1..=300).contains(&left.parse::<u64>().unwrap()), "{left}");
    let ended = within("end of the last tier", events.recv()).await;
    let Some(Seen::Dropped(at)) = ended else { panic!("{ended:?}") };
    assert!(at < deadline.0 + Duration::from_secs(2));
}

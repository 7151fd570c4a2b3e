//! What a request asks of its route counts, and stays on this side.

use std::time::{Duration, Instant};

use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use mesh_core::resource::{Forward, MaxGrpcTimeout, RetryConditions, RetryPolicy, RouteMatch};
use mesh_tests::client::mesh_error;
use mesh_tests::send;
use mesh_tests::serve::{Serving, any_port, serve};
use mesh_tests::world::{Notes, World, forward};
use mesh_tower::{Body, BoxError, Channel, ErrorKind, Record};
use tokio::sync::Semaphore;

fn with(headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::get("/");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).unwrap()
}

fn channel(server: &Notes, change: impl FnOnce(&mut Forward)) -> (mesh_tower::Mesh, Channel) {
    let route = forward(RouteMatch::prefix("/"), "things", change);
    World::new(&[server.address()]).with_routes(vec![route]).channel()
}

/// A server that never answers.
async fn silent() -> Serving {
    let service = tower::service_fn(|_: Request<Incoming>| async {
        Semaphore::new(0).acquire().await?.forget();
        Ok::<_, BoxError>(Response::new(Full::new(Bytes::new())))
    });
    serve(any_port(), service).await
}

#[tokio::test]
async fn request_asks_for_retries_on_a_route_without_any() {
    let server = Notes::answering(|number| (if number < 3 { 503 } else { 200 }, &[])).await;
    let (_mesh, channel) = channel(&server, |_| {});
    let asked = [("x-envoy-retry-on", "5xx"), ("x-envoy-max-retries", "5"), ("x-kept", "1")];
    assert_eq!(send(&channel, with(&asked)).await.unwrap().status, 200);
    let seen = server.seen();
    assert_eq!(seen.len(), 4);
    for one in &seen {
        assert_eq!(one.headers["x-kept"], "1");
        let left = one.headers.keys().find(|name| name.as_str().starts_with("x-envoy-"));
        assert_eq!(left, None);
    }
}

#[tokio::test]
async fn request_adds_to_the_policy_of_its_route() {
    let server = Notes::answering(|_| (418, &[])).await;
    let (_mesh, channel) = channel(&server, |forward| {
        forward.retry_policy = Some(RetryPolicy::new(RetryConditions::FIVE_XX).into());
    });
    assert_eq!(send(&channel, with(&[])).await.unwrap().status, 418);
    assert_eq!(server.seen().len(), 1);
    let asked = [
        ("x-envoy-retry-on", "retriable-status-codes"),
        ("x-envoy-retriable-status-codes", "418"),
        ("x-envoy-max-retries", "2"),
    ];
    assert_eq!(send(&channel, with(&asked)).await.unwrap().status, 418);
    assert_eq!(server.seen().len(), 4);
    let none = [("x-envoy-max-retries", "0")];
    assert_eq!(send(&channel, with(&none)).await.unwrap().status, 418);
    assert_eq!(server.seen().len(), 5);
}

#[tokio::test]
async fn request_asks_for_its_timeouts() {
    let (server, good) = (silent().await, Notes::take().await);
    let (_mesh, channel) = World::new(&[server.address()]).channel();
    let asked = ("x-envoy-upstream-rq-timeout-ms", "100");
    let started = Instant::now();
    let error = send(&channel, with(&[asked])).await.unwrap_err();
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(100) && took < Duration::from_secs(10), "{took:?}");
    let error = mesh_error(&error);
    assert_eq!((error.kind(), error.to_response().status().as_u16()), (ErrorKind::Deadline, 504));
    assert_eq!(error.details().as_deref(), Some("response_timeout"));
    let unsaid = ("x-envoy-upstream-rq-timeout-alt-response", "1");
    let error = send(&channel, with(&[asked, unsaid])).await.unwrap_err();
    assert_eq!(mesh_error(&error).to_response().status(), 204);

    let (_mesh, channel) = World::new(&[server.address(), good.address()]).channel();
    let asked = [
        ("x-envoy-upstream-rq-per-try-timeout-ms", "50"),
        ("x-envoy-retry-on", "5xx"),
        ("x-envoy-max-retries", "20"),
    ];
    for _ in 0..4 {
        assert_eq!(send(&channel, with(&asked)).await.unwrap().status, 200);
    }
    assert_eq!(good.seen().len(), 4);
}

#[tokio::test]
async fn grpc_timeout_counts_on_routes_that_look_at_it() {
    let server = Notes::take().await;
    let (_mesh, channel) = channel(&server, |forward| {
        let (max, offset) = (Duration::from_secs(2), Some(Duration::from_millis(500)));
        forward.max_grpc_timeout = Some(Box::new(MaxGrpcTimeout { max, offset }));
    });
    let table = [("1S", "500000u"), ("9S", "2000000u"), ("100m", "100000u")];
    for (asked, told) in table {
        let request = with(&[("content-type", "application/grpc"), ("grpc-timeout", asked)]);
        send(&channel, request).await.unwrap();
        assert_eq!(server.seen().last().unwrap().headers["grpc-timeout"], told, "{asked}");
    }
    // Other content is none of its business.
    send(&channel, with(&[("grpc-timeout", "9S")])).await.unwrap();
    assert_eq!(server.seen().last().unwrap().headers["grpc-timeout"], "9S");
}

#[tokio::test]
async fn grpc_timeout_ends_the_stream_where_the_route_says_so() {
    let server = silent().await;
    let route = forward(RouteMatch::prefix("/"), "things", |forward| {
        let limits = &mut forward.max_stream_duration;
        limits.grpc_timeout_header_max = Some(Duration::from_millis(200));
        limits.grpc_timeout_header_offset = Some(Duration::from_millis(100));
    });
    let world = World::new(&[server.address()]).with_routes(vec![route]);
    let (_mesh, channel) = world.channel();
    for (asked, at_least) in [("150m", 50), ("1H", 100)] {
        let record = Record::new();
        let mut request = with(&[("grpc-timeout", asked)]);
        request.extensions_mut().insert(record.clone());
        let started = Instant::now();
        let error = send(&channel, request).await.unwrap_err();
        let took = started.elapsed();
        assert!(took >= Duration::from_millis(at_least), "{asked}: {took:?}");
        assert!(took < Duration::from_secs(10), "{asked}: {took:?}");
        assert_eq!(mesh_error(&error).kind(), ErrorKind::Deadline);
        assert_eq!(record.details().as_deref(), Some("max_duration_timeout"));
    }
}

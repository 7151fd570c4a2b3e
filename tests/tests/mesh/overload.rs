//! What is held back: by a cluster's endpoints, by breakers, by a server that asks for time.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use http::Request;
use mesh_core::Dialect;
use mesh_core::resource::{
    ClusterLoadAssignment, DropOverload, RetryConditions, RetryPolicy, RouteMatch, RoutingPriority,
};
use mesh_tests::client::mesh_error;
use mesh_tests::world::{Notes, TARGET, World, forward, held};
use mesh_tests::{eventually, get, send};
use mesh_tower::{Body, Channel, ErrorKind, Record};
use meshctl::proto::EchoRequest;
use meshctl::proto::echo_client::EchoClient;
use tokio::sync::Semaphore;
use tonic::Code;

/// A world that drops every request, and would retry all that can be.
fn dropping(server: &Notes) -> World {
    let mut endpoints = ClusterLoadAssignment::of_addresses("things", [server.address()]);
    let drop_all = DropOverload { category: "busy".into(), per_million: 1_000_000 };
    endpoints.drop_overloads = vec![drop_all];
    let route = forward(RouteMatch::prefix("/"), "things", |forward| {
        let conditions = RetryConditions::FIVE_XX | RetryConditions::UNAVAILABLE;
        let mut policy = RetryPolicy::new(conditions);
        policy.num_retries = 3;
        forward.retry_policy = Some(policy.into());
    });
    World::new(&[]).with_routes(vec![route]).with_endpoints(endpoints)
}

#[tokio::test]
async fn dropped_request_is_answered_at_once_and_never_tried_again() {
    let server = Notes::take().await;
    let (_mesh, channel) = dropping(&server).channel();
    let record = Record::new();
    let request = Request::get("/").extension(record.clone()).body(Body::empty()).unwrap();
    let error = send(&channel, request).await.unwrap_err();
    let response = mesh_error(&error).to_response();
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["x-envoy-unconditional-drop-overload"], "true");
    assert_eq!(record.flags().to_string(), "DO");
    assert_eq!((record.details().as_deref(), record.attempts()), (Some("drop_overload"), 0));
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn dropped_call_is_unavailable() {
    let server = Notes::take().await;
    let mesh = dropping(&server).mesh();
    let channel = mesh_grpc::Channel::new(&mesh, &format!("xds:///{TARGET}")).unwrap();
    let message = EchoRequest { message: "x".to_owned(), count: 1 };
    let status = EchoClient::new(channel).unary(message).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("busy"), "{status:?}");
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn what_matters_more_has_limits_of_its_own() {
    let permits = Arc::new(Semaphore::new(0));
    let (server, arrived) = held(permits.clone()).await;
    let high = forward(RouteMatch::prefix("/high"), "things", |forward| {
        forward.priority = RoutingPriority::High;
    });
    let low = forward(RouteMatch::prefix("/"), "things", |_| {});
    let world = World::new(&[]).with_routes(vec![high, low]);
    let world = world.with_cluster("things", &[server.address()], |cluster| {
        cluster.circuit_breakers.default.max_requests = 1;
        cluster.circuit_breakers.high.max_requests = 2;
    });
    let (_mesh, channel) = world.channel();
    let begin = |path: &'static str| {
        let channel = channel.clone();
        tokio::spawn(async move { get(&channel, path).await.unwrap().status.as_u16() })
    };
    let full = async |path: &str| {
        let error = get(&channel, path).await.unwrap_err();
        assert_eq!(mesh_error(&error).kind(), ErrorKind::Overloaded, "{path}");
    };
    let first = begin("/low");
    eventually("arrival", || (arrived.load(Ordering::Relaxed) == 1).then_some(())).await;
    full("/low").await;
    let (second, third) = (begin("/high"), begin("/high"));
    eventually("arrivals", || (arrived.load(Ordering::Relaxed) == 3).then_some(())).await;
    full("/high").await;
    permits.add_permits(3);
    for one in [first, second, third] {
        assert_eq!(one.await.unwrap(), 200);
    }
}

/// Makes a call to a server of that script; what it ended with, and how long it took.
async fn call(server: &Notes) -> (String, Duration) {
    let route = forward(RouteMatch::prefix("/"), "things", |forward| {
        let mut policy = RetryPolicy::new(RetryConditions::UNAVAILABLE);
        policy.num_retries = 3;
        policy.base_interval = Duration::from_millis(1);
        policy.max_interval = Duration::from_millis(1);
        forward.retry_policy = Some(policy.into());
    });
    let mesh = World::new(&[server.address()]).with_routes(vec![route]).mesh();
    let channel = Channel::with_dialect(&mesh, TARGET, Dialect::Grpc).unwrap();
    let request = Request::post("/service/Method").header("content-type", "application/grpc");
    let started = Instant::now();
    let answer = send(&channel, request.body(Body::empty()).unwrap()).await.unwrap();
    (answer.header("grpc-status").to_owned(), started.elapsed())
}

#[tokio::test]
async fn server_says_when_a_call_may_come_again_or_that_it_may_not() {
    let server = Notes::answering(|number| match number {
        0 => (200, &[("grpc-status", "14"), ("grpc-retry-pushback-ms", "300")]),
        _ => (200, &[("grpc-status", "0")]),
    })
    .await;
    let (status, took) = call(&server).await;
    assert_eq!((status.as_str(), server.seen().len()), ("0", 2));
    assert!(took >= Duration::from_millis(300), "{took:?}");
    assert_eq!(server.seen()[1].headers["grpc-previous-rpc-attempts"], "1");

    let server =
        Notes::answering(|_| (200, &[("grpc-status", "14"), ("grpc-retry-pushback-ms", "-1")]))
            .await;
    assert_eq!(call(&server).await.0, "14");
    assert_eq!(server.seen().len(), 1);
}

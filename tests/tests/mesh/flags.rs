//! What failed is told in Envoy's words: flags, details, and the answer it would have given.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use mesh_core::resource::{
    AppendAction, DelayKind, FaultDelay, FractionalPercent, HeaderOperation, HttpFault, HttpFilter,
    HttpFilterKind, RetryConditions, RetryPolicy, Route, RouteMatch,
};
use mesh_tests::client::mesh_error;
use mesh_tests::send;
use mesh_tests::serve::{any_port, refused, serve};
use mesh_tests::world::{Notes, World, forward};
use mesh_tower::{Body, BoxError, Channel, Record};

/// The status, the text, flags and details of the answer to a request.
async fn told(channel: &Channel) -> (u16, String, String, String) {
    let record = Record::new();
    let request = Request::get("/").extension(record.clone()).body(Body::empty()).unwrap();
    let (status, body) = match send(channel, request).await {
        Ok(answer) => (answer.status, answer.body.clone()),
        Err(error) => {
            let error = mesh_error(&error);
            // The error says the same by itself, but for what was noted on the way.
            assert!(record.flags().contains(error.flags()), "{error}");
            assert_eq!(record.details(), error.details());
            let (head, body) = error.to_response().into_parts();
            (head.status, body.collect().await.unwrap().to_bytes())
        }
    };
    let body = String::from_utf8(body.to_vec()).unwrap();
    let details = record.details().unwrap_or_else(|| "-".to_owned());
    (status.as_u16(), body, record.flags().to_string(), details)
}

async fn tells(world: World, status: u16, body: &str, flags: &str, details: &str) {
    let (_mesh, channel) = world.channel();
    let (got_status, got_body, got_flags, got_details) = told(&channel).await;
    assert_eq!((got_status, &*got_flags, &*got_details), (status, flags, details));
    assert_eq!(got_body, body);
}

fn retried(times: u32) -> Route {
    forward(RouteMatch::prefix("/"), "things", |forward| {
        let mut policy = RetryPolicy::new(RetryConditions::FIVE_XX);
        policy.num_retries = times;
        policy.base_interval = Duration::from_millis(1);
        forward.retry_policy = Some(policy.into());
    })
}

const RESET: &str = "upstream connect error or disconnect/reset before headers. ";

#[tokio::test]
async fn request_without_a_route_cluster_or_endpoint() {
    let nowhere = World::new(&[]).with_routes(Vec::new());
    tells(nowhere, 404, "", "NR", "route_not_found").await;
    let unknown = forward(RouteMatch::prefix("/"), "others", |_| {});
    let unknown = World::new(&[]).with_routes(vec![unknown]);
    tells(unknown, 503, "", "NC", "cluster_not_found").await;
    let coded = forward(RouteMatch::prefix("/"), "others", |forward| {
        forward.cluster_not_found_response_code = http::StatusCode::IM_A_TEAPOT;
    });
    tells(World::new(&[]).with_routes(vec![coded]), 418, "", "NC", "cluster_not_found").await;
    tells(World::new(&[]), 503, "no healthy upstream", "UH", "no_healthy_upstream").await;
}

#[tokio::test]
async fn cluster_that_takes_no_more() {
    let server = Notes::take().await;
    let full = World::new(&[]).with_cluster("things", &[server.address()], |cluster| {
        cluster.circuit_breakers.default.max_requests = 0;
    });
    let details = "upstream_reset_before_response_started{overflow}";
    tells(full, 503, &format!("{RESET}reset reason: overflow"), "UO", details).await;
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn refused_connection_is_told_once_and_after_all_retries() {
    let (_socket, dead) = refused();
    let details = "upstream_reset_before_response_started\
                   {remote_connection_failure|delayed_connect_error:_Connection_refused}";
    let reason = "reset reason: remote connection failure";
    tells(World::new(&[dead]), 503, &format!("{RESET}{reason}"), "UF", details).await;
    let again = World::new(&[dead]).with_routes(vec![retried(2)]);
    let body = format!("{RESET}retried and the latest {reason}");
    tells(again, 503, &body, "UF,URX", details).await;
}

#[tokio::test]
async fn connection_that_ends_under_the_request() {
    let service = tower::service_fn(|_: Request<Incoming>| async {
        Err::<Response<Full<Bytes>>, _>(BoxError::from("closed"))
    });
    let server = serve(any_port(), service).await;
    let body = format!("{RESET}reset reason: connection termination");
    let details = "upstream_reset_before_response_started{connection_termination}";
    tells(World::new(&[server.address()]), 503, &body, "UC", details).await;
}

#[tokio::test]
async fn upstream_that_takes_too_long() {
    let service = tower::service_fn(|_: Request<Incoming>| {
        std::future::pending::<Result<Response<Full<Bytes>>, BoxError>>()
    });
    let server = serve(any_port(), service).await;
    let world = |route: Route| World::new(&[server.address()]).with_routes(vec![route]);
    let timeout = forward(RouteMatch::prefix("/"), "things", |forward| {
        forward.timeout = Some(Duration::from_millis(50));
    });
    let text = "upstream request timeout";
    tells(world(timeout), 504, text, "UT", "response_timeout").await;
    let per_try = forward(RouteMatch::prefix("/"), "things", |forward| {
        let mut policy = RetryPolicy::new(RetryConditions::FIVE_XX);
        policy.per_try_timeout = Some(Duration::from_millis(50));
        forward.retry_policy = Some(policy.into());
    });
    tells(world(per_try), 504, text, "UT,URX", "upstream_per_try_timeout").await;
    let stream = forward(RouteMatch::prefix("/"), "things", |forward| {
        forward.max_stream_duration.max_stream_duration = Some(Duration::from_millis(50));
    });
    let text = "downstream duration timeout";
    tells(world(stream), 504, text, "-", "max_duration_timeout").await;
}

#[tokio::test]
async fn answer_that_was_not_retried_any_more() {
    let server = Notes::answering(|_| (503, &[])).await;
    let used_up = World::new(&[server.address()]).with_routes(vec![retried(2)]);
    tells(used_up, 503, "", "URX", "-").await;
    assert_eq!(server.seen().len(), 3);
    let no_budget = World::new(&[]).with_cluster("things", &[server.address()], |cluster| {
        cluster.circuit_breakers.default.max_retries = 0;
    });
    tells(no_budget.with_routes(vec![retried(2)]), 503, "", "UO", "-").await;
    assert_eq!(server.seen().len(), 4);
}

#[tokio::test]
async fn delay_is_told_of_a_request_that_arrived() {
    let server = Notes::take().await;
    let mut world = World::new(&[server.address()]);
    let mut fault = HttpFault::new();
    let kind = DelayKind::Fixed(Duration::from_millis(5));
    fault.delay = Some(FaultDelay { kind, percentage: FractionalPercent::percent(100) });
    let kind = HttpFilterKind::Fault(fault.into());
    world.manager.filters.insert(0, HttpFilter::new("late", kind));
    tells(world, 200, "", "DI", "-").await;
}

#[tokio::test]
async fn answer_for_a_failure_is_changed_as_any_other() {
    let mut world = World::new(&[]);
    let mark = HeaderName::from_static("x-mark");
    let operation =
        HeaderOperation::new(mark, HeaderValue::from_static("1"), AppendAction::AddIfAbsent);
    world.host.response_headers.add.push(operation);
    let (_mesh, channel) = world.channel();
    let error = send(&channel, Request::get("/").body(Body::empty()).unwrap()).await.unwrap_err();
    let response = mesh_error(&error).to_response();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["x-mark"]),
        (503, &"1".parse().unwrap())
    );
}

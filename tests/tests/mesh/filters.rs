//! Filters act on real requests: those that are refused cross no socket, the others arrive changed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderValue, Request, StatusCode};
use mesh_core::exchange::ResponseFlags;
use mesh_core::resource::Condition;
use mesh_core::resource::{
    AbortKind, CorsPolicy, DelayKind, FaultAbort, FaultDelay, FilterConfig, FilterOverride,
    FractionalPercent, HttpFault, HttpFilter, HttpFilterKind, LocalRateLimit, Rbac, RbacAction,
    RbacPolicy, RbacRules, RouteMatch, Rule, StringMatcher, TokenBucket,
};
use mesh_tests::world::{Notes, World, forward};
use mesh_tests::{Answer, get, send};
use mesh_tower::{Body, Channel, Deadline, Record};

const ALL: FractionalPercent = FractionalPercent::percent(100);

fn with_filter(world: World, kind: HttpFilterKind) -> World {
    let mut world = world;
    world.manager.filters.insert(0, HttpFilter::new("under-test", kind));
    world
}

/// Sends a request that is recorded.
async fn recorded(channel: &Channel, path: &str) -> (Answer, Record) {
    let record = Record::new();
    let request = Request::get(path).extension(record.clone()).body(Body::empty()).unwrap();
    (send(channel, request).await.unwrap(), record)
}

fn fault(delay: Option<Duration>, abort: Option<AbortKind>) -> HttpFilterKind {
    let mut fault = HttpFault::new();
    let delay = delay.map(|delay| FaultDelay { kind: DelayKind::Fixed(delay), percentage: ALL });
    fault.delay = delay;
    fault.abort = abort.map(|kind| FaultAbort { kind, percentage: ALL });
    HttpFilterKind::Fault(Arc::new(fault))
}

#[tokio::test]
async fn delayed_request_arrives_late_and_whole() {
    let server = Notes::take().await;
    let world = World::new(&[server.address()]);
    let delay = Duration::from_millis(150);
    let (_mesh, channel) = with_filter(world, fault(Some(delay), None)).channel();
    let started = Instant::now();
    let request = Request::post("/late").body(Body::from("kept")).unwrap();
    let answer = send(&channel, request).await.unwrap();
    assert!(started.elapsed() >= delay);
    assert_eq!((answer.status, &*answer.body), (StatusCode::OK, &b"kept"[..]));
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn aborted_request_is_answered_without_a_server() {
    let server = Notes::take().await;
    let world = World::new(&[server.address()]);
    let abort = AbortKind::HttpStatus(StatusCode::IM_A_TEAPOT);
    let (_mesh, channel) = with_filter(world, fault(None, Some(abort))).channel();
    let (answer, record) = recorded(&channel, "/").await;
    assert_eq!((answer.status.as_u16(), &*answer.body), (418, &b"fault filter abort"[..]));
    assert_eq!(record.flags(), ResponseFlags::FAULT_INJECTED);
    assert_eq!(record.details().as_deref(), Some("fault_filter_abort"));
    assert_eq!(record.attempts(), 0);
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn delay_before_an_abort_is_told_of_both() {
    let server = Notes::take().await;
    let world = World::new(&[server.address()]);
    let abort = AbortKind::HttpStatus(StatusCode::SERVICE_UNAVAILABLE);
    let delay = Duration::from_millis(20);
    let (_mesh, channel) = with_filter(world, fault(Some(delay), Some(abort))).channel();
    let (answer, record) = recorded(&channel, "/").await;
    assert_eq!(answer.status, 503);
    assert_eq!(record.flags().to_string(), "DI,FI");
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn delay_does_not_outlast_the_callers_deadline() {
    let server = Notes::take().await;
    let world = World::new(&[server.address()]);
    let (_mesh, channel) = with_filter(world, fault(Some(Duration::from_secs(60)), None)).channel();
    let started = Instant::now();
    let deadline = Deadline(started + Duration::from_millis(100));
    let request = Request::get("/").extension(deadline).body(Body::empty()).unwrap();
    let error = send(&channel, request).await.unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(5), "{error}");
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn requests_over_the_local_limit_are_refused() {
    let server = Notes::take().await;
    let mut limit = LocalRateLimit::new();
    limit.token_bucket = Some(TokenBucket::new(2, 1, Duration::from_secs(3600)));
    (limit.filter_enabled, limit.filter_enforced) = (ALL, ALL);
    let kind = HttpFilterKind::LocalRateLimit(Arc::new(limit));
    let (_mesh, channel) = with_filter(World::new(&[server.address()]), kind).channel();
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(get(&channel, "/").await.unwrap().status.as_u16());
    }
    assert_eq!(statuses, [200, 200, 429, 429]);
    let (_, record) = recorded(&channel, "/").await;
    assert_eq!(record.flags(), ResponseFlags::RATE_LIMITED);
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn what_authorization_denies_crosses_no_socket() {
    let server = Notes::take().await;
    let path = Rule::Is(Condition::UrlPath(StringMatcher::exact("/secret")));
    let policy = RbacPolicy { permissions: vec![path], principals: vec![Rule::Any] };
    let rules = Rbac::new(RbacRules::new(RbacAction::Deny, [("no-secrets", policy)]));
    let kind = HttpFilterKind::Rbac(Arc::new(rules));
    let mut world = with_filter(World::new(&[server.address()]), kind);
    // What is denied must not get through in another spelling.
    world.manager.canonical.path.normalize_path = true;
    let (_mesh, channel) = world.channel();
    assert_eq!(get(&channel, "/open").await.unwrap().status, 200);
    for path in ["/secret", "/open/../secret", "/./secret", "/%73ecret"] {
        let (answer, record) = recorded(&channel, path).await;
        assert_eq!((answer.status.as_u16(), &*answer.body), (403, &b"RBAC: access denied"[..]));
        let details = record.details().unwrap();
        assert!(details.contains("no-secrets"), "{details}");
    }
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn preflight_is_answered_here_and_other_answers_are_changed() {
    let server = Notes::take().await;
    let mut world = with_filter(World::new(&[server.address()]), HttpFilterKind::Cors);
    let mut policy = CorsPolicy::default();
    policy.allow_origin_string_match = vec![StringMatcher::exact("http://shop.example")];
    policy.allow_methods = Some(HeaderValue::from_static("GET, PUT"));
    let config = FilterOverride::Config(FilterConfig::Cors(Arc::new(policy)));
    world.host.filters = [("under-test".into(), config)].into_iter().collect();
    let (_mesh, channel) = world.channel();

    let preflight = Request::options("/").header("origin", "http://shop.example");
    let preflight = preflight.header("access-control-request-method", "PUT");
    let answer = send(&channel, preflight.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-origin"), "http://shop.example");
    assert_eq!(answer.header("access-control-allow-methods"), "GET, PUT");
    assert!(server.seen().is_empty());

    let real = Request::get("/").header("origin", "http://shop.example");
    let answer = send(&channel, real.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(answer.header("access-control-allow-origin"), "http://shop.example");
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn endpoint_gets_the_canonical_path_that_was_routed() {
    let server = Notes::take().await;
    let routes = vec![forward(RouteMatch::prefix("/b"), "things", |_| {})];
    let mut world = World::new(&[server.address()]).with_routes(routes);
    world.manager.canonical.path.normalize_path = true;
    world.manager.canonical.path.merge_slashes = true;
    let (_mesh, channel) = world.channel();
    assert_eq!(get(&channel, "/a/../b//c?x=1").await.unwrap().status, 200);
    assert_eq!(server.seen()[0].path, "/b/c?x=1");
}

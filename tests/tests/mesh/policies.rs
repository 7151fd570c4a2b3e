//! Route policies act on real requests: redirects, rewrites, hashes, mirrors, attempts.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue, Request};
use mesh_core::resource::{
    Action, HashPolicy, HashSource, HeaderMatch, HeaderMatcher, HostRewrite, LbPolicy,
    MirrorCluster, MirrorPolicy, PathRewrite, RateLimitedBackOff, Redirect, ResetHeader,
    ResetHeaderFormat, RetryConditions, RetryPolicy, RingHash, Route, RouteMatch, ValueMatch,
};
use mesh_tests::client::mesh_error;
use mesh_tests::serve::any_port;
use mesh_tests::world::{Notes, World, forward, held};
use mesh_tests::{eventually, get, send};
use mesh_tower::{Body, Channel, ErrorKind};
use tokio::sync::Semaphore;

fn retry(on: RetryConditions) -> RetryPolicy {
    let mut policy = RetryPolicy::new(on);
    policy.base_interval = Duration::from_millis(1);
    policy
}

#[tokio::test]
async fn redirect_is_answered_here() {
    let mut redirect = Redirect::new();
    redirect.host_redirect = "elsewhere".into();
    let route = Route::new(RouteMatch::prefix("/"), Action::Redirect(redirect.into()));
    let (_mesh, channel) = World::new(&[any_port()]).with_routes(vec![route]).channel();
    let answer = get(&channel, "/a?b=c").await.unwrap();
    assert_eq!(answer.status, 301);
    assert_eq!(answer.header("location"), "http://elsewhere/a?b=c");
}

#[tokio::test]
async fn rewrites_reach_the_server() {
    let server = Notes::take().await;
    let route = forward(RouteMatch::prefix("/api/"), "things", |forward| {
        forward.path_rewrite = Some(PathRewrite::Prefix("/v1/".into()));
        forward.host_rewrite = Some(HostRewrite::Literal(HeaderValue::from_static("inner:81")));
        forward.append_x_forwarded_host = true;
    });
    let (_mesh, channel) = World::new(&[server.address()]).with_routes(vec![route]).channel();
    assert_eq!(get(&channel, "/api/things?x=1").await.unwrap().status, 200);
    let seen = &server.seen()[0];
    assert_eq!((seen.path.as_str(), seen.authority.as_str()), ("/v1/things?x=1", "inner:81"));
    assert_eq!(seen.headers["x-envoy-original-path"], "/api/things?x=1");
    assert_eq!(seen.headers["x-forwarded-host"], "things:80");
}

#[tokio::test]
async fn requests_of_one_hash_go_to_one_server() {
    let servers = [Notes::take().await, Notes::take().await, Notes::take().await];
    let route = forward(RouteMatch::prefix("/"), "things", |forward| {
        let name = HeaderMatch::Header(HeaderName::from_static("user"));
        forward.hash_policy = vec![HashPolicy::new(HashSource::Header { name, rewrite: None })];
    });
    let endpoints = servers.each_ref().map(Notes::address);
    let ring = LbPolicy::RingHash(RingHash::default());
    let world = World::new(&[]).with_routes(vec![route]);
    let world = world.with_cluster("things", &endpoints, |cluster| cluster.lb_policy = ring);
    let (_mesh, channel) = world.channel();
    for user in 0..20 {
        for _ in 0..3 {
            let request = Request::get("/").header("user", user).body(Body::empty()).unwrap();
            send(&channel, request).await.unwrap();
        }
    }
    let mut used = 0;
    for server in &servers {
        let seen = server.seen();
        used += usize::from(!seen.is_empty());
        for user in 0..20 {
            let text = user.to_string();
            let of_user = seen.iter().filter(|seen| seen.headers["user"] == *text).count();
            assert!(of_user == 0 || of_user == 3, "user {user}: {of_user}");
        }
    }
    assert!(used > 1);
}

#[tokio::test]
async fn copies_arrive_whole_at_the_shadow_and_their_answers_nowhere() {
    let (server, shadow) = (Notes::take().await, Notes::answering(|_| (500, &[])).await);
    let route = forward(RouteMatch::prefix("/"), "things", |forward| {
        let shadow = MirrorCluster::Cluster("shadow".into());
        forward.request_mirror_policies = vec![MirrorPolicy::new(shadow)];
    });
    let world = World::new(&[server.address()]).with_routes(vec![route]);
    let (_mesh, channel) = world.with_cluster("shadow", &[shadow.address()], |_| {}).channel();
    let request = Request::post("/a?b").header("mark", "1").body(Body::from("whole")).unwrap();
    assert_eq!(send(&channel, request).await.unwrap().status, 200);
    let copy = eventually("copy", || shadow.seen().first().cloned()).await;
    assert_eq!((copy.path.as_str(), &*copy.body), ("/a?b", &b"whole"[..]));
    assert_eq!(copy.authority, "things-shadow:80");
    assert_eq!(copy.headers["mark"], "1");
    assert_eq!(server.seen()[0].authority, "things:80");
}

#[tokio::test]
async fn attempts_are_counted_in_headers() {
    let script = |number| if number < 2 { (503, &[][..]) } else { (200, &[][..]) };
    let server = Notes::answering(script).await;
    let route = forward(RouteMatch::prefix("/"), "things", |forward| {
        let mut policy = retry(RetryConditions::FIVE_XX);
        policy.num_retries = 3;
        forward.retry_policy = Some(policy.into());
    });
    let mut world = World::new(&[server.address()]).with_routes(vec![route]);
    world.host.include_request_attempt_count = true;
    world.host.include_attempt_count_in_response = true;
    let (_mesh, channel) = world.channel();
    let answer = get(&channel, "/").await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.header("x-envoy-attempt-count")), (200, "3"));
    let seen = server.seen();
    let counts = seen.iter().map(|seen| seen.headers["x-envoy-attempt-count"].to_str().unwrap());
    assert_eq!(counts.collect::<Vec<_>>(), ["1", "2", "3"]);
}

#[tokio::test]
async fn answer_with_a_listed_header_is_tried_again() {
    let server = Notes::answering(|number| match number {
        0 => (200, &[("x-again", "1")]),
        _ => (200, &[]),
    })
    .await;
    let route = forward(RouteMatch::prefix("/"), "things", |forward| {
        let mut policy = retry(RetryConditions::RETRIABLE_HEADERS);
        let name = HeaderName::from_static("x-again");
        policy.retriable_headers = vec![HeaderMatcher::new(name, ValueMatch::Present(true))];
        forward.retry_policy = Some(policy.into());
    });
    let (_mesh, channel) = World::new(&[server.address()]).with_routes(vec![route]).channel();
    assert_eq!(get(&channel, "/").await.unwrap().header("x-again"), "");
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn server_says_when_to_come_back() {
    let server = Notes::answering(|number| match number {
        0 => (503, &[("retry-after", "1")]),
        _ => (200, &[]),
    })
    .await;
    let route = forward(RouteMatch::prefix("/"), "things", |forward| {
        let mut policy = retry(RetryConditions::FIVE_XX);
        let name = HeaderName::from_static("retry-after");
        let header = ResetHeader { name, format: ResetHeaderFormat::Seconds };
        policy.rate_limited_back_off = Some(RateLimitedBackOff::new(vec![header]));
        forward.retry_policy = Some(policy.into());
    });
    let (_mesh, channel) = World::new(&[server.address()]).with_routes(vec![route]).channel();
    let started = Instant::now();
    assert_eq!(get(&channel, "/").await.unwrap().status, 200);
    assert!(started.elapsed() >= Duration::from_secs(1), "{:?}", started.elapsed());
}

#[tokio::test]
async fn request_that_the_policy_does_not_take_is_tried_once() {
    let server = Notes::answering(|_| (503, &[])).await;
    let route = forward(RouteMatch::prefix("/"), "things", |forward| {
        let mut policy = retry(RetryConditions::FIVE_XX);
        let name = HeaderName::from_static("may-retry");
        policy.retriable_request_headers =
            vec![HeaderMatcher::new(name, ValueMatch::Present(true))];
        forward.retry_policy = Some(policy.into());
    });
    let (_mesh, channel) = World::new(&[server.address()]).with_routes(vec![route]).channel();
    get(&channel, "/").await.unwrap();
    assert_eq!(server.seen().len(), 1);
    let request = Request::get("/").header("may-retry", "1").body(Body::empty()).unwrap();
    send(&channel, request).await.unwrap();
    assert_eq!(server.seen().len(), 3);
}

/// Sends a request in a task of its own.
fn begin(channel: &Channel) -> tokio::task::JoinHandle<Result<u16, ErrorKind>> {
    let channel = channel.clone();
    tokio::spawn(async move {
        let sent = get(&channel, "/").await;
        sent.map(|answer| answer.status.as_u16()).map_err(|error| mesh_error(&error).kind())
    })
}

#[tokio::test]
async fn requests_wait_for_a_connection_as_far_as_the_breaker_lets_them() {
    let permits = Arc::new(Semaphore::new(0));
    let (server, arrived) = held(permits.clone()).await;
    let world = World::new(&[]).with_cluster("things", &[server.address()], |cluster| {
        cluster.circuit_breakers.default.max_connections = 1;
        cluster.circuit_breakers.default.max_pending_requests = 1;
    });
    let (_mesh, channel) = world.channel();
    let first = begin(&channel);
    eventually("arrival", || (arrived.load(Ordering::Relaxed) == 1).then_some(())).await;
    // The connection is in use: one of these waits for it, and there is no place for the other.
    let (mut second, mut third) = (begin(&channel), begin(&channel));
    let (refused, waiting) = tokio::select! {
        refused = &mut second => (refused, third),
        refused = &mut third => (refused, second),
    };
    assert_eq!(refused.unwrap(), Err(ErrorKind::Overloaded));
    assert_eq!(arrived.load(Ordering::Relaxed), 1);
    permits.add_permits(2);
    assert_eq!(first.await.unwrap(), Ok(200));
    assert_eq!(waiting.await.unwrap(), Ok(200));
}

#[tokio::test]
async fn attempt_without_a_byte_is_given_up_for_another() {
    let permits = Arc::new(Semaphore::new(0));
    let (silent, _) = held(permits).await;
    let good = Notes::take().await;
    let route = forward(RouteMatch::prefix("/"), "things", |forward| {
        let mut policy = retry(RetryConditions::FIVE_XX);
        policy.per_try_idle_timeout = Some(Duration::from_millis(100));
        policy.avoid_previous_hosts = true;
        forward.retry_policy = Some(policy.into());
    });
    let endpoints = [silent.address(), good.address()];
    let (_mesh, channel) = World::new(&endpoints).with_routes(vec![route]).channel();
    for _ in 0..2 {
        assert_eq!(get(&channel, "/").await.unwrap().status, 200);
    }
    assert_eq!(good.seen().len(), 2);
}

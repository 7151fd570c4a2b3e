//! Which endpoint a retry goes to, and what a cookie has to do with it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use mesh_core::resource::{
    ClusterLoadAssignment, CookieSource, Endpoint, Forward, HashPolicy, HashSource, HealthStatus,
    LbPolicy, Locality, LocalityLbEndpoints, Metadata, OutlierDetection, PathRewrite, RegexRewrite,
    RetryConditions, RetryPolicy, RingHash, RouteMatch, Value,
};
use mesh_tests::serve::refused;
use mesh_tests::world::{Notes, World, forward};
use mesh_tests::{get, send};
use mesh_tower::Body;

fn retries(change: impl FnOnce(&mut RetryPolicy)) -> impl FnOnce(&mut Forward) {
    |forward| {
        let mut policy = RetryPolicy::new(RetryConditions::FIVE_XX);
        policy.base_interval = Duration::from_millis(1);
        change(&mut policy);
        forward.retry_policy = Some(policy.into());
    }
}

fn endpoint(address: SocketAddr, fields: &[(&str, Value)]) -> Endpoint {
    let fields = fields.iter().map(|(key, value)| ((*key).into(), value.clone())).collect();
    let mut made = Endpoint::new(address);
    made.metadata = Some(Arc::new(Metadata { fields: [("envoy.lb".into(), fields)].into() }));
    made
}

/// Sends requests to a cluster of one good endpoint and one that fails, of which retries are to
/// stay away; returns how often a retry came back to it all the same.
async fn returns(fields: &[(&str, Value)], change: impl FnOnce(&mut RetryPolicy)) -> usize {
    let (good, bad) = (Notes::take().await, Notes::answering(|_| (503, &[])).await);
    let endpoints = vec![endpoint(good.address(), &[]), endpoint(bad.address(), fields)];
    let mut locality = LocalityLbEndpoints::new(Locality::default(), endpoints);
    locality.weight = Some(1);
    let route = forward(
        RouteMatch::prefix("/"),
        "things",
        retries(|policy| {
            policy.num_retries = 1;
            policy.host_selection_retry_max_attempts = 30;
            change(policy);
        }),
    );
    let world = World::new(&[]).with_routes(vec![route]);
    let world = world.with_cluster("things", &[], |cluster| cluster.lb_policy = LbPolicy::Random);
    let world = world.with_endpoints(ClusterLoadAssignment::new("things", vec![locality]));
    let (_mesh, channel) = world.channel();
    let mut failed = 0;
    for _ in 0..60 {
        failed += usize::from(get(&channel, "/").await.unwrap().status != 200);
    }
    assert!(bad.seen().len() > 10, "first attempts still go there");
    failed
}

#[tokio::test]
async fn retries_stay_away_from_canaries_and_from_what_metadata_says() {
    let canary = [("canary", Value::Bool(true))];
    assert!(returns(&canary, |_| {}).await > 0);
    assert_eq!(returns(&canary, |policy| policy.omit_canary_hosts = true).await, 0);
    let stage = [("stage", Value::String("new".into())), ("zone", Value::String("a".into()))];
    let wanted = |value: &str| {
        let wanted = BTreeMap::from([("stage".into(), Value::String(value.into()))]);
        move |policy: &mut RetryPolicy| policy.omit_host_metadata = Some(wanted)
    };
    assert_eq!(returns(&stage, wanted("new")).await, 0);
    assert!(returns(&stage, wanted("old")).await > 0);
}

#[tokio::test]
async fn retries_leave_priorities_that_were_tried_for_others_in_use() {
    let (first, second) = (Notes::answering(|_| (503, &[])).await, Notes::take().await);
    let mut sick = Endpoint::new("127.0.0.1:1".parse().unwrap());
    sick.health = HealthStatus::Unhealthy;
    // Half of the first priority is healthy, so that the second takes 30 % of the requests.
    let levels =
        [vec![Endpoint::new(first.address()), sick], vec![Endpoint::new(second.address())]];
    let levels = (0..).zip(levels).map(|(priority, endpoints)| {
        let mut locality = LocalityLbEndpoints::new(Locality::default(), endpoints);
        (locality.priority, locality.weight) = (priority, Some(1));
        locality
    });
    let endpoints = ClusterLoadAssignment::new("things", levels.collect());
    let mut failed = [0, 0];
    for (failed, leaves) in failed.iter_mut().zip([None, Some(1)]) {
        let policy = retries(|policy| policy.previous_priorities = leaves);
        let route = forward(RouteMatch::prefix("/"), "things", policy);
        let world = World::new(&[]).with_routes(vec![route]);
        let (_mesh, channel) = world.with_endpoints(endpoints.clone()).channel();
        for _ in 0..40 {
            *failed += u32::from(get(&channel, "/").await.unwrap().status != 200);
        }
    }
    assert!(failed[0] > 5, "{failed:?}");
    assert_eq!(failed[1], 0);
}

#[tokio::test]
async fn retries_leave_priorities_that_were_tried_for_those_that_wait() {
    let servers = [
        Notes::answering(|_| (503, &[])).await,
        Notes::answering(|_| (503, &[])).await,
        Notes::take().await,
    ];
    // All are well, so that the first priority takes all requests.
    let levels = (0..).zip(&servers).map(|(priority, server)| {
        let endpoints = vec![Endpoint::new(server.address())];
        let mut locality = LocalityLbEndpoints::new(Locality::default(), endpoints);
        (locality.priority, locality.weight) = (priority, Some(1));
        locality
    });
    let endpoints = ClusterLoadAssignment::new("things", levels.collect());
    for (leaves, want) in [(None, [3, 0, 0]), (Some(1), [1, 1, 1]), (Some(2), [2, 1, 0])] {
        let policy = retries(|policy| {
            policy.num_retries = 2;
            policy.previous_priorities = leaves;
        });
        let route = forward(RouteMatch::prefix("/"), "things", policy);
        let world = World::new(&[]).with_routes(vec![route]);
        let (_mesh, channel) = world.with_endpoints(endpoints.clone()).channel();
        let before = servers.each_ref().map(|server| server.seen().len());
        let status = get(&channel, "/").await.unwrap().status;
        let after = servers.each_ref().map(|server| server.seen().len());
        let seen: Vec<usize> = after.iter().zip(before).map(|(now, then)| now - then).collect();
        assert_eq!((seen, status == 200), (want.to_vec(), want[2] > 0), "{leaves:?}");
    }
}

#[tokio::test]
async fn cookie_that_an_answer_sets_leads_to_the_same_endpoint() {
    let servers = [Notes::take().await, Notes::take().await, Notes::take().await];
    let route = forward(RouteMatch::prefix("/"), "things", |forward| {
        let mut cookie = CookieSource::new("stick");
        cookie.ttl = Some(Duration::from_secs(60));
        forward.hash_policy = vec![HashPolicy::new(HashSource::Cookie(cookie.into()))];
    });
    let world = World::new(&[]).with_routes(vec![route]);
    let endpoints = servers.each_ref().map(Notes::address);
    let (_mesh, channel) = world
        .with_cluster("things", &endpoints, |cluster| {
            cluster.lb_policy = LbPolicy::RingHash(RingHash::default());
        })
        .channel();
    let counts = || servers.each_ref().map(|server| server.seen().len());
    for _ in 0..10 {
        let before = counts();
        let answer = get(&channel, "/").await.unwrap();
        let set = answer.header("set-cookie").to_owned();
        assert!(set.starts_with("stick=") && set.contains("Max-Age=60"), "{set}");
        let cookie = set.split(';').next().unwrap();
        let chosen = (0..3).find(|at| counts()[*at] > before[*at]).unwrap();
        for _ in 0..4 {
            let request = Request::get("/").header("cookie", cookie).body(Body::empty()).unwrap();
            let answer = send(&channel, request).await.unwrap();
            assert_eq!(answer.header("set-cookie"), "");
        }
        assert_eq!(counts()[chosen], before[chosen] + 5);
    }
    assert!(counts().iter().filter(|count| **count > 0).count() > 1);
}

#[tokio::test]
async fn path_is_rewritten_by_an_expression() {
    let server = Notes::take().await;
    let route = forward(RouteMatch::prefix("/"), "things", |forward| {
        let rewrite = RegexRewrite::new("^/service/([^/]+)(/.*)$", r"\2/instance/\1").unwrap();
        forward.path_rewrite = Some(PathRewrite::Regex(rewrite.into()));
    });
    let (_mesh, channel) = World::new(&[server.address()]).with_routes(vec![route]).channel();
    get(&channel, "/service/foo/v1/api?x=/service/a/b").await.unwrap();
    assert_eq!(server.seen()[0].path, "/v1/api/instance/foo?x=/service/a/b");
    assert_eq!(
        server.seen()[0].headers["x-envoy-original-path"],
        "/service/foo/v1/api?x=/service/a/b"
    );
}

#[tokio::test]
async fn failures_on_this_side_are_counted_apart() {
    let (good, failing) = (Notes::take().await, Notes::answering(|_| (503, &[])).await);
    let (_socket, dead) = refused();
    let detection = |change: fn(&mut OutlierDetection)| {
        let mut detection = OutlierDetection::new();
        detection.split_external_local_origin_errors = true;
        detection.max_ejection_percent = 100;
        detection.base_ejection_time = Duration::from_secs(3600);
        change(&mut detection);
        Some(detection.into())
    };
    // Refused connections count as local failures alone, and answers of 503 as the server's.
    let local = detection(|it| (it.consecutive_5xx, it.consecutive_local_origin_failure) = (1, 3));
    let world = World::new(&[]).with_cluster("things", &[good.address(), dead], |cluster| {
        cluster.outlier_detection = local;
    });
    let (_mesh, channel) = world.channel();
    let mut failed = 0;
    for _ in 0..20 {
        failed += usize::from(get(&channel, "/").await.is_err());
    }
    assert_eq!(failed, 3);

    let local = detection(|it| (it.consecutive_5xx, it.consecutive_local_origin_failure) = (4, 1));
    let endpoints = [good.address(), failing.address()];
    let world = World::new(&[]).with_cluster("things", &endpoints, |cluster| {
        cluster.outlier_detection = local;
    });
    let (_mesh, channel) = world.channel();
    for _ in 0..20 {
        get(&channel, "/").await.unwrap();
    }
    assert_eq!(failing.seen().len(), 4);
}

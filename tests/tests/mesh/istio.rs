//! What Istio's rules say of traffic, from the file to the wire.

use std::time::{Duration, Instant};

use http::Request;
use mesh_tests::backend::Backend;
use mesh_tests::client::mesh_with_seed;
use mesh_tests::world::Notes;
use mesh_tests::{Control, eventually, get, send, yaml};
use mesh_tower::{Body, Channel};

/// A service on those servers, versions `v1`, `v2`, …, under rules; `http` is the list of routes,
/// `policy` the traffic policy.
async fn channel(servers: &[&Notes], http: &str, policy: &str) -> (Control, Channel) {
    let versions = ["v1", "v2", "v3"];
    let endpoints: Vec<_> =
        servers.iter().zip(versions).map(|(server, name)| (server.address(), name)).collect();
    let subsets = versions[..servers.len()]
        .iter()
        .map(|name| format!("{{name: {name}, labels: {{version: {name}}}}}"))
        .collect::<Vec<_>>()
        .join(", ");
    let rule = format!(
        "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\n\
         metadata: {{name: echo}}\nspec:\n  host: echo\n  subsets: [{subsets}]\n  \
         trafficPolicy: {policy}\n"
    );
    let files = [
        ("service.yaml", yaml::service("echo", 9080, "HTTP", &endpoints)),
        ("routes.yaml", yaml::routes("echo", http)),
        ("rule.yaml", rule),
    ];
    let control =
        Control::start(&files.each_ref().map(|(name, text)| (*name, text.as_str()))).await;
    let mesh = mesh_with_seed(control.xds(), 7);
    let channel = Channel::new(&mesh, "echo:9080").unwrap();
    (control, channel)
}

const PLAIN: &str = "{loadBalancer: {simple: ROUND_ROBIN}}";

#[tokio::test]
async fn rewrites_of_a_virtual_service_reach_the_server() {
    let server = Notes::take().await;
    let http = "  - match: [{uri: {prefix: /shop/}}]\n    \
                rewrite: {uri: /, authority: inner.test}\n    \
                route: [{destination: {host: echo}}]\n  \
                - rewrite: {uriRegexRewrite: {match: '^/v([0-9])/', rewrite: '/new\\1/'}}\n    \
                route: [{destination: {host: echo}}]\n";
    let (_control, channel) = channel(&[&server], http, PLAIN).await;
    for path in ["/shop/cart?x=1", "/v2/cart"] {
        assert_eq!(get(&channel, path).await.unwrap().status, 200);
    }
    let seen = server.seen();
    assert_eq!((&*seen[0].path, &*seen[0].authority), ("/cart?x=1", "inner.test"));
    assert_eq!((&*seen[1].path, &*seen[1].authority), ("/new2/cart", "echo:9080"));
}

#[tokio::test]
async fn faults_of_a_virtual_service_delay_and_abort() {
    let server = Notes::take().await;
    let http = "  - match: [{headers: {end-user: {exact: jason}}}]\n    \
                fault: {delay: {fixedDelay: 200ms, percentage: {value: 100}}}\n    \
                route: [{destination: {host: echo}}]\n  \
                - match: [{uri: {prefix: /broken}}]\n    \
                fault: {abort: {httpStatus: 418, percentage: {value: 100}}}\n    \
                route: [{destination: {host: echo}}]\n  \
                - route: [{destination: {host: echo}}]\n";
    let (_control, channel) = channel(&[&server], http, PLAIN).await;
    let answer = get(&channel, "/broken").await.unwrap();
    assert_eq!((answer.status.as_u16(), &*answer.body), (418, &b"fault filter abort"[..]));
    assert!(server.seen().is_empty());
    let started = Instant::now();
    let request = Request::get("/").header("end-user", "jason").body(Body::empty()).unwrap();
    assert_eq!(send(&channel, request).await.unwrap().status, 200);
    assert!(started.elapsed() >= Duration::from_millis(200));
    assert_eq!(get(&channel, "/").await.unwrap().status, 200);
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn mirror_of_a_virtual_service_gets_a_copy() {
    let (first, second) = (Notes::take().await, Notes::take().await);
    let http = "  - mirror: {host: echo, subset: v2}\n    \
                route: [{destination: {host: echo, subset: v1}}]\n";
    let (_control, channel) = channel(&[&first, &second], http, PLAIN).await;
    for _ in 0..5 {
        assert_eq!(get(&channel, "/x").await.unwrap().status, 200);
    }
    eventually("the copies", || (second.seen().len() == 5).then_some(())).await;
    assert_eq!(first.seen().len(), 5);
    assert_eq!(second.seen()[0].authority, "echo-shadow:9080");
}

#[tokio::test]
async fn preflight_is_answered_by_the_cors_policy_of_a_virtual_service() {
    let server = Notes::take().await;
    let http = "  - corsPolicy: {allowOrigins: [{exact: 'http://shop.test'}], allowMethods: [PUT], \
                maxAge: 60s}\n    route: [{destination: {host: echo}}]\n";
    let (_control, channel) = channel(&[&server], http, PLAIN).await;
    let request = Request::options("/").header("origin", "http://shop.test");
    let request = request.header("access-control-request-method", "PUT").body(Body::empty());
    let answer = send(&channel, request.unwrap()).await.unwrap();
    assert_eq!(answer.header("access-control-allow-origin"), "http://shop.test");
    assert_eq!(answer.header("access-control-allow-methods"), "PUT");
    assert_eq!(answer.header("access-control-max-age"), "60");
    assert!(server.seen().is_empty());
}

const ALL: &str = "  - route: [{destination: {host: echo}}]\n";

#[tokio::test]
async fn consistent_hash_of_a_destination_rule_keeps_users_on_their_server() {
    let servers = [Notes::take().await, Notes::take().await, Notes::take().await];
    let policy = "{loadBalancer: {consistentHash: {httpHeaderName: x-user}}}";
    let (_control, channel) = channel(&servers.each_ref(), ALL, policy).await;
    let mut used = 0;
    for user in 0..20 {
        let before = servers.each_ref().map(|server| server.seen().len());
        for _ in 0..5 {
            let request = Request::get("/").header("x-user", user).body(Body::empty()).unwrap();
            assert_eq!(send(&channel, request).await.unwrap().status, 200);
        }
        let counts = servers.iter().zip(before).map(|(server, n)| server.seen().len() - n);
        let counts: Vec<usize> = counts.collect();
        assert!(counts.contains(&5), "user {user}: {counts:?}");
        used |= 1 << counts.iter().position(|count| *count == 5).unwrap();
    }
    assert_eq!(used, 0b111, "twenty users are spread over all of three");
}

#[tokio::test]
async fn outlier_detection_of_a_destination_rule_leaves_the_failing_server_out() {
    let (good, bad) = (Notes::take().await, Notes::answering(|_| (500, &[])).await);
    let policy = "{loadBalancer: {simple: ROUND_ROBIN}, outlierDetection: {\
                  consecutive5xxErrors: 1, baseEjectionTime: 1h, maxEjectionPercent: 50}}";
    let (_control, channel) = channel(&[&good, &bad], ALL, policy).await;
    while bad.seen().is_empty() {
        get(&channel, "/").await.unwrap();
    }
    for _ in 0..20 {
        assert_eq!(get(&channel, "/").await.unwrap().status, 200);
    }
    assert_eq!(bad.seen().len(), 1);
}

#[tokio::test]
async fn names_are_looked_up_and_connections_carry_as_many_requests_as_the_rule_says() {
    let backend = Backend::start("ext", "v1").await;
    let port = backend.address.port();
    for resolution in ["DNS", "DNS_ROUND_ROBIN"] {
        let entry = format!(
            "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: ext}}\n\
             spec:\n  hosts: [ext.test]\n  resolution: {resolution}\n  ports: [{{number: 80, \
             name: http, protocol: HTTP}}]\n  endpoints: [{{address: localhost, ports: \
             {{http: {port}}}}}]\n---\napiVersion: networking.istio.io/v1\n\
             kind: DestinationRule\nmetadata: {{name: ext}}\nspec: {{host: ext.test, \
             trafficPolicy: {{connectionPool: {{http: {{maxRequestsPerConnection: 2}}}}}}}}\n"
        );
        let control = Control::start(&[("ext.yaml", &entry)]).await;
        let mesh = mesh_with_seed(control.xds(), 7);
        let channel = Channel::new(&mesh, "ext.test:80").unwrap();
        let mut peers = Vec::new();
        for _ in 0..6 {
            let answer = get(&channel, "/").await.unwrap();
            peers.push(answer.json()["peer"]["address"].clone());
        }
        let runs: Vec<_> = peers.chunk_by(|a, b| a == b).map(<[_]>::len).collect();
        assert_eq!(runs, [2, 2, 2], "{resolution}: {peers:?}");
    }
}

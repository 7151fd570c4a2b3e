//! What limits calls: times, budgets, rules, buckets.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use http::Request;
use mesh_core::Dialect;
use mesh_tests::client::mesh_error;
use mesh_tests::serve::any_port;
use mesh_tests::world::{Notes, held};
use mesh_tests::written::{Written, always, bucket, call, endpoints, typed};
use mesh_tests::{eventually, send, within};
use mesh_tower::{Body, ErrorKind};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{NONE, ask, grpc, tried};

const RBAC: &str = "envoy.extensions.filters.http.rbac.v3.RBAC";

/// gRFC A31.
#[tokio::test]
async fn longest_streams_end_calls() {
    let silent = tokio::net::TcpListener::bind(any_port()).await.unwrap();
    let written = || Written::new(&[silent.local_addr().unwrap()]);
    let stream = |fields: Value| written().with_action(json!({"max_stream_duration": fields}));
    let of_manager = json!({"common_http_protocol_options": {"max_stream_duration": "0.2s"}});
    for (what, written) in [
        ("of the route", stream(json!({"max_stream_duration": "0.2s"}))),
        (
            "of the header, before the route's",
            stream(json!({"max_stream_duration": "60s", "grpc_timeout_header_max": "0.2s"})),
        ),
        ("of the listener", written().with_manager(of_manager.clone())),
        (
            "of the route, before the listener's",
            stream(json!({"max_stream_duration": "0.2s"})).with_manager(
                json!({"common_http_protocol_options": {"max_stream_duration": "60s"}}),
            ),
        ),
    ] {
        let live = grpc(written).await;
        let began = Instant::now();
        let error = tried(&live, "/a/b", &[("grpc-timeout", "30S")]).await.unwrap_err();
        assert_eq!(mesh_error(&error).kind(), ErrorKind::Deadline, "{what}");
        assert!(
            (Duration::from_millis(200)..Duration::from_secs(10)).contains(&began.elapsed()),
            "{what}"
        );
    }
    // Zero is no limit, and then the caller's own counts.
    let live = grpc(stream(json!({"max_stream_duration": "0s"})).with_manager(of_manager)).await;
    let began = Instant::now();
    tried(&live, "/a/b", &[("grpc-timeout", "500m")]).await.unwrap_err();
    assert!(began.elapsed() >= Duration::from_millis(450), "{:?}", began.elapsed());
}

#[tokio::test]
async fn calls_are_tried_again_as_far_as_the_budget_goes() {
    for (least, seen) in [(0, 1), (1, 4)] {
        let server = Notes::answering(|_| (200, &[("grpc-status", "14")])).await;
        let budget = json!({"budget_percent": {"value": 0.0}, "min_retry_concurrency": least});
        let cluster = json!({"circuit_breakers": {"thresholds": [{"retry_budget": budget}]}});
        let retry = json!({"retry_policy": {
            "retry_on": "unavailable", "num_retries": 3,
            "retry_back_off": {"base_interval": "0.001s"},
        }});
        let written = Written::new(&[]).with_action(retry);
        let written = written.with_cluster("things", &cluster, &[endpoints(&[server.address()])]);
        let live = grpc(written).await;
        assert_eq!(ask(&live, "/a/b", NONE).await.header("grpc-status"), "14");
        assert_eq!(server.seen().len(), seen, "at least {least} at once");
    }
}

#[tokio::test]
async fn rules_look_at_what_calls_say() {
    let server = Notes::take().await;
    let header = |fields: Value| json!({"header": fields});
    let template = typed(
        "envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig",
        &json!({"path_template": "/{service}/Delete"}),
    );
    let (user, other): (&[_], &[_]) = (&[("x-user", "eve")], &[("x-user", "adam")]);
    for (permission, (path, headers), (passing, others)) in [
        (
            header(json!({"name": "x-user", "string_match": {"exact": "eve"}})),
            ("/a/b", user),
            ("/a/b", other),
        ),
        (
            header(json!({"name": ":path", "string_match": {"prefix": "/admin"}})),
            ("/admin.Users/Get", NONE),
            ("/a/b", NONE),
        ),
        (
            json!({"and_rules": {"rules": [
                header(json!({"name": ":method", "string_match": {"exact": "POST"}})),
                header(json!({"name": ":authority", "string_match": {"prefix": "things"}})),
                header(json!({"name": "x-user", "string_match": {"exact": "eve"}})),
            ]}}),
            ("/a/b", user),
            ("/a/b", other),
        ),
        (
            header(json!({"name": "host", "string_match": {"exact": "evil"}})),
            ("http://evil/a/b", NONE),
            ("http://good/a/b", NONE),
        ),
        (
            json!({"uri_template": {"name": "t", "typed_config": template}}),
            ("/a.Users/Delete", NONE),
            ("/a.Users/Get", NONE),
        ),
        (
            json!({"not_rule": {"url_path": {"path": {"prefix": "/open"}}}}),
            ("/a/b", NONE),
            ("/open/b", NONE),
        ),
    ] {
        let config = json!({"rules": {"action": "DENY", "policies": {"no": {
            "permissions": [permission], "principals": [{"any": true}],
        }}}});
        let live = grpc(Written::new(&[server.address()]).with_filter(RBAC, &config)).await;
        let before = server.seen().len();
        let denied = ask(&live, path, headers).await;
        assert_eq!(denied.header("grpc-status"), "7", "{permission}");
        assert_eq!(server.seen().len(), before, "{permission}");
        assert_eq!(ask(&live, passing, others).await.header("grpc-status"), "", "{permission}");
        assert_eq!(server.seen().len(), before + 1, "{permission}");
    }
}

#[tokio::test]
async fn buckets_of_descriptors_limit_calls_and_requests_and_headers_tell_the_limit() {
    let filter = "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit";
    let config = json!({
        "stat_prefix": "tests", "token_bucket": bucket(100),
        "filter_enabled": always(), "filter_enforced": always(),
        "enable_x_ratelimit_headers": "DRAFT_VERSION_03",
        "response_headers_to_add": [{"header": {"key": "x-limited", "value": "yes"}}],
        "descriptors": [
            {"entries": [{"key": "user", "value": "eve"}], "token_bucket": bucket(1)},
            {"entries": [{"key": "user", "value": ""}], "token_bucket": bucket(2)},
        ],
    });
    let limits = json!({"rate_limits": [{"actions": [
        {"request_headers": {"header_name": "x-user", "descriptor_key": "user"}},
    ]}]});
    for (dialect, refused) in [(Dialect::Http, (200, "14")), (Dialect::Grpc, (200, "14"))] {
        let server = Notes::take().await;
        let written = Written::new(&[server.address()]).with_filter(filter, &config);
        let live = written.with_action(limits.clone()).channel_of(dialect).await;
        for (user, limit, passing) in [("eve", "1", 1), ("adam", "2", 2), ("abel", "2", 2)] {
            for number in 0..3 {
                let answer = ask(&live, "/a/b", &[("x-user", user)]).await;
                let left = if number < passing { passing - number - 1 } else { 0 };
                assert_eq!(
                    answer.header("x-ratelimit-limit").split(',').next().unwrap().split(';').next(),
                    Some(limit),
                    "{user}"
                );
                assert_eq!(answer.header("x-ratelimit-remaining"), left.to_string(), "{user}");
                assert!(answer.header("x-ratelimit-reset").parse::<u64>().is_ok(), "{user}");
                if number >= passing {
                    let got = (answer.status.as_u16(), answer.header("grpc-status"));
                    assert_eq!(got, refused, "{dialect:?} {user}");
                    assert_eq!(answer.header("x-limited"), "yes");
                }
            }
        }
        assert_eq!(server.seen().len(), 5);
        // Plain requests are told 429.
        let request = Request::get("/").header("x-user", "eve").body(Body::empty()).unwrap();
        if dialect == Dialect::Http {
            assert_eq!(send(&live.channel, request).await.unwrap().status, 429);
        }
    }
}

#[tokio::test]
async fn bucket_of_the_filter_limits_calls() {
    let filter = "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit";
    let config = json!({
        "stat_prefix": "tests", "token_bucket": bucket(2),
        "filter_enabled": always(), "filter_enforced": always(),
    });
    for (more, status) in
        [(json!({}), "14"), (json!({"rate_limited_as_resource_exhausted": true}), "8")]
    {
        let server = Notes::take().await;
        let mut config = config.clone();
        for (name, value) in more.as_object().unwrap() {
            config[name] = value.clone();
        }
        let live = grpc(Written::new(&[server.address()]).with_filter(filter, &config)).await;
        for expected in ["", "", status, status] {
            assert_eq!(ask(&live, "/a/b", NONE).await.header("grpc-status"), expected);
        }
        assert_eq!(server.seen().len(), 2);
    }
}

/// gRFC A32.
#[tokio::test]
async fn no_more_calls_are_under_way_than_a_breaker_allows() {
    let permits = Arc::new(Semaphore::new(0));
    let (server, arrived) = held(permits.clone()).await;
    let breakers = json!({"circuit_breakers": {"thresholds": [{"max_requests": 2}]}});
    let servers = endpoints(&[server.address()]);
    let live = grpc(Written::new(&[]).with_cluster("things", &breakers, &[servers])).await;
    let begin = || {
        let channel = live.channel.clone();
        tokio::spawn(async move { send(&channel, call("/a/b", NONE)).await })
    };
    let under_way = [begin(), begin()];
    eventually("arrivals", || (arrived.load(Ordering::Relaxed) == 2).then_some(())).await;
    let error = tried(&live, "/a/b", NONE).await.unwrap_err();
    assert_eq!(mesh_error(&error).kind(), ErrorKind::Overloaded);
    permits.add_permits(3);
    for one in under_way {
        assert_eq!(one.await.unwrap().unwrap().status, 200);
    }
    assert_eq!(ask(&live, "/a/b", NONE).await.status, 200);
}

/// gRFC A33: what is over the limit is not held up.
#[tokio::test]
async fn no_more_calls_are_held_up_than_faults_may_be_active() {
    let server = Notes::take().await;
    let delay = json!({"fixed_delay": "60s", "percentage": {"numerator": 100}});
    let config = json!({"delay": delay, "max_active_faults": 1});
    let fault = "envoy.extensions.filters.http.fault.v3.HTTPFault";
    let live = grpc(Written::new(&[server.address()]).with_filter(fault, &config)).await;
    let first = tokio::spawn({
        let channel = live.channel.clone();
        async move { send(&channel, call("/held", NONE)).await }
    });
    // It is held up from its first poll on.
    tokio::task::yield_now().await;
    for _ in 0..3 {
        within("an answer", ask(&live, "/a/b", NONE)).await;
    }
    assert!(!first.is_finished());
    assert!(server.seen().iter().all(|seen| seen.path == "/a/b"));
    first.abort();
}

//! What becomes of calls and answers on their way, and of calls that are answered here.

use std::time::{Duration, Instant};

use http::{Request, StatusCode};
use mesh_core::Dialect;
use mesh_tests::send;
use mesh_tests::world::Notes;
use mesh_tests::written::{Written, typed};
use mesh_tower::Body;
use serde_json::{Value, json};

use super::{NONE, Two, ask, grpc};

const FAULT: &str = "envoy.extensions.filters.http.fault.v3.HTTPFault";

#[tokio::test]
async fn calls_that_are_answered_here_end_with_a_status() {
    let two = Two::start().await;
    let abort = |abort: Value| two.written().with_filter(FAULT, &json!({"abort": abort}));
    let all = json!({"numerator": 100});
    let direct = json!({
        "match": {"prefix": "/"},
        "direct_response": {"status": 403, "body": {"inline_string": "no"}},
    });
    let formed = json!({
        "match": {"prefix": "/"},
        "direct_response": {"status": 404, "body_format": {
            "text_format_source": {"inline_string": "none at %REQ(:path)%"},
        }},
    });
    let redirect = json!({"match": {"prefix": "/"}, "redirect": {"host_redirect": "elsewhere"}});
    let by_header: &[_] = &[("x-envoy-fault-abort-grpc-request", "9")];
    for (what, written, headers, status, message) in [
        (
            "grpc_status",
            abort(json!({"grpc_status": 13, "percentage": all})),
            NONE,
            "13",
            "fault filter abort",
        ),
        (
            "http_status",
            abort(json!({"http_status": 503, "percentage": all})),
            NONE,
            "14",
            "fault filter abort",
        ),
        (
            "header_abort",
            abort(json!({"header_abort": {}, "percentage": all})),
            by_header,
            "9",
            "fault filter abort",
        ),
        ("direct_response", two.written().with_routes(json!([direct])), NONE, "7", "no"),
        ("body_format", two.written().with_routes(json!([formed])), NONE, "12", "none at /a/b"),
        ("redirect", two.written().with_routes(json!([redirect])), NONE, "2", ""),
    ] {
        // By what they are, not by the client that makes them.
        for dialect in [Dialect::Grpc, Dialect::Http] {
            let live = written.clone().channel_of(dialect).await;
            let answer = ask(&live, "/a/b", headers).await;
            assert_eq!(answer.status, StatusCode::OK, "{what}");
            assert_eq!(answer.header("grpc-status"), status, "{what}");
            assert_eq!(answer.header("grpc-message").replace("%20", " "), message, "{what}");
            assert!(answer.header("content-type").starts_with("application/grpc"), "{what}");
        }
    }
    assert_eq!(two.counts(), (0, 0));
    let by_header = abort(json!({"header_abort": {}, "percentage": all})).channel().await;
    let request = Request::get("/").header("x-envoy-fault-abort-request", "418");
    let answer = send(&by_header.channel, request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!((answer.status.as_u16(), two.counts()), (418, (0, 0)));
    // Without the header nothing is injected; a delay that a header asks for is kept.
    let delay = json!({"delay": {"header_delay": {}, "percentage": all}});
    let live = grpc(two.written().with_filter(FAULT, &delay)).await;
    assert_eq!(two.of(&live, "/a/b", NONE).await, (1, 0));
    let began = Instant::now();
    two.of(&live, "/a/b", &[("x-envoy-fault-delay-request", "150")]).await;
    assert!(began.elapsed() >= Duration::from_millis(150));
}

#[tokio::test]
async fn hosts_that_want_tls_send_plain_calls_elsewhere() {
    let two = Two::start().await;
    let live = grpc(two.written().with_host(json!({"require_tls": "ALL"}))).await;
    let answer = ask(&live, "/a/b", NONE).await;
    assert_eq!((answer.status.as_u16(), two.counts()), (200, (0, 0)));
    assert!(!answer.header("grpc-status").is_empty());
}

fn add(name: &str, value: &str) -> Value {
    json!([{"header": {"key": name, "value": value}}])
}

#[tokio::test]
async fn changes_of_calls_arrive_and_of_answers_come_back() {
    let server = Notes::answering(|_| (200, &[("x-own", "kept"), ("x-away", "1")])).await;
    let rewrite = typed(
        "envoy.extensions.path.rewrite.uri_template.v3.UriTemplateRewriteConfig",
        &json!({"path_template_rewrite": "/v2.{service}/{method}"}),
    );
    let template = typed(
        "envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig",
        &json!({"path_template": "/{service}/{method}"}),
    );
    let route = json!({
        "name": "all",
        "match": {"path_match_policy": {"name": "t", "typed_config": template}},
        "route": {
            "weighted_clusters": {"clusters": [{
                "name": "things", "weight": 1,
                "request_headers_to_add": add("x-cluster", "%REQ(x-user)% of the cluster"),
                "response_headers_to_add": add("x-cluster", "%RESP(x-own)% by the cluster"),
            }]},
            "path_rewrite_policy": {"name": "r", "typed_config": rewrite},
        },
        "request_headers_to_add": add("x-route", "%ROUTE_NAME% %REQ(:path)%"),
        "request_headers_to_remove": ["x-gone"],
        "response_headers_to_add": add("x-route", "%RESPONSE_CODE%"),
    });
    let written = Written::new(&[server.address()])
        .with_routes(json!([route]))
        .with_host(json!({
            "request_headers_to_add": add("x-host", "%REQ(x-user?x-gone)%"),
            "response_headers_to_remove": ["x-away"],
        }))
        .with_table(json!({
            "request_headers_to_add": add("x-table", "%REQ(:authority)%"),
            "response_headers_to_add": add("x-table", "%REQ(x-user)%"),
        }));
    let live = grpc(written).await;
    let answer = ask(&live, "/Cart/Get", &[("x-user", "jason"), ("x-gone", "1")]).await;
    let seen = &server.seen()[0];
    assert_eq!(seen.path, "/v2.Cart/Get");
    let of = |name: &str| seen.headers.get(name).map_or("", |value| value.to_str().unwrap());
    for (name, value) in [
        ("x-cluster", "jason of the cluster"),
        ("x-route", "all /Cart/Get"),
        ("x-host", "jason"),
        ("x-table", "things:80"),
        ("x-gone", ""),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ] {
        assert_eq!(of(name), value, "{name}");
    }
    for (name, value) in [
        ("x-cluster", "kept by the cluster"),
        ("x-route", "200"),
        ("x-table", "jason"),
        ("x-own", "kept"),
        ("x-away", ""),
    ] {
        assert_eq!(answer.header(name), value, "{name}");
    }
}

#[tokio::test]
async fn paths_and_authorities_of_calls_are_made_canonical_before_they_are_sent() {
    let server = Notes::take().await;
    let uri = "http://things.:8080/a%2Fb/../c";
    for (options, uri, path, authority) in [
        (json!({}), uri, "/a%2Fb/../c", "things.:8080"),
        (json!({"normalize_path": true}), uri, "/c", "things.:8080"),
        (
            json!({"path_with_escaped_slashes_action": "UNESCAPE_AND_FORWARD"}),
            uri,
            "/a/b/../c",
            "things.:8080",
        ),
        (
            json!({
                "path_with_escaped_slashes_action": "UNESCAPE_AND_FORWARD", "normalize_path": true,
            }),
            uri,
            "/a/c",
            "things.:8080",
        ),
        (json!({"merge_slashes": true}), "http://x/a//b", "/a/b", "x"),
        (json!({"strip_any_host_port": true}), uri, "/a%2Fb/../c", "things."),
        (json!({"strip_trailing_host_dot": true}), uri, "/a%2Fb/../c", "things:8080"),
        (
            json!({"strip_any_host_port": true, "strip_trailing_host_dot": true}),
            "/a/b",
            "/a/b",
            "things",
        ),
    ] {
        let live = grpc(Written::new(&[server.address()]).with_manager(options.clone())).await;
        assert_eq!(ask(&live, uri, NONE).await.status, 200);
        let seen = server.seen().pop().unwrap();
        assert_eq!((&*seen.path, &*seen.authority), (path, authority), "{options}");
    }
    let before = server.seen().len();
    let refused = json!({"path_with_escaped_slashes_action": "REJECT_REQUEST"});
    let live = grpc(Written::new(&[server.address()]).with_manager(refused)).await;
    let answer = ask(&live, "/a%2Fb", NONE).await;
    assert_eq!((answer.header("grpc-status"), server.seen().len()), ("13", before));
    // Names with underscores pass, are dropped, or refuse the call.
    for (action, status, passes) in
        [("ALLOW", "", true), ("DROP_HEADER", "", false), ("REJECT_REQUEST", "13", false)]
    {
        let options =
            json!({"common_http_protocol_options": {"headers_with_underscores_action": action}});
        let before = server.seen().len();
        for dialect in [Dialect::Grpc, Dialect::Http] {
            let written = Written::new(&[server.address()]).with_manager(options.clone());
            let live = written.channel_of(dialect).await;
            let answer = ask(&live, "/a/b", &[("x_y", "1")]).await;
            assert_eq!(answer.header("grpc-status"), status, "{action}");
        }
        let seen = &server.seen()[before..];
        assert_eq!(seen.len(), if status.is_empty() { 2 } else { 0 }, "{action}");
        for seen in seen {
            assert_eq!(seen.headers.contains_key("x_y"), passes, "{action}");
        }
    }
}

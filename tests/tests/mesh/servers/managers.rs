//! Options of the connection manager on what comes in, as a control plane sends them.

use mesh_tests::Ads;
use mesh_tests::written::typed;
use serde_json::{Value, json};

use super::{Node, node, request, routes, routes_with, text};

async fn governed(manager: &Value, filters: &[Value]) -> (Ads, Node) {
    let ads = Ads::start().await;
    let node = node(&ads).await;
    routes(&ads, "non_forwarding_action");
    node.governed(&ads, manager, filters).await;
    (ads, node)
}

#[tokio::test]
async fn scheme_is_what_the_manager_says() {
    let ads = Ads::start().await;
    let node = node(&ads).await;
    let scheme = json!([{"header": {"key": "x-scheme", "value": "%REQ(:scheme)%"}}]);
    routes_with(&ads, "non_forwarding_action", &json!({"response_headers_to_add": scheme}));
    for (manager, expected) in [
        (json!({}), "http"),
        (json!({"scheme_header_transformation": {"scheme_to_overwrite": "https"}}), "https"),
    ] {
        node.governed(&ads, &manager, &[]).await;
        mesh_tests::within("the change", async {
            loop {
                let answer = node.send(request("GET", "/", &[])).await;
                if answer.headers()["x-scheme"] == expected {
                    break;
                }
            }
        })
        .await;
        if expected == "https" {
            assert_eq!(node.last().header("x-forwarded-proto"), "https");
        }
    }
}

#[tokio::test]
async fn requests_with_too_many_headers_are_refused() {
    let manager = json!({"common_http_protocol_options": {"max_headers_count": 8}});
    let (_ads, node) = governed(&manager, &[]).await;
    let names: Vec<String> = (0..8).map(|number| format!("x-{number}")).collect();
    let headers: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
    assert_eq!(node.send(request("GET", "/", &headers[..3])).await.status(), 200);
    let answer = node.send(request("GET", "/", &headers)).await;
    assert_eq!(answer.status(), 431);
    let call = [&headers[..], &[("content-type", "application/grpc")]].concat();
    let answer = node.send(request("POST", "/a/b", &call)).await;
    assert!(answer.headers().contains_key("grpc-status"), "{:?}", answer.headers());
    assert_eq!(node.count(), 1);
}

#[tokio::test]
async fn port_of_the_listener_is_taken_off_authorities() {
    let manager = json!({"strip_matching_host_port": true});
    let (_ads, node) = governed(&manager, &[]).await;
    let own = node.address.port();
    for (port, expected) in [(own, "server/".to_owned()), (1, "server:1/".to_owned())] {
        for call in [&[][..], &[("content-type", "application/grpc")]] {
            let uri = format!("http://server:{port}/");
            assert_eq!(node.send(request("GET", &uri, call)).await.status(), 200);
            let seen = node.last();
            assert_eq!(seen.uri, format!("http://{expected}"), "{port}");
        }
    }
}

#[tokio::test]
async fn answers_that_are_made_here_are_written_as_configured() {
    let rbac = "envoy.extensions.filters.http.rbac.v3.RBAC";
    let config = json!({"rules": {"action": "DENY", "policies": {"no": {
        "permissions": [{"url_path": {"path": {"prefix": "/no"}}}], "principals": [{"any": true}],
    }}}});
    let deny = json!({"name": "rbac", "typed_config": typed(rbac, &config)});
    let denied = json!({"status_code_filter": {"comparison": {
        "op": "EQ", "value": {"default_value": 403, "runtime_key": "k"},
    }}});
    let manager = json!({"via": "edge", "local_reply_config": {
        "mappers": [{
            "filter": denied, "status_code": 404, "body": {"inline_string": "nothing"},
            "headers_to_add": [{"header": {"key": "x-made", "value": "here"}}],
        }],
        "body_format": {"json_format": {"path": "%REQ(:path)%", "body": "%LOCAL_REPLY_BODY%"}},
    }});
    let (_ads, node) = governed(&manager, &[deny]).await;
    let answer = node.send(request("GET", "/no/x", &[])).await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["x-made"]),
        (404, &"here".parse().unwrap())
    );
    assert_eq!(answer.headers()["via"], "edge");
    let body: Value = serde_json::from_str(&text(answer).await).unwrap();
    assert_eq!(body, json!({"path": "/no/x", "body": "nothing"}));
    assert_eq!(node.send(request("GET", "/yes", &[])).await.status(), 200);
    assert_eq!(node.last().header("via"), "edge");
}

#[tokio::test]
async fn routes_change_requests_and_answers() {
    let add = |value: &str| json!([{"header": {"key": "x-added", "value": value}}]);
    let ads = Ads::start().await;
    let node = node(&ads).await;
    let route = json!({
        "name": "all",
        "request_headers_to_add": add("%REQ(x-user)% %ROUTE_NAME%"),
        "request_headers_to_remove": ["x-gone"],
        "response_headers_to_add": add("%RESPONSE_CODE% for %REQ(x-user)%"),
    });
    routes_with(&ads, "non_forwarding_action", &route);
    let call = ("content-type", "application/grpc");
    // With nothing else to do, and with a manager that has.
    for manager in [json!({}), json!({"via": "edge"})] {
        node.governed(&ads, &manager, &[]).await;
        for more in [&[][..], &[call]] {
            let sent = [&[("x-user", "eve"), ("x-gone", "1")][..], more].concat();
            let answer = node.send(request("POST", "/a/b", &sent)).await;
            assert_eq!(answer.headers()["x-added"], "200 for eve", "{manager}");
            let seen = node.last();
            assert_eq!((seen.header("x-added"), seen.header("x-gone")), ("eve all", ""));
        }
    }
}

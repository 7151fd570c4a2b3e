//! Filters on what comes in, as a control plane sends them.

use http::StatusCode;
use mesh_core::resource::Value as NotedValue;
use mesh_pb::type_url;
use mesh_tests::Ads;
use mesh_tests::written::{always, bucket, typed, written};
use serde_json::{Value, json};

use super::{Node, chain, node, request, routes, routes_with, sidecar, text};

const RBAC: &str = "envoy.extensions.filters.http.rbac.v3.RBAC";
const CALL: (&str, &str) = ("content-type", "application/grpc");

fn filter(type_name: &str, config: &Value) -> Value {
    json!({"name": "under-test", "typed_config": typed(type_name, config)})
}

async fn governed(filters: &[Value]) -> (Ads, Node) {
    let ads = Ads::start().await;
    let node = node(&ads).await;
    routes(&ads, "non_forwarding_action");
    node.governed(&ads, &json!({}), filters).await;
    (ads, node)
}

/// A rule; a request that it denies, and one that passes.
type Rule<'a> = (Value, Asked<'a>, Asked<'a>);
type Asked<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);

fn rules() -> Vec<Rule<'static>> {
    let header = |name: &str, kind: &str, value: &str| {
        let text = json!({kind: value});
        json!({"header": {"name": name, "string_match": text}})
    };
    let template = typed(
        "envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig",
        &json!({"path_template": "/admin/{user}/*"}),
    );
    vec![
        (
            header("x-user", "exact", "eve"),
            ("POST", "/", &[("x-user", "eve")]),
            ("POST", "/", &[("x-user", "adam")]),
        ),
        (
            json!({"header": {"name": "x-user", "present_match": true, "invert_match": true}}),
            ("POST", "/", &[]),
            ("POST", "/", &[("x-user", "adam")]),
        ),
        (header(":method", "exact", "DELETE"), ("DELETE", "/", &[]), ("POST", "/", &[])),
        (
            header(":authority", "suffix", ".evil"),
            ("POST", "http://x.evil/", &[]),
            ("POST", "http://x.good/", &[]),
        ),
        (
            header("host", "exact", "x.evil"),
            ("POST", "http://x.evil/", &[]),
            ("POST", "http://x.good/", &[]),
        ),
        (header(":path", "contains", "secret"), ("POST", "/a?secret", &[]), ("POST", "/a", &[])),
        (
            json!({"uri_template": {"name": "t", "typed_config": template}}),
            ("POST", "/admin/eve/x", &[]),
            ("POST", "/admin/eve", &[]),
        ),
        (
            json!({"and_rules": {"rules": [
                header(":method", "exact", "POST"),
                {"or_rules": {"rules": [header("x-a", "exact", "1"), header("x-b", "exact", "1")]}},
                {"not_rule": header("x-c", "exact", "1")},
            ]}}),
            ("POST", "/", &[("x-b", "1")]),
            ("POST", "/", &[("x-b", "1"), ("x-c", "1")]),
        ),
    ]
}

#[tokio::test]
async fn rules_look_at_headers_method_authority_and_templates() {
    for (permission, denied, passing) in rules() {
        let config = json!({"rules": {"action": "DENY", "policies": {"no": {
            "permissions": [permission], "principals": [{"any": true}],
        }}}});
        let (_ads, node) = governed(&[filter(RBAC, &config)]).await;
        for is_call in [false, true] {
            let before = node.count();
            let sent = |(method, uri, headers): Asked<'_>| {
                let call = [CALL];
                let call = if is_call { &call[..] } else { &[] };
                request(method, uri, &[headers, call].concat())
            };
            let answer = node.send(sent(denied)).await;
            let got = (answer.status().as_u16(), answer.headers().get("grpc-status").cloned());
            let expected = if is_call { (200, Some("7".parse().unwrap())) } else { (403, None) };
            assert_eq!(got, expected, "{permission}");
            assert_eq!(node.count(), before, "{permission}");
            assert_eq!(node.send(sent(passing)).await.status(), StatusCode::OK, "{permission}");
            assert_eq!(node.count(), before + 1, "{permission}");
        }
    }
}

#[tokio::test]
async fn shadow_rules_and_log_are_told_to_the_application() {
    let policies = |action: &str, name: &str, path: &str| {
        let permission = json!({"url_path": {"path": {"prefix": path}}});
        let policy = json!({"permissions": [permission], "principals": [{"any": true}]});
        json!({"action": action, "policies": {name: policy}})
    };
    let config = json!({
        "rules": policies("LOG", "log it", "/log"),
        "shadow_rules": policies("DENY", "later", "/admin"),
        "shadow_rules_stat_prefix": "next_",
    });
    let (_ads, node) = governed(&[filter(RBAC, &config)]).await;
    let told = |value: &str| NotedValue::String(value.into());
    for (path, log, result, policy) in
        [("/admin", false, "denied", Some("later")), ("/log", true, "allowed", None)]
    {
        assert_eq!(node.send(request("GET", path, &[])).await.status(), StatusCode::OK);
        let seen = node.last();
        let of = |key| seen.noted("envoy.filters.http.rbac", key).cloned();
        assert_eq!(of("next_shadow_engine_result"), Some(told(result)), "{path}");
        assert_eq!(of("next_shadow_effective_policy_id"), policy.map(told), "{path}");
        let hint = seen.noted("envoy.common", "access_log_hint");
        assert_eq!(hint, Some(&NotedValue::Bool(log)), "{path}");
    }
}

#[tokio::test]
async fn foreign_pages_reach_no_application() {
    let policy = "envoy.extensions.filters.http.csrf.v3.CsrfPolicy";
    let config = json!({
        "filter_enabled": always(), "additional_origins": [{"suffix": ".friend.example"}],
    });
    let (_ads, node) = governed(&[filter(policy, &config)]).await;
    for (method, headers, status) in [
        ("POST", &[][..], 403),
        ("POST", &[("origin", "https://evil.example")], 403),
        ("PUT", &[("origin", "https://evil.example"), ("referer", "http://server/form")], 403),
        ("DELETE", &[("origin", "https://my.friend.example")], 200),
        ("POST", &[("referer", "http://server/form")], 200),
        ("GET", &[("origin", "https://evil.example")], 200),
    ] {
        let answer = node.send(request(method, "/", headers)).await;
        assert_eq!(answer.status().as_u16(), status, "{method} {headers:?}");
        if status == 403 {
            assert_eq!(text(answer).await, "Invalid origin");
        }
    }
    assert_eq!(node.count(), 3);
}

#[tokio::test]
async fn requests_and_answers_are_mutated() {
    let mutation = "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation";
    let append = |key: &str, value: &str, action: &str| {
        let header = json!({"key": key, "value": value});
        json!({"append": {"header": header, "append_action": action}})
    };
    let config = json!({"mutations": {
        "request_mutations": [
            append("x-new", "%REQ(:method)%", "APPEND_IF_EXISTS_OR_ADD"),
            append("x-user", "nobody", "OVERWRITE_IF_EXISTS"),
            append("x-there", "again", "ADD_IF_ABSENT"),
            {"remove": "x-gone"},
            {"remove_on_match": {"key_matcher": {"prefix": "x-internal-"}}},
        ],
        "query_parameter_mutations": [
            {"append": {
                "record": {"key": "a", "value": "9"}, "action": "OVERWRITE_IF_EXISTS_OR_ADD",
            }},
            {"remove": "b"},
        ],
        "response_mutations": [append("x-answer", "%RESPONSE_CODE%", "OVERWRITE_IF_EXISTS_OR_ADD")],
    }});
    let (_ads, node) = governed(&[filter(mutation, &config)]).await;
    for call in [&[][..], &[CALL]] {
        let sent = [("x-user", "eve"), ("x-there", "1"), ("x-gone", "1"), ("x-internal-a", "1")];
        let sent = request("POST", "/p?a=1&b=2", &[&sent[..], call].concat());
        let answer = node.send(sent).await;
        assert_eq!(answer.headers()["x-answer"], "200");
        let seen = node.last();
        assert!(seen.uri.ends_with("/p?a=9"), "{}", seen.uri);
        let expected = [
            ("x-new", "POST"),
            ("x-user", "nobody"),
            ("x-there", "1"),
            ("x-gone", ""),
            ("x-internal-a", ""),
        ];
        for (name, value) in expected {
            assert_eq!(seen.header(name), value, "{name}");
        }
    }
}

#[tokio::test]
async fn clients_have_buckets_of_their_own() {
    let type_name = "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit";
    let config = json!({
        "stat_prefix": "tests", "token_bucket": bucket(100),
        "filter_enabled": always(), "filter_enforced": always(),
        "enable_x_ratelimit_headers": "DRAFT_VERSION_03",
        "descriptors": [
            {"entries": [{"key": "remote_address", "value": ""}], "token_bucket": bucket(2)},
        ],
        "rate_limits": [{"actions": [{"remote_address": {}}]}],
    });
    let ads = Ads::start().await;
    let node = node(&ads).await;
    routes_with(&ads, "non_forwarding_action", &json!({}));
    let manager = json!({"xff_num_trusted_hops": 1});
    node.governed(&ads, &manager, &[filter(type_name, &config)]).await;
    for (client, expected) in [("1.1.1.1", [200, 200, 429]), ("2.2.2.2", [200, 200, 429])] {
        let forwarded = format!("{client}, 9.9.9.9");
        for (number, expected) in expected.into_iter().enumerate() {
            let sent = request("GET", "/", &[("x-forwarded-for", &forwarded)]);
            let answer = node.send(sent).await;
            assert_eq!(answer.status().as_u16(), expected, "{client}");
            let left = 1_usize.saturating_sub(number).to_string();
            assert_eq!(answer.headers()["x-ratelimit-remaining"], left, "{client}");
        }
    }
    assert_eq!(node.count(), 4);
}

#[tokio::test]
async fn limits_of_hosts_and_routes_count() {
    let type_name = "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit";
    let config = json!({
        "stat_prefix": "tests", "token_bucket": bucket(100),
        "filter_enabled": always(), "filter_enforced": always(),
        "descriptors": [
            {"entries": [{"key": "user", "value": ""}], "token_bucket": bucket(1)},
        ],
    });
    let filters = [filter(type_name, &config)];
    let user = json!({"header_name": "x-user", "descriptor_key": "user"});
    let limits = json!([{"actions": [{"request_headers": user}]}]);
    let sent = async |node: &Node| {
        let mut statuses = Vec::new();
        for user in ["eve", "eve", "adam"] {
            let answer = node.send(request("GET", "/a/b", &[("x-user", user)])).await;
            statuses.push(answer.status().as_u16());
        }
        statuses
    };
    let ads = Ads::start().await;
    let node = node(&ads).await;
    let route = json!({"match": {"prefix": "/"}, "non_forwarding_action": {}});
    let host = json!({
        "name": "all", "domains": ["*"], "routes": [route], "rate_limits": limits,
    });
    let table = json!({"name": "inbound", "virtual_hosts": [host]});
    ads.put("inbound", written(type_url::ROUTE_CONFIGURATION, &table));
    node.governed(&ads, &json!({}), &filters).await;
    assert_eq!(sent(&node).await, [200, 429, 200]);

    let ads = Ads::start().await;
    let node = sidecar(&ads).await;
    let cluster = format!("inbound|{}||", node.address.port());
    let action = json!({"cluster": cluster, "rate_limits": limits, "prefix_rewrite": "/v2/"});
    let route = json!({"match": {"prefix": "/"}, "route": action});
    let host = json!({"name": "all", "domains": ["*"], "routes": [route]});
    let mut chain = chain("inbound", &json!({}), &filters, &json!({}));
    let manager = &mut chain["filters"][0]["typed_config"];
    manager.as_object_mut().unwrap().remove("rds");
    manager["route_config"] = json!({"name": "inbound", "virtual_hosts": [host]});
    node.governed_as_sidecar(&ads, chain).await;
    assert_eq!(sent(&node).await, [200, 429, 200]);
    assert!(node.last().uri.ends_with("/v2/a/b"), "{}", node.last().uri);
}

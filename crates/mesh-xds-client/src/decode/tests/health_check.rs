//! Active health checks.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use mesh_core::ResourceType::Cluster;
use mesh_core::resource::{HealthCheck, HealthChecker, UpstreamProtocol};
use serde_json::{Value as Json, json};

use super::super::Value;
use super::written::{decode, findings, refused};

fn cluster(checks: &Json) -> Json {
    json!({
        "name": "x", "type": "EDS", "eds_cluster_config": {"eds_config": {"ads": {}}},
        "health_checks": checks,
    })
}

/// A check with what is required, and those fields.
fn check(fields: &Json) -> Json {
    let mut made = json!({
        "timeout": "1s", "interval": "5s", "unhealthy_threshold": 3, "healthy_threshold": 2,
    });
    for (key, value) in fields.as_object().unwrap() {
        made[key] = value.clone();
    }
    made
}

fn made(fields: &Json) -> Arc<HealthCheck> {
    let cluster = cluster(&json!([check(fields)]));
    let Value::Cluster(made) = decode(Cluster, &cluster).unwrap() else { panic!("no cluster") };
    made.health_check.clone().unwrap()
}

#[track_caller]
fn refuses(fields: &Json, field: &str, text: &str) {
    let dot = if field.is_empty() { "" } else { "." };
    let field = format!("health_checks[0]{dot}{field}");
    refused(Cluster, &cluster(&json!([check(fields)])), &field, text);
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn intervals_follow_from_each_other_when_unset() {
    let found = made(&json!({"tcp_health_check": {}}));
    assert_eq!((found.timeout, found.interval), (SECOND, 5 * SECOND));
    assert_eq!((found.unhealthy_threshold, found.healthy_threshold), (3, 2));
    assert_eq!(found.unhealthy_interval, 5 * SECOND);
    assert_eq!(found.unhealthy_edge_interval, 5 * SECOND);
    assert_eq!(found.no_traffic_interval, 60 * SECOND);
    assert_eq!(found.no_traffic_healthy_interval, 60 * SECOND);
    assert!(found.reuse_connection && found.alt_port.is_none());
    let found = made(&json!({
        "tcp_health_check": {}, "unhealthy_interval": "7s", "healthy_edge_interval": "2s",
        "no_traffic_interval": "9s", "initial_jitter": "1s", "interval_jitter": "3s",
        "interval_jitter_percent": 20, "alt_port": 8081, "reuse_connection": false,
        "healthy_threshold": 0,
    }));
    assert_eq!(found.unhealthy_edge_interval, 7 * SECOND);
    assert_eq!(found.healthy_edge_interval, 2 * SECOND);
    assert_eq!(found.no_traffic_healthy_interval, 9 * SECOND);
    assert_eq!((found.initial_jitter, found.interval_jitter), (SECOND, 3 * SECOND));
    assert_eq!((found.interval_jitter_percent, found.alt_port), (20, Some(8081)));
    assert_eq!((found.reuse_connection, found.healthy_threshold), (false, 1));
}

#[test]
fn http_request_and_what_its_answer_must_be() {
    let found = made(&json!({"http_health_check": {
        "host": "a", "path": "/well", "method": "HEAD", "codec_client_type": "HTTP2",
        "expected_statuses": [{"start": 200, "end": 300}],
        "retriable_statuses": [{"start": 503, "end": 504}],
        "receive": [{"text": "6f6b"}],
        "request_headers_to_add": [{"header": {"key": "x", "value": "y"}}],
        "service_name_matcher": {"prefix": "s"},
    }}));
    let HealthChecker::Http(http) = &found.checker else { panic!("no HTTP") };
    assert_eq!((&*http.host, &*http.path, &http.method), ("a", "/well", &Method::HEAD));
    assert_eq!(http.expected_statuses, std::iter::once(200..300).collect::<Vec<_>>());
    assert_eq!(http.retriable_statuses, std::iter::once(503..504).collect::<Vec<_>>());
    assert_eq!(http.receive, ["ok"]);
    assert_eq!(http.protocol, UpstreamProtocol::Http2);
    assert_eq!(http.request_headers["x"], "y");
    assert!(http.service_name.is_some());
}

#[test]
fn grpc_call_and_tcp_bytes() {
    let found = made(&json!({"grpc_health_check": {
        "service_name": "s", "authority": "a",
        "initial_metadata": [{"header": {"key": "k", "value": "v"}}],
    }}));
    let HealthChecker::Grpc(grpc) = &found.checker else { panic!("no gRPC") };
    assert_eq!((&*grpc.service_name, &*grpc.authority), ("s", "a"));
    assert_eq!(grpc.initial_metadata["k"], "v");
    let tcp = json!({"send": {"text": "0aFF"}, "receive": [{"binary": "b2s="}]});
    let found = made(&json!({"tcp_health_check": tcp}));
    let HealthChecker::Tcp(tcp) = &found.checker else { panic!("no TCP") };
    assert_eq!(&tcp.send[..], [0x0a, 0xff]);
    assert_eq!(tcp.receive, ["ok"]);
}

#[test]
fn checks_that_are_refused() {
    let tcp = || json!({"tcp_health_check": {}});
    let with = |field: &str, value: Json| {
        let mut fields = tcp();
        fields[field] = value;
        fields
    };
    for field in ["timeout", "interval", "unhealthy_threshold", "healthy_threshold"] {
        refuses(&with(field, Json::Null), field, "is missing");
    }
    refuses(&with("timeout", json!("0s")), "timeout", "greater than zero");
    refuses(&with("no_traffic_interval", json!("0s")), "no_traffic_interval", "greater than zero");
    refuses(&with("initial_jitter", json!("-1s")), "initial_jitter", "not a valid duration");
    refuses(&with("alt_port", json!(65_536)), "alt_port", "is not a port");
    refuses(&json!({}), "", "no health checker");
    let custom = json!({"custom_health_check": {"name": "c"}});
    refuses(&custom, "custom_health_check", "is not supported");
}

#[test]
fn http_requests_that_are_refused() {
    let refuses = |fields: Json, field: &str, text: &str| {
        let mut http = json!({"path": "/"});
        for (key, value) in fields.as_object().unwrap() {
            http[key] = value.clone();
        }
        let field = format!("http_health_check.{field}");
        refuses(&json!({"http_health_check": http}), &field, text);
    };
    refuses(json!({"path": ""}), "path", "is empty");
    refuses(json!({"host": "a\nb"}), "host", "line ends");
    refuses(json!({"method": "CONNECT"}), "method", "is not allowed");
    refuses(json!({"codec_client_type": "HTTP3"}), "codec_client_type", "is not supported");
    let range = json!([{"start": 200, "end": 200}]);
    refuses(json!({"expected_statuses": range}), "expected_statuses[0]", "no range");
    let range = json!([{"start": 99, "end": 200}]);
    refuses(json!({"retriable_statuses": range}), "retriable_statuses[0]", "no range");
    refuses(json!({"receive": [{"text": "6"}]}), "receive[0].text", "not hexadecimal");
    refuses(json!({"receive": [{}]}), "receive[0]", "is empty");
    let header = json!([{"header": {"key": "a b", "value": "v"}}]);
    let field = "request_headers_to_add[0].header.key";
    refuses(json!({"request_headers_to_add": header}), field, "not a header name");
}

#[test]
fn first_of_several_counts() {
    let checks =
        json!([check(&json!({"tcp_health_check": {}})), check(&json!({"grpc_health_check": {}})),]);
    let fields = ["health_checks[1]"];
    let Value::Cluster(made) = findings(Cluster, &cluster(&checks), &fields) else { panic!() };
    assert!(matches!(made.health_check.as_ref().unwrap().checker, HealthChecker::Tcp(_)));
}

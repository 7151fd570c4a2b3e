//! How connections to endpoints are used.

use std::time::Duration;

use mesh_core::ResourceType::Cluster;
use mesh_core::resource::{ConnectionOptions, Http2Keepalive, UpstreamProtocol};
use serde_json::{Value as Json, json};

use super::super::Value;
use super::written::{decode, findings, refused, typed};

const KEY: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

fn cluster(fields: &Json) -> Json {
    let mut made = json!({
        "name": "x", "type": "EDS", "eds_cluster_config": {"eds_config": {"ads": {}}},
    });
    for (key, value) in fields.as_object().unwrap() {
        made[key] = value.clone();
    }
    made
}

fn with_options(options: &Json) -> Json {
    cluster(&json!({"typed_extension_protocol_options": {KEY: typed(KEY, options)}}))
}

fn connections(cluster: &Json) -> ConnectionOptions {
    let Value::Cluster(made) = decode(Cluster, cluster).unwrap() else { panic!("no cluster") };
    *made.connections
}

#[track_caller]
fn refuses(options: &Json, field: &str, text: &str) {
    let field = format!("typed_extension_protocol_options[{KEY:?}].{field}");
    refused(Cluster, &with_options(options), &field, text);
}

#[test]
fn nothing_said_is_the_default() {
    assert_eq!(connections(&cluster(&json!({}))), ConnectionOptions::default());
}

#[test]
fn limits_of_connections() {
    let found = connections(&with_options(&json!({
        "common_http_protocol_options": {
            "idle_timeout": "60s", "max_connection_duration": "3600s",
            "max_connection_duration_jitter": {"value": 10.0}, "max_requests_per_connection": 100,
        },
        "explicit_http_config": {"http2_protocol_options": {
            "max_concurrent_streams": 10, "initial_stream_window_size": 65535,
            "initial_connection_window_size": 1_048_576,
            "connection_keepalive": {"interval": "30s", "timeout": "5s"},
        }},
    })));
    assert_eq!(found.idle_timeout, Some(Duration::from_secs(60)));
    assert_eq!(found.max_lifetime, Some(Duration::from_secs(3600)));
    assert_eq!(found.max_lifetime_jitter_percent.to_bits(), 10.0_f64.to_bits());
    assert_eq!(found.max_requests, Some(100));
    assert_eq!(found.http2.max_concurrent_streams, Some(10));
    assert_eq!(found.http2.initial_stream_window_bytes, Some(65_535));
    assert_eq!(found.http2.initial_connection_window_bytes, Some(1 << 20));
    let interval = Some(Duration::from_secs(30));
    let expected = Http2Keepalive::new(interval, Duration::from_secs(5));
    assert_eq!(found.http2.keepalive, Some(expected));
}

#[test]
fn older_fields_of_the_cluster() {
    let found = connections(&cluster(&json!({
        "max_requests_per_connection": 7,
        "common_http_protocol_options": {"idle_timeout": "1s"},
        "http2_protocol_options": {"max_concurrent_streams": 3},
        "upstream_connection_options": {
            "tcp_keepalive": {"keepalive_probes": 3, "keepalive_time": 10, "keepalive_interval": 5},
        },
        "preconnect_policy": {"per_upstream_preconnect_ratio": 1.5},
        "close_connections_on_host_health_failure": true,
    })));
    assert_eq!((found.max_requests, found.idle_timeout), (Some(7), Some(Duration::from_secs(1))));
    assert_eq!(found.http2.max_concurrent_streams, Some(3));
    let keepalive = found.tcp_keepalive.unwrap();
    assert_eq!((keepalive.probes, keepalive.time), (Some(3), Some(Duration::from_secs(10))));
    assert_eq!(keepalive.interval, Some(Duration::from_secs(5)));
    assert_eq!(found.preconnect.per_upstream_ratio.to_bits(), 1.5_f64.to_bits());
    assert!(found.close_on_health_failure);
}

#[test]
fn options_that_are_refused() {
    let common = |field: &str, value: Json| json!({"common_http_protocol_options": {field: value}});
    let at = "common_http_protocol_options";
    let negative = common("idle_timeout", json!("-1s"));
    refuses(&negative, &format!("{at}.idle_timeout"), "not a valid duration");
    let jitter = common("max_connection_duration_jitter", json!({"value": 101.0}));
    refuses(&jitter, &format!("{at}.max_connection_duration_jitter"), "not from 0 to 100");
    let http2 = |field: &str, value: Json| json!({"explicit_http_config": {"http2_protocol_options": {field: value}}});
    let at = "explicit_http_config.http2_protocol_options";
    for (field, value) in [
        ("max_concurrent_streams", 0),
        ("initial_stream_window_size", 65_534),
        ("initial_connection_window_size", 2_147_483_648_u32),
    ] {
        refuses(&http2(field, json!(value)), &format!("{at}.{field}"), "is not from");
    }
    let keepalive = http2("connection_keepalive", json!({"interval": "1s"}));
    refuses(&keepalive, &format!("{at}.connection_keepalive.timeout"), "is missing");
    let keepalive = http2("connection_keepalive", json!({"interval": "0s", "timeout": "1s"}));
    refuses(&keepalive, &format!("{at}.connection_keepalive.interval"), "greater than zero");
    let preconnect = json!({"preconnect_policy": {"per_upstream_preconnect_ratio": 4.0}});
    let field = "preconnect_policy.per_upstream_preconnect_ratio";
    refused(Cluster, &cluster(&preconnect), field, "not from 1 to 3");
}

#[test]
fn limits_of_versions_that_are_chosen_or_followed_are_read() {
    let http2 = json!({"http2_protocol_options": {"max_concurrent_streams": 4}});
    for (kind, protocol) in [
        ("auto_config", UpstreamProtocol::Auto),
        ("use_downstream_protocol_config", UpstreamProtocol::Downstream),
    ] {
        let cluster = with_options(&json!({kind: http2}));
        let Value::Cluster(made) = findings(Cluster, &cluster, &[]) else { panic!() };
        assert_eq!(made.protocol, protocol);
        assert_eq!(made.connections.http2.max_concurrent_streams, Some(4));
    }
}

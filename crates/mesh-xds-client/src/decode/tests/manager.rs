//! The connection manager's options beside routes and filters.

use std::net::IpAddr;

use http::StatusCode;
use mesh_core::exchange::ResponseFlags;
use mesh_core::resource::{Comparison, HttpConnectionManager, OriginalIpDetection, ReplyFilter};
use mesh_pb::json;
use mesh_pb::type_url::HTTP_CONNECTION_MANAGER;
use serde_json::{Value, json};

use super::super::at::{At, Notes};
use super::super::context::Context;
use super::super::listener::{Side, manager_of};

fn decoded(options: &Value) -> Result<HttpConnectionManager, String> {
    let mut manager = json!({
        "stat_prefix": "s",
        "route_config": {"name": "r"},
        "http_filters": [{
            "name": "envoy.filters.http.router",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
            },
        }],
    });
    for (name, value) in options.as_object().unwrap() {
        manager[name] = value.clone();
    }
    let (value, _) = json::decode_bytes(HTTP_CONNECTION_MANAGER, &manager).unwrap();
    let any = mesh_pb::google::protobuf::Any { type_url: HTTP_CONNECTION_MANAGER.into(), value };
    let context = Context::default();
    let notes = Notes::new(&context);
    manager_of(At::root(&notes), &any, Side::Client)
        .map_err(|invalid| format!("{}: {}", invalid.field, invalid.text))
}

fn status(op: &str, value: u32) -> Value {
    let value = json!({"default_value": value, "runtime_key": "k"});
    json!({"status_code_filter": {"comparison": {"op": op, "value": value}}})
}

fn detection(name: &str, config: &str, mut fields: Value) -> Value {
    fields["@type"] =
        format!("type.googleapis.com/envoy.extensions.http.original_ip_detection.{config}").into();
    json!({"original_ip_detection_extensions": [{"name": name, "typed_config": fields}]})
}

#[test]
fn reads_who_the_client_is() {
    let made = decoded(&json!({
        "use_remote_address": true,
        "xff_num_trusted_hops": 2,
        "skip_xff_append": true,
        "append_x_forwarded_port": true,
        "internal_address_config": {
            "cidr_ranges": [{"address_prefix": "10.0.0.0", "prefix_len": 8}],
        },
        "scheme_header_transformation": {"scheme_to_overwrite": "https"},
        "via": "v",
    }))
    .unwrap();
    let found = &made.downstream;
    assert!(found.use_remote_address && found.skip_xff_append && found.append_x_forwarded_port);
    assert_eq!((found.xff_num_trusted_hops, found.scheme_to_overwrite), (2, Some("https")));
    let internal = found.internal.as_ref().unwrap();
    assert!(internal.contain("10.9.9.9".parse::<IpAddr>().unwrap()));
    assert!(!internal.contain("11.9.9.9".parse::<IpAddr>().unwrap()));
    assert_eq!(made.via.unwrap(), "v");

    let made = decoded(&detection("x", "xff.v3.XffConfig", json!({"xff_num_trusted_hops": 1})));
    let ways = made.unwrap().downstream.original_ip_detection;
    let want = OriginalIpDetection::Xff { num_trusted_hops: 1, trusted: vec![], skip_append: true };
    assert_eq!(ways, [want]);
    let fields = json!({"header_name": "x-real", "reject_with_status": {"code": 200}});
    let made = decoded(&detection("x", "custom_header.v3.CustomHeaderConfig", fields)).unwrap();
    let want = OriginalIpDetection::CustomHeader {
        name: http::HeaderName::from_static("x-real"),
        trusted: false,
        reject_with: Some(StatusCode::FORBIDDEN),
    };
    assert_eq!(made.downstream.original_ip_detection, [want]);
}

#[test]
fn refuses_what_envoy_refuses() {
    let xff = "xff.v3.XffConfig";
    let both = detection("x", xff, json!({"xff_num_trusted_hops": 1, "xff_trusted_cidrs": {}}));
    let mut with_hops = detection("x", xff, json!({}));
    with_hops["xff_num_trusted_hops"] = 1.into();
    let mapper = |mapper: Value| json!({"local_reply_config": {"mappers": [mapper]}});
    for (options, field) in [
        (json!({"codec_type": 99}), "codec_type"),
        (json!({"server_header_transformation": 7}), "server_header_transformation"),
        (json!({"server_name": "a\nb"}), "server_name"),
        (json!({"via": "a\nb"}), "via"),
        (json!({"max_request_headers_kb": 9000}), "max_request_headers_kb"),
        (json!({"max_request_headers_kb": 0}), "max_request_headers_kb"),
        (json!({"drain_timeout": "-1s"}), "drain_timeout"),
        (json!({"request_timeout": "-1s"}), "request_timeout"),
        (
            json!({"common_http_protocol_options": {"max_headers_count": 0}}),
            "common_http_protocol_options.max_headers_count",
        ),
        (
            json!({"http2_protocol_options": {"max_concurrent_streams": 0}}),
            "http2_protocol_options.max_concurrent_streams",
        ),
        (
            json!({"upgrade_configs": [{"upgrade_type": "a"}, {"upgrade_type": "A"}]}),
            "upgrade_configs[1].upgrade_type",
        ),
        (
            json!({"early_header_mutation_extensions": [{"name": "x"}]}),
            "early_header_mutation_extensions[0].typed_config",
        ),
        (with_hops, "xff_num_trusted_hops"),
        (both, "original_ip_detection_extensions[0].typed_config.xff_num_trusted_hops"),
        (
            json!({"scheme_header_transformation": {"scheme_to_overwrite": "ftp"}}),
            "scheme_header_transformation.scheme_to_overwrite",
        ),
        (
            json!({"internal_address_config": {"cidr_ranges": [{"address_prefix": "x"}]}}),
            "internal_address_config.cidr_ranges[0].address_prefix",
        ),
        (mapper(json!({"status_code": 200})), "local_reply_config.mappers[0].filter"),
        (
            mapper(json!({"filter": status("EQ", 1), "status_code": 99})),
            "local_reply_config.mappers[0].status_code",
        ),
        (
            mapper(json!({"filter": {"response_flag_filter": {"flags": ["QQ"]}}})),
            "local_reply_config.mappers[0].filter.response_flag_filter.flags[0]",
        ),
        (
            mapper(json!({"filter": status("EQ", 1), "body": {}})),
            "local_reply_config.mappers[0].body",
        ),
        (
            mapper(json!({"filter": {"and_filter": {"filters": [status("EQ", 1)]}}})),
            "local_reply_config.mappers[0].filter.and_filter.filters",
        ),
        (
            json!({"local_reply_config": {"body_format": {}}}),
            "local_reply_config.body_format.format",
        ),
        (
            json!({"local_reply_config": {"body_format": {"json_format": {"a": "%FOO%"}}}}),
            "local_reply_config.body_format.json_format",
        ),
    ] {
        let error = decoded(&options).unwrap_err();
        assert!(error.starts_with(&format!("{field}: ")), "{options}: {error}");
    }
}

#[test]
fn reads_changes_of_answers_made_here() {
    let any = json!([{"not_health_check_filter": {}}, status("LE", 404)]);
    let made = decoded(&json!({"local_reply_config": {
        "mappers": [
            {"filter": status("GE", 500), "status_code": 299, "body": {"inline_string": "b"}},
            {"filter": {"or_filter": {"filters": any}}},
            {"filter": {"response_flag_filter": {"flags": ["NR", "LH"]}}},
            {"filter": {"grpc_status_filter": {"statuses": ["NOT_FOUND"], "exclude": true}}},
        ],
        "body_format": {"text_format_source": {"inline_string": "%LOCAL_REPLY_BODY%"}},
    }}))
    .unwrap();
    let config = made.local_reply.unwrap();
    let [first, second, third, fourth] = &config.mappers[..] else { panic!("{config:?}") };
    assert!(matches!(first.filter, ReplyFilter::StatusCode(Comparison::Ge, 500)));
    assert_eq!(first.status_code.unwrap().as_u16(), 299);
    assert_eq!(first.body.as_deref(), Some(&b"b"[..]));
    assert!(matches!(&second.filter, ReplyFilter::Or(any) if any.len() == 2));
    let flags = [ResponseFlags::NO_ROUTE_FOUND, ResponseFlags::UNKNOWN];
    assert!(matches!(&third.filter, ReplyFilter::ResponseFlags(any) if *any == flags));
    let is_not_found = |filter: &ReplyFilter| matches!(filter, ReplyFilter::GrpcStatus { statuses, exclude: true } if *statuses == [5]);
    assert!(is_not_found(&fourth.filter));
    assert!(config.body_format.is_some());
    assert!(decoded(&json!({"local_reply_config": {}})).unwrap().local_reply.is_none());
}

#[test]
fn deep_conditions_are_refused_and_overflow_nothing() {
    let mut filter = status("EQ", 1);
    for _ in 0..40 {
        filter = json!({"or_filter": {"filters": [filter, status("EQ", 2)]}});
    }
    let config = json!({"local_reply_config": {"mappers": [{"filter": filter}]}});
    let made = std::panic::catch_unwind(|| decoded(&config));
    assert!(made.is_ok());
}

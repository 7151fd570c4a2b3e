use serde_json::{Value, json};

use super::{JsonError, decode, decode_bytes, encode};
use crate::envoy::config::core::v3::RoutingPriority;
use crate::envoy::config::route::v3::route_action::HostRewriteSpecifier;
use crate::envoy::config::route::v3::{Route, RouteAction, RouteConfiguration};
use crate::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use crate::google::protobuf::{BoolValue, Duration, Struct};
use crate::type_url;

fn action(json: Value) -> Result<RouteAction, JsonError> {
    decode::<RouteAction>(&json).map(|(action, unknown)| {
        assert_eq!(unknown, Vec::<String>::new());
        action
    })
}

#[test]
fn reads_both_spellings_of_a_field() {
    for json in [json!({"prefix_rewrite": "/a"}), json!({"prefixRewrite": "/a"})] {
        assert_eq!(action(json).unwrap().prefix_rewrite, "/a");
    }
}

#[test]
fn reads_durations_as_text_and_as_fields() {
    let quarter = Some(Duration { seconds: 1, nanos: 250_000_000 });
    for json in [
        json!("1.25s"),
        json!({"seconds": 1, "nanos": 250_000_000}),
        json!({"seconds": "1", "nanos": 250_000_000}),
    ] {
        assert_eq!(action(json!({ "timeout": json })).unwrap().timeout, quarter);
    }
    assert_eq!(action(json!({"timeout": {}})).unwrap().timeout, Some(Duration::default()));
    assert_eq!(action(json!({ "timeout": null })).unwrap().timeout, None);
}

#[test]
fn reads_enums_in_any_case_and_as_numbers() {
    for json in [json!("HIGH"), json!("high"), json!("High"), json!(1), json!("1")] {
        let priority = action(json!({ "priority": json })).unwrap().priority();
        assert_eq!(priority, RoutingPriority::High);
    }
}

#[test]
fn reads_quoted_booleans() {
    for (json, value) in
        [(json!("True"), true), (json!(false), false), (json!({"value": "true"}), true)]
    {
        let read = action(json!({ "auto_host_rewrite": json })).unwrap();
        let wanted = HostRewriteSpecifier::AutoHostRewrite(BoolValue { value });
        assert_eq!(read.host_rewrite_specifier, Some(wanted));
    }
    let (routes, _) =
        decode::<RouteConfiguration>(&json!({"most_specific_header_mutations_wins": "true"}))
            .unwrap();
    assert!(routes.most_specific_header_mutations_wins);
}

#[test]
fn reads_lists_of_one_and_passes_over_nulls() {
    for json in [json!({}), json!([{}]), json!([null, {}, null])] {
        assert_eq!(action(json!({ "hash_policy": json })).unwrap().hash_policy.len(), 1);
    }
}

#[test]
fn reads_an_any_with_and_without_value() {
    let read = |config: Value| {
        decode::<Route>(&json!({"typed_per_filter_config": {"f": config}})).map(
            |(route, unknown)| {
                let any = route.typed_per_filter_config["f"].clone();
                (any.type_url, any.value, unknown)
            },
        )
    };
    let url = "type.googleapis.com/google.protobuf.BoolValue";
    let (type_url, value, unknown) = read(json!({"@type": url, "value": "true"})).unwrap();
    assert_eq!((type_url.as_str(), value.as_slice(), unknown.len()), (url, &[8, 1][..], 0));
    let (_, value, unknown) = read(json!({"@type": url, "valeu": true})).unwrap();
    assert!(value.is_empty());
    assert_eq!(unknown, [r#"typed_per_filter_config["f"].valeu"#]);
    assert_eq!(read(json!({})).unwrap().0, "");

    for (config, path, text) in [
        (json!({"value": true}), ".@type", "is missing"),
        (json!({"@type": 1}), ".@type", "must be a string"),
        (json!({"@type": "t/no.Such"}), ".@type", r#""no.Such" is not a known message"#),
        (json!({"@type": url, "value": 1}), ".value", "1: invalid type"),
        (json!([]), "", "must be an object, not a list"),
    ] {
        let error = read(config).unwrap_err();
        assert_eq!(error.path(), format!(r#"typed_per_filter_config["f"]{path}"#));
        assert!(error.text().starts_with(text), "{error}");
    }
}

#[test]
fn reads_structs() {
    let (read, _) = decode::<Struct>(&json!({"a": [1, null, {"b": "c"}]})).unwrap();
    let url = "type.googleapis.com/google.protobuf.Struct";
    let bytes = prost::Message::encode_to_vec(&read);
    assert_eq!(encode(url, &bytes).unwrap(), json!({"a": [1.0, null, {"b": "c"}]}));
    assert!(decode::<Struct>(&json!(1)).is_err());
}

#[test]
fn tells_the_paths_of_unknown_fields() {
    let (_, unknown) = decode::<RouteConfiguration>(&json!({
        "colour": 1,
        "virtual_hosts": [{}, {"routes": [{"match": {"prefix": "/", "suffix": "/"}}]}],
    }))
    .unwrap();
    assert_eq!(unknown, ["colour", "virtual_hosts[1].routes[0].match.suffix"]);
}

#[test]
fn names_the_field_in_every_refusal() {
    for (json, path, text) in [
        (json!([]), "", "must be an object, not a list"),
        (json!({"timeout": "1 s"}), "timeout", "\"1 s\": "),
        (json!({"timeout": {"seconds": "x"}}), "timeout.seconds", "\"x\": "),
        (json!({"priority": "URGENT"}), "priority", "\"URGENT\" is no value of "),
        (json!({"priority": 1.5}), "priority", "1.5 is no value of "),
        (json!({"priority": true}), "priority", "must be a name or a number"),
        (json!({"hash_policy": "a"}), "hash_policy", "must be an object, not a string"),
        (json!({"hash_policy": [{}, 1]}), "hash_policy[1]", "must be an object, not a number"),
        (json!({"prefix_rewrite": 1}), "prefix_rewrite", "1: invalid type"),
        (json!({"auto_host_rewrite": "yes"}), "auto_host_rewrite", "must be true or false"),
        (json!({"max_grpc_timeout": -1}), "max_grpc_timeout", "-1: "),
        (json!({"retry_policy": {"num_retries": -1}}), "retry_policy.num_retries", "-1: "),
        (
            json!({"retry_policy": {"num_retries": 4_294_967_296_u64}}),
            "retry_policy.num_retries",
            "4294967296: ",
        ),
        (
            json!({"metadata_match": {"filter_metadata": {"a.b": 1}}}),
            r#"metadata_match.filter_metadata["a.b"]"#,
            "must be an object, not a number",
        ),
    ] {
        let error = action(json).unwrap_err();
        assert_eq!(error.path(), path);
        assert!(error.text().starts_with(text), "{error}");
    }
}

#[test]
fn refuses_a_oneof_set_twice() {
    let error = action(json!({"cluster": "a", "cluster_header": "b"})).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cluster_header: cluster is set as well; only one of cluster_specifier may be"
    );
    let error = action(json!({"prefix_rewrite": "a", "prefixRewrite": "b"})).unwrap_err();
    assert_eq!(error.to_string(), "prefix_rewrite: is given twice");
}

#[test]
fn refuses_what_is_nested_too_deep() {
    let mut json = json!({"any": true});
    for _ in 0..110 {
        json = json!({"and_rules": {"rules": [json]}});
    }
    let url = "type.googleapis.com/envoy.config.rbac.v3.Permission";
    let error = decode_bytes(url, &json).unwrap_err();
    assert_eq!(error.to_string(), "is nested more than 100 deep");
}

#[test]
fn writes_names_of_the_proto_and_reads_them_back() {
    let json = json!({
        "stat_prefix": "in",
        "http_filters": [{
            "name": "router",
            "typed_config": {
                "@type": type_url::ROUTER,
                "start_child_span": true,
            },
        }],
        "stream_idle_timeout": "1.500s",
        "server_header_transformation": "PASS_THROUGH",
    });
    let (bytes, unknown) = decode_bytes(type_url::HTTP_CONNECTION_MANAGER, &json).unwrap();
    assert!(unknown.is_empty());
    assert_eq!(encode(type_url::HTTP_CONNECTION_MANAGER, &bytes).unwrap(), json);
    let (manager, _) = decode::<HttpConnectionManager>(&json).unwrap();
    assert_eq!(prost::Message::encode_to_vec(&manager), bytes);
    assert!(encode(type_url::HTTP_CONNECTION_MANAGER, &[0xff]).is_err());
    assert!(encode("type.googleapis.com/no.Such", &[]).is_err());
}

#[test]
fn knows_what_the_generated_messages_lack() {
    for (name, json) in [
        ("xds.type.v3.TypedStruct", json!({"type_url": "t/a", "value": {"a": "b"}})),
        ("udpa.type.v1.TypedStruct", json!({"type_url": "t/a"})),
        ("xds.data.orca.v3.OrcaLoadReport", json!({"utilization": {"disk": 0.5}})),
        ("xds.service.orca.v3.OrcaLoadReportRequest", json!({"report_interval": "1s"})),
    ] {
        let (bytes, unknown) = decode_bytes(&format!("type.googleapis.com/{name}"), &json).unwrap();
        assert!(unknown.is_empty(), "{name}");
        assert_eq!(encode(name, &bytes).unwrap(), json, "{name}");
    }
}

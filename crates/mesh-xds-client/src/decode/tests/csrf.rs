use mesh_core::ResourceType::Listener;
use serde_json::json;

use super::written::{FIRST_FILTER, decode, findings, listener, refused, typed};

#[test]
fn csrf_policies_are_checked() {
    let policy =
        |fields| listener(&[typed("envoy.extensions.filters.http.csrf.v3.CsrfPolicy", &fields)]);
    let at = |rest: &str| format!("{FIRST_FILTER}{rest}");
    refused(Listener, &policy(json!({})), &at(".filter_enabled"), "is missing");
    let enabled = json!({"default_value": {"numerator": 1}});
    let without_value = json!({"filter_enabled": {"runtime_key": "k"}});
    refused(Listener, &policy(without_value), &at(".filter_enabled.default_value"), "is missing");
    let empty = json!({"filter_enabled": enabled, "additional_origins": [{"prefix": ""}]});
    refused(Listener, &policy(empty), &at(".additional_origins[0].prefix"), "is empty");
    findings(Listener, &policy(json!({"filter_enabled": enabled})), &[]);
    let shadow = json!({"filter_enabled": enabled, "shadow_enabled": enabled});
    findings(Listener, &policy(shadow), &[&at(".shadow_enabled")]);
}

#[test]
fn connection_manager_has_no_more_filters_than_a_request_can_go_through() {
    let cors = typed("envoy.extensions.filters.http.cors.v3.Cors", &json!({}));
    assert!(decode(Listener, &listener(&vec![cors.clone(); 127])).is_ok());
    let field = "api_listener.api_listener.http_filters";
    refused(Listener, &listener(&vec![cors; 128]), field, "has 129 filters, more than 128");
}

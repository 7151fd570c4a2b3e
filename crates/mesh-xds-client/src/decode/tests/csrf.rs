use mesh_core::ResourceType::Listener;
use serde_json::json;

use super::written::{FIRST_FILTER, findings, listener, refused, typed};

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

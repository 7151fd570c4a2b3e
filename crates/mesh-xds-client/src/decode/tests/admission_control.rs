use mesh_core::ResourceType::Listener;
use mesh_core::resource::{AdmissionControl, HttpFilterKind};
use serde_json::{Value as Json, json};

use super::written::{FIRST_FILTER, findings, listener, refused, typed};
use crate::decode::Value;

fn of(config: &Json) -> Json {
    listener(&[typed(AC, config)])
}

const AC: &str = "envoy.extensions.filters.http.admission_control.v3.AdmissionControl";

fn made(config: &Json, fields: &[&str], look: impl Fn(&AdmissionControl)) {
    let Value::Listener(made) = findings(Listener, &of(config), fields) else { panic!("none") };
    match &made.api_listener.filters[0].kind {
        HttpFilterKind::AdmissionControl(found) => look(found),
        other => panic!("{other:?}"),
    }
}

#[test]
fn admission_control_is_read_with_envoys_defaults() {
    made(&json!({"success_criteria": {}}), &[], |found| {
        assert_eq!((found.aggression, found.sr_threshold, found.rps_threshold), (1.0, 0.95, 0));
        assert_eq!(found.max_rejection_probability, 0.8);
        assert_eq!(found.http_success_status, [(0, 500)]);
        assert!(found.grpc_success_status.contains(&0) && !found.grpc_success_status.contains(&14));
    });
    let full = json!({
        "enabled": {"default_value": true, "runtime_key": "k"}, "sampling_window": "3600s",
        "aggression": {"default_value": 0.5, "runtime_key": "k"},
        "sr_threshold": {"default_value": {"value": 90}, "runtime_key": "k"},
        "rps_threshold": {"default_value": 7, "runtime_key": "k"},
        "max_rejection_probability": {"default_value": {"value": 50}, "runtime_key": "k"},
        "success_criteria": {
            "http_criteria": {"http_success_status": [{"start": 100, "end": 400}]},
            "grpc_criteria": {"grpc_success_status": [0, 16]},
        },
    });
    let window = format!("{FIRST_FILTER}.sampling_window");
    made(&full, &[&window], |found| {
        assert_eq!((found.aggression, found.sr_threshold, found.rps_threshold), (1.0, 0.9, 7));
        assert_eq!(found.max_rejection_probability, 0.5);
        assert_eq!(found.http_success_status, [(100, 400)]);
        assert_eq!(found.grpc_success_status, [0, 16]);
    });
    let off =
        json!({"success_criteria": {}, "enabled": {"default_value": false, "runtime_key": "k"}});
    let Value::Listener(off) = findings(Listener, &of(&off), &[]) else { panic!("none") };
    assert!(matches!(off.api_listener.filters[0].kind, HttpFilterKind::Ignored));
}

#[test]
fn admission_control_is_checked() {
    let http = |range: Json| json!({"success_criteria": {"http_criteria": {"http_success_status": [range]}}});
    let threshold = |value: f64| {
        let share = json!({"default_value": {"value": value}, "runtime_key": "k"});
        json!({"success_criteria": {}, "sr_threshold": share})
    };
    let status = "success_criteria.http_criteria.http_success_status[0]";
    for (bad, field, text) in [
        (json!({}), "evaluation_criteria", "is missing"),
        (threshold(0.5), "sr_threshold", "cannot be less than 1.0%"),
        (threshold(101.0), "sr_threshold.default_value.value", "not in 0"),
        (http(json!({"start": 99, "end": 200})), status, "invalid HTTP range: [99, 200)"),
        (http(json!({"start": 300, "end": 200})), status, "invalid HTTP range"),
        (http(json!({"start": 300, "end": 601})), status, "invalid HTTP range"),
        (
            json!({"success_criteria": {"grpc_criteria": {"grpc_success_status": [17]}}}),
            "success_criteria.grpc_criteria.grpc_success_status[0]",
            "invalid gRPC code 17",
        ),
        (
            json!({"success_criteria": {"http_criteria": {}}}),
            "success_criteria.http_criteria.http_success_status",
            "is empty",
        ),
    ] {
        refused(Listener, &of(&bad), &format!("{FIRST_FILTER}.{field}"), text);
    }
}

use std::time::Duration;

use mesh_core::ResourceType::Listener;
use mesh_core::resource::HttpFilterKind;
use serde_json::{Value as Json, json};

use super::written::{FIRST_FILTER, findings, listener, refused, typed};
use crate::decode::Value;

const AC: &str = "envoy.extensions.filters.http.adaptive_concurrency.v3.AdaptiveConcurrency";

fn config(limits: Json, min_rtt: Json) -> Json {
    json!({"gradient_controller_config": {
        "concurrency_limit_params": limits,
        "min_rtt_calc_params": min_rtt,
    }})
}

fn kind(config: &Json) -> HttpFilterKind {
    let listener = findings(Listener, &listener(&[typed(AC, config)]), &[]);
    let Value::Listener(made) = listener else { panic!("none") };
    made.api_listener.filters[0].kind.clone()
}

#[test]
fn controller_is_read_with_envoys_defaults() {
    let interval = json!({"concurrency_update_interval": "0.1s"});
    let mut proto = config(interval.clone(), json!({"interval": "60s"}));
    let HttpFilterKind::AdaptiveConcurrency(made) = kind(&proto) else { panic!("none") };
    assert_eq!((made.limit(), made.limit_exceeded_status.as_u16()), (3, 503));
    proto["concurrency_limit_exceeded_status"] = json!({"code": 429});
    let HttpFilterKind::AdaptiveConcurrency(made) = kind(&proto) else { panic!("none") };
    assert_eq!(made.limit_exceeded_status.as_u16(), 429);
    proto["concurrency_limit_exceeded_status"] = json!({"code": 200});
    let HttpFilterKind::AdaptiveConcurrency(made) = kind(&proto) else { panic!("none") };
    assert_eq!(made.limit_exceeded_status.as_u16(), 503);

    let told = format!(
        "{:?}",
        kind(&config(
            json!({"concurrency_update_interval": "0.1s", "max_concurrency_limit": 9, "min_concurrency_limit": 2}),
            json!({"fixed_value": "0.02s", "buffer": {"value": 10}, "min_concurrency": 4}),
        ))
    );
    for want in ["max_limit: 9", "min_limit: 2", "Fixed(20ms)", "buffer: 0.1"] {
        assert!(told.contains(want), "{told}");
    }
    let measured = json!({"interval": "1s", "jitter": {"value": 5}, "request_count": 7});
    let told = format!("{:?}", kind(&config(interval.clone(), measured)));
    let interval = Duration::from_secs(1);
    let want = format!("Measured {{ interval: {interval:?}, jitter: 0.05, requests: 7 }}");
    assert!(told.contains(&want), "{told}");
    proto["enabled"] = json!({"default_value": false, "runtime_key": "k"});
    assert!(matches!(kind(&proto), HttpFilterKind::Ignored));
}

#[test]
fn controller_is_checked() {
    let interval = || json!({"concurrency_update_interval": "0.1s"});
    let rtt = || json!({"interval": "60s"});
    for (proto, field, text) in [
        (json!({}), "gradient_controller_config", "is missing"),
        (
            config(json!({}), rtt()),
            "concurrency_limit_params.concurrency_update_interval",
            "is missing",
        ),
        (
            config(json!({"concurrency_update_interval": "0s"}), rtt()),
            "concurrency_limit_params.concurrency_update_interval",
            "greater than zero",
        ),
        (config(interval(), json!({})), "min_rtt_calc_params.interval", "is missing"),
        (
            config(interval(), json!({"interval": "0.0001s"})),
            "min_rtt_calc_params.interval",
            "less than 1 ms",
        ),
        (
            config(interval(), json!({"interval": "1s", "fixed_value": "1s"})),
            "min_rtt_calc_params.fixed_value",
            "only one of",
        ),
        (
            config(interval(), json!({"interval": "1s", "request_count": 0})),
            "min_rtt_calc_params.request_count",
            "greater than zero",
        ),
        (
            config(interval(), json!({"interval": "1s", "buffer": {"value": 101}})),
            "min_rtt_calc_params.buffer.value",
            "not from 0 to 100",
        ),
    ] {
        let field = match field {
            "gradient_controller_config" => format!("{FIRST_FILTER}.{field}"),
            field => format!("{FIRST_FILTER}.gradient_controller_config.{field}"),
        };
        refused(Listener, &listener(&[typed(AC, &proto)]), &field, text);
    }
}

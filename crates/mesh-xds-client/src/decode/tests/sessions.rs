use mesh_core::ResourceType::{Cluster, Listener};
use mesh_core::resource::{HealthStatus, HttpFilterKind, SessionState, StatefulSession};
use serde_json::{Value as Json, json};

use super::written::{FIRST_FILTER, cluster, findings, listener, refused, typed};
use crate::decode::Value;

const FILTER: &str = "envoy.extensions.filters.http.stateful_session.v3.StatefulSession";

fn state(name: &str, config: &Json) -> Json {
    let name = format!("envoy.extensions.http.stateful_session.{name}");
    json!({"session_state": {"name": "s", "typed_config": typed(&name, config)}})
}

fn cookie(config: &Json) -> Json {
    state("cookie.v3.CookieBasedSessionState", &json!({"cookie": config}))
}

fn of(config: &Json) -> Json {
    listener(&[typed(FILTER, config)])
}

fn made(config: &Json, fields: &[&str]) -> Option<StatefulSession> {
    let Value::Listener(made) = findings(Listener, &of(config), fields) else { panic!("none") };
    match &made.api_listener.filters[0].kind {
        HttpFilterKind::StatefulSession(found) => found.as_deref().cloned(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn sessions_are_read() {
    let mut config = cookie(&json!({
        "name": "c", "ttl": "3s", "path": "/a", "attributes": [{"name": "SameSite", "value": "Lax"}],
    }));
    config["status_on_strict_destination_not_found"] = 404.into();
    let found = made(&config, &[]).unwrap();
    assert_eq!((found.strict, found.missing_status.as_u16()), (false, 503));
    let SessionState::Cookie(source) = &found.state else { panic!("{found:?}") };
    assert_eq!((&*source.name, &*source.path, source.attributes.len()), ("c", "/a", 1));
    config["strict"] = true.into();
    assert_eq!(made(&config, &[]).unwrap().missing_status.as_u16(), 404);
    let header = state("header.v3.HeaderBasedSessionState", &json!({"name": "X-Session"}));
    let SessionState::Header(name) = made(&header, &[]).unwrap().state else { panic!("no header") };
    assert_eq!(name, "x-session");
    assert_eq!(made(&json!({}), &[]), None);
    let envelope =
        state("envelope.v3.EnvelopeSessionState", &json!({"header": {"name": "x-session"}}));
    let at = format!("{FIRST_FILTER}.session_state.typed_config");
    assert_eq!(made(&envelope, &[&at]), None);
}

#[test]
fn sessions_are_checked() {
    let at = |rest: &str| format!("{FIRST_FILTER}.{rest}");
    let config = "session_state.typed_config";
    for (bad, field, text) in [
        (cookie(&json!({})), "cookie.name", "is empty"),
        (cookie(&json!({"name": "a\nb"})), "cookie.name", "line ends"),
        (state("cookie.v3.CookieBasedSessionState", &json!({})), "cookie", "is missing"),
        (state("header.v3.HeaderBasedSessionState", &json!({})), "name", "is empty"),
        (state("header.v3.HeaderBasedSessionState", &json!({"name": "a b"})), "name", "header"),
    ] {
        refused(Listener, &of(&bad), &at(&format!("{config}.{field}")), text);
    }
    let cors = typed("envoy.extensions.filters.http.cors.v3.Cors", &json!({}));
    let unknown = json!({"session_state": {"name": "s", "typed_config": cors}});
    refused(Listener, &of(&unknown), &at(config), "is not supported");
    let mut status = cookie(&json!({"name": "c"}));
    status["status_on_strict_destination_not_found"] = 99.into();
    let field = at("status_on_strict_destination_not_found");
    refused(Listener, &of(&status), &field, "99 is not a status");
}

#[test]
fn statuses_for_sessions_are_read() {
    let of = |statuses: Json| {
        let set = json!({"override_host_status": {"statuses": statuses}});
        cluster(&json!({"common_lb_config": set}))
    };
    let Value::Cluster(made) = findings(Cluster, &of(json!(["HEALTHY", "DRAINING"])), &[]) else {
        panic!("no cluster")
    };
    let found = made.balancing.override_host_status.unwrap();
    assert!(found.contains(HealthStatus::Draining) && !found.contains(HealthStatus::Unknown));
    let field = "common_lb_config.override_host_status.statuses[0]";
    refused(Cluster, &of(json!([17])), field, "unknown value 17");
}

//! What policies say without acting by it: shadow rules, LOG, and what breakers leave.

use http::Request;
use mesh_core::resource::Value as Noted;
use mesh_tests::send;
use mesh_tests::world::Notes;
use mesh_tests::written::Written;
use mesh_tower::{Body, Record};
use serde_json::{Value, json};

const RBAC: &str = "envoy.extensions.filters.http.rbac.v3.RBAC";

fn policies(action: &str, name: &str, path: &str) -> Value {
    let permission = json!({"url_path": {"path": {"prefix": path}}});
    let policy = json!({"permissions": [permission], "principals": [{"any": true}]});
    json!({"action": action, "policies": {name: policy}})
}

#[tokio::test]
async fn shadow_rules_and_log_are_told_in_the_record() {
    let server = Notes::take().await;
    let config = json!({
        "rules": policies("LOG", "log it", "/log"),
        "shadow_rules": policies("DENY", "later", "/admin"),
        "shadow_rules_stat_prefix": "next_",
    });
    let live = Written::new(&[server.address()]).with_filter(RBAC, &config).channel().await;
    assert_eq!(live.mesh.findings(), []);
    let text = |value: &str| Some(Noted::String(value.into()));
    for (path, log, result, policy) in
        [("/admin", false, "denied", text("later")), ("/log", true, "allowed", None)]
    {
        let record = Record::new();
        let request = Request::builder().uri(path).extension(record.clone());
        let answer = send(&live.channel, request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(answer.status, 200, "shadow rules deny nothing");
        let noted = record.metadata();
        let of = |key| noted.get("envoy.filters.http.rbac", [key]).cloned();
        assert_eq!(of("next_shadow_engine_result"), text(result), "{path}");
        assert_eq!(of("next_shadow_effective_policy_id"), policy);
        let hint = noted.get("envoy.common", ["access_log_hint"]);
        assert_eq!(hint, Some(&Noted::Bool(log)), "{path}");
    }
}

#[tokio::test]
async fn what_a_breaker_leaves_is_told_where_configuration_asks() {
    let server = Notes::take().await;
    let tracked = json!({"circuit_breakers": {"thresholds": [
        {"max_requests": 7, "max_retries": 2, "track_remaining": true},
    ]}});
    let locality = mesh_tests::written::endpoints(&[server.address()]);
    let live = Written::new(&[]).with_cluster("things", &tracked, &[locality]).channel().await;
    assert_eq!(live.mesh.findings(), []);
    let response = {
        use tower::ServiceExt as _;
        let request = Request::builder().method("POST").uri("/").body(Body::from("x")).unwrap();
        live.channel.clone().oneshot(request).await.unwrap()
    };
    let [things] = &live.mesh.clusters()[..] else { panic!("one cluster") };
    assert_eq!(
        (&*things.name, things.endpoints, things.usable, things.requests),
        ("things", 1, 1, 1)
    );
    let left = things.remaining.unwrap();
    assert_eq!((left.requests, left.retries, left.connections), (6, 2, 1023));
    assert_eq!(things.remaining_high, None);
    drop(response);
    assert_eq!(live.mesh.clusters()[0].remaining.unwrap().requests, 7);
}

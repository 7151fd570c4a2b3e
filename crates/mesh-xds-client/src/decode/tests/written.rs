//! Resources written as JSON.

use mesh_core::{ResourceId, ResourceType};
use mesh_pb::{json, type_url};
use serde_json::{Value, json};

use crate::decode::{self, Refusal};

/// Decodes a resource of that type; every field of it has to exist.
pub(super) fn decode(kind: ResourceType, resource: &Value) -> Result<decode::Value, Refusal> {
    let type_url = match kind {
        ResourceType::Listener => type_url::LISTENER,
        ResourceType::RouteConfiguration => type_url::ROUTE_CONFIGURATION,
        ResourceType::Cluster => type_url::CLUSTER,
        ResourceType::ClusterLoadAssignment => type_url::CLUSTER_LOAD_ASSIGNMENT,
        ResourceType::Secret => mesh_pb::type_url::SECRET,
    };
    let (bytes, unknown) = json::decode_bytes(type_url, resource).unwrap();
    assert!(unknown.is_empty(), "{unknown:?}");
    decode::decode(&ResourceId::new(kind, "x"), &bytes)
}

/// Asserts that a resource is refused for that field.
#[track_caller]
pub(super) fn refused(kind: ResourceType, resource: &Value, field: &str, text: &str) {
    let refusal = decode(kind, resource).expect_err(field);
    assert_eq!(refusal.field(), field, "{refusal}");
    assert!(refusal.reason().contains(text), "{refusal:?} lacks {text:?}");
}

/// Asserts that a resource is accepted, with findings on those fields.
#[track_caller]
pub(super) fn findings(kind: ResourceType, resource: &Value, fields: &[&str]) -> decode::Value {
    let value = decode(kind, resource).unwrap();
    let found: Vec<&str> = value.findings().iter().map(|finding| &*finding.field).collect();
    assert_eq!(found, fields);
    value
}

/// An extension of that type.
pub(super) fn typed(type_name: &str, config: &Value) -> Value {
    let mut typed = config.clone();
    typed["@type"] = format!("type.googleapis.com/{type_name}").into();
    typed
}

/// A listener whose connection manager has those filters before its router.
pub(super) fn listener(filters: &[Value]) -> Value {
    let named =
        |(at, config): (usize, &Value)| json!({"name": format!("f{at}"), "typed_config": config});
    let mut filters: Vec<Value> = filters.iter().enumerate().map(named).collect();
    filters.push(json!({"name": "router", "typed_config": {"@type": type_url::ROUTER}}));
    let manager = json!({
        "@type": type_url::HTTP_CONNECTION_MANAGER, "stat_prefix": "p",
        "route_config": {"name": "r"}, "http_filters": filters,
    });
    json!({"name": "x", "api_listener": {"api_listener": manager}})
}

/// Where the configuration of the first filter of [`listener`] is.
pub(super) const FIRST_FILTER: &str = "api_listener.api_listener.http_filters[0].typed_config";
/// A route configuration with one route: those fields of its action beside the cluster.
pub(super) fn forwarding(fields: &Value) -> Value {
    let mut action = fields.clone();
    if action.get("weighted_clusters").is_none() {
        action["cluster"] = "c".into();
    }
    let route = json!({"match": {"prefix": "/"}, "route": action});
    json!({"name": "x", "virtual_hosts": [{"name": "h", "domains": ["*"], "routes": [route]}]})
}

/// A cluster by EDS with those fields.
pub(super) fn cluster(fields: &Value) -> Value {
    let mut made = fields.clone();
    made["name"] = "x".into();
    made["type"] = "EDS".into();
    made["eds_cluster_config"] = json!({"eds_config": {"ads": {}}});
    made
}

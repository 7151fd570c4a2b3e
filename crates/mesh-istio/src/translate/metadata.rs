//! The metadata Istio puts on resources, by which telemetry names things.

use std::collections::HashMap;

use mesh_pb::envoy::config::core::v3::Metadata;
use mesh_pb::google::protobuf::{ListValue, Struct, Value, value::Kind};

/// `/apis/networking.istio.io/v1/namespaces/NS/KIND/NAME`, `kind` in kebab case.
pub(super) fn config_path(kind: &str, namespace: &str, name: &str) -> String {
    format!("/apis/networking.istio.io/v1/namespaces/{namespace}/{kind}/{name}")
}

/// `filter_metadata.istio` with the given fields.
pub(super) fn istio<const N: usize>(fields: [(&str, Value); N]) -> Metadata {
    filter("istio", fields)
}

pub(super) fn filter<const N: usize>(filter: &str, fields: [(&str, Value); N]) -> Metadata {
    Metadata {
        filter_metadata: HashMap::from([(filter.to_owned(), structure(fields))]),
        ..Default::default()
    }
}

pub(super) fn structure<const N: usize>(fields: [(&str, Value); N]) -> Struct {
    Struct { fields: fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect() }
}

pub(super) fn string(text: impl Into<String>) -> Value {
    Value { kind: Some(Kind::StringValue(text.into())) }
}

pub(super) fn list(values: Vec<Value>) -> Value {
    Value { kind: Some(Kind::ListValue(ListValue { values })) }
}

pub(super) fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value { kind: Some(Kind::StructValue(structure(fields))) }
}

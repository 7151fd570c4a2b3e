//! What is refused, with the field told, and what is accepted with a finding.

mod actions;
mod adaptive_concurrency;
mod admission_control;
mod balancing;
mod breakers;
mod client_weights;
mod cluster;
mod connections;
mod csrf;
mod dns;
mod endpoints;
mod endpoints_after;
mod faults;
mod filters;
mod headers;
mod health_check;
mod hostile;
mod hostile_values;
mod listener;
mod manager;
mod matcher;
mod outlier;
mod policy;
mod rate_limit;
mod rbac;
mod redirects;
mod route;
mod server;
mod sessions;
mod subsets;
mod tls;
mod who;
mod written;

use mesh_core::{ResourceId, ResourceType};
use mesh_pb::google::protobuf::{Any, Duration, UInt32Value};
use prost::Message;

use super::{Refusal, Value};

fn decode<M: Message>(kind: ResourceType, message: &M) -> Result<Value, Refusal> {
    super::decode(&ResourceId::new(kind, "x"), &message.encode_to_vec())
}

/// Asserts that a message is refused for that field.
#[track_caller]
fn refused<M: Message>(kind: ResourceType, message: &M, field: &str, text: &str) {
    let refusal = decode(kind, message).expect_err(field);
    assert_eq!(refusal.field(), field, "{refusal}");
    assert!(refusal.reason().contains(text), "{refusal:?} lacks {text:?}");
}

/// Asserts that a message is accepted, with findings on those fields.
#[track_caller]
fn findings<M: Message>(kind: ResourceType, message: &M, fields: &[&str]) -> Value {
    let value = decode(kind, message).unwrap();
    let found: Vec<&str> = value.findings().iter().map(|finding| &*finding.field).collect();
    assert_eq!(found, fields);
    value
}

fn number(value: u32) -> Option<UInt32Value> {
    Some(UInt32Value { value })
}

fn seconds(seconds: i64) -> Option<Duration> {
    Some(Duration { seconds, nanos: 0 })
}

/// An extension of a type that nobody knows.
fn unknown() -> Any {
    Any { type_url: "type.googleapis.com/unknown.Type".to_owned(), value: Vec::new() }
}

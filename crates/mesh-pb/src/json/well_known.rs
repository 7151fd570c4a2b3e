use std::borrow::Cow;

use prost_reflect::{DynamicMessage, MessageDescriptor};
use serde_json::Value as Json;

use super::JsonError;
use super::path::At;
use super::scalar::shape;

/// Whether a message has a JSON form of its own, which is no object of its fields.
pub(super) fn is(descriptor: &MessageDescriptor) -> bool {
    let Some(name) = descriptor.full_name().strip_prefix("google.protobuf.") else {
        return false;
    };
    name.ends_with("Value")
        || matches!(name, "Any" | "Duration" | "Timestamp" | "FieldMask" | "Struct")
}

/// Whether such a message is written as others are all the same. Those that stand for any JSON
/// cannot be: an object is their value.
pub(super) fn is_written_as_fields(descriptor: &MessageDescriptor, json: &Json) -> bool {
    let name = descriptor.full_name();
    json.is_object() && !matches!(name, "google.protobuf.Struct" | "google.protobuf.Value")
}

/// A message in the JSON form of its own. Not for `Any`, whose content has to be walked as well.
pub(super) fn message(
    at: At<'_>,
    descriptor: MessageDescriptor,
    json: &Json,
) -> Result<DynamicMessage, JsonError> {
    let name = descriptor.full_name();
    let json = match (name, json) {
        ("google.protobuf.BoolValue", Json::String(text)) => Cow::Owned(quoted(at, text)?),
        ("google.protobuf.Struct", json) if !json.is_object() => {
            return Err(at.refuse(format!("must be an object, not {}", shape(json))));
        }
        (_, json) => Cow::Borrowed(json),
    };
    let text = |error: serde_json::Error| at.refuse(format!("{json}: {error}"));
    DynamicMessage::deserialize(descriptor, json.as_ref()).map_err(text)
}

fn quoted(at: At<'_>, text: &str) -> Result<Json, JsonError> {
    match text.to_ascii_lowercase().parse() {
        Ok(value) => Ok(Json::Bool(value)),
        Err(_) => Err(at.refuse(format!("must be true or false, not {text:?}"))),
    }
}

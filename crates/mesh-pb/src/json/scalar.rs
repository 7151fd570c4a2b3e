use prost_reflect::{EnumDescriptor, Kind, MapKey, Value};
use serde_json::Value as Json;

use super::path::At;
use super::{JsonError, well_known};

/// A value that is neither a message nor an enum.
pub(super) fn scalar(at: At<'_>, kind: &Kind, json: &Json) -> Result<Value, JsonError> {
    // A wrapper has the JSON form of what it wraps, so the rules of numbers and base64 are those
    // of the library.
    let wrapper = match kind {
        Kind::Double => "google.protobuf.DoubleValue",
        Kind::Float => "google.protobuf.FloatValue",
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => "google.protobuf.Int32Value",
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => "google.protobuf.Int64Value",
        Kind::Uint32 | Kind::Fixed32 => "google.protobuf.UInt32Value",
        Kind::Uint64 | Kind::Fixed64 => "google.protobuf.UInt64Value",
        Kind::Bool => "google.protobuf.BoolValue",
        Kind::String => "google.protobuf.StringValue",
        Kind::Bytes => "google.protobuf.BytesValue",
        Kind::Message(_) | Kind::Enum(_) => return Err(at.refuse("is no scalar")),
    };
    let message = well_known::message(at, super::descriptor(wrapper)?, json)?;
    let value = message.get_field_by_name("value");
    Ok(value.ok_or_else(|| at.refuse("is missing"))?.into_owned())
}

/// An enum's number: from its name, in any case, or from a number.
pub(super) fn enumeration(
    at: At<'_>,
    descriptor: &EnumDescriptor,
    json: &Json,
) -> Result<Value, JsonError> {
    let number = match json {
        Json::String(name) => {
            let named = |value: &prost_reflect::EnumValueDescriptor| {
                value.name().eq_ignore_ascii_case(name)
            };
            let found = descriptor.values().find(named).map(|value| value.number());
            found.or_else(|| name.parse().ok())
        }
        Json::Number(number) => number.as_i64().and_then(|number| i32::try_from(number).ok()),
        // The only value of NullValue.
        Json::Null => Some(0),
        _ => return Err(at.refuse(format!("must be a name or a number, not {}", shape(json)))),
    };
    number
        .map(Value::EnumNumber)
        .ok_or_else(|| at.refuse(format!("{json} is no value of {}", descriptor.full_name())))
}

/// The key of a map, which JSON always writes as a string.
pub(super) fn key(at: At<'_>, kind: &Kind, key: &str) -> Result<MapKey, JsonError> {
    let made = match scalar(at, kind, &Json::from(key))? {
        Value::Bool(key) => MapKey::Bool(key),
        Value::I32(key) => MapKey::I32(key),
        Value::I64(key) => MapKey::I64(key),
        Value::U32(key) => MapKey::U32(key),
        Value::U64(key) => MapKey::U64(key),
        Value::String(key) => MapKey::String(key),
        _ => return Err(at.refuse("is no key of a map")),
    };
    Ok(made)
}

/// What a value is, for people.
pub(super) fn shape(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "a boolean",
        Json::Number(_) => "a number",
        Json::String(_) => "a string",
        Json::Array(_) => "a list",
        Json::Object(_) => "an object",
    }
}

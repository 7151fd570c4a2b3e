use std::collections::HashMap;

use prost::Message as _;
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage as _, Value,
};
use serde_json::Value as Json;

use super::path::At;
use super::scalar::{enumeration, key, scalar, shape};
use super::{JsonError, UnknownFields, name_of, well_known};

/// Messages inside messages. What is deeper could not be decoded again: it is the limit of
/// `prost`, and of protobuf's own parsers.
const MAX_DEPTH: usize = 100;

/// A message, and the fields it does not have.
pub(super) fn message(
    descriptor: MessageDescriptor,
    json: &Json,
) -> Result<(DynamicMessage, UnknownFields), JsonError> {
    let mut unknown = Vec::new();
    let made = any_message(At::ROOT, descriptor, json, &mut unknown)?;
    Ok((made, unknown))
}

fn any_message(
    at: At<'_>,
    descriptor: MessageDescriptor,
    json: &Json,
    unknown: &mut UnknownFields,
) -> Result<DynamicMessage, JsonError> {
    if descriptor.full_name() == "google.protobuf.Any" {
        return packed(at, descriptor, json, unknown);
    }
    if well_known::is(&descriptor) && !well_known::is_written_as_fields(&descriptor, json) {
        return well_known::message(at, descriptor, json);
    }
    fields(at, descriptor, json, unknown)
}

/// A message written as an object of its fields.
fn fields(
    at: At<'_>,
    descriptor: MessageDescriptor,
    json: &Json,
    unknown: &mut UnknownFields,
) -> Result<DynamicMessage, JsonError> {
    if at.depth() > MAX_DEPTH {
        // The path would be as long as the nesting.
        return Err(JsonError::new("", format!("is nested more than {MAX_DEPTH} deep")));
    }
    let Json::Object(entries) = json else {
        return Err(at.refuse(format!("must be an object, not {}", shape(json))));
    };
    let mut made = DynamicMessage::new(descriptor);
    // Only an `Any` may name its type; its own reading has taken note of it.
    for (name, json) in entries.iter().filter(|(name, _)| *name != TYPE) {
        let descriptor = made.descriptor();
        let by_json = || descriptor.get_field_by_json_name(name);
        let Some(field) = descriptor.get_field_by_name(name).or_else(by_json) else {
            unknown.push(at.field(name).to_string());
            continue;
        };
        let at = at.field(field.name());
        let Some(value) = field_value(at, &field, json, unknown)? else { continue };
        alone(at, &made, &field)?;
        made.set_field(&field, value);
    }
    Ok(made)
}

/// Refuses a field that is set twice, or beside another one of its oneof.
fn alone(at: At<'_>, made: &DynamicMessage, field: &FieldDescriptor) -> Result<(), JsonError> {
    if let Some(oneof) = field.containing_oneof()
        && let Some(other) = oneof.fields().find(|other| made.has_field(other))
    {
        let text = format!("{} is set as well; only one of {} may be", other.name(), oneof.name());
        return Err(at.refuse(text));
    }
    if made.has_field(field) {
        return Err(at.refuse("is given twice"));
    }
    Ok(())
}

/// `None` when the field is not set.
fn field_value(
    at: At<'_>,
    field: &FieldDescriptor,
    json: &Json,
    unknown: &mut UnknownFields,
) -> Result<Option<Value>, JsonError> {
    if json.is_null() && !means_null(&field.kind()) {
        return Ok(None);
    }
    if field.is_map() {
        return map(at, field, json, unknown).map(Some);
    }
    if field.is_list() {
        return list(at, &field.kind(), json, unknown).map(Some);
    }
    single(at, &field.kind(), json, unknown).map(Some)
}

/// Null is a value for these, and the absence of one for all others.
fn means_null(kind: &Kind) -> bool {
    match kind {
        Kind::Message(message) => message.full_name() == "google.protobuf.Value",
        Kind::Enum(descriptor) => descriptor.full_name() == "google.protobuf.NullValue",
        _ => false,
    }
}

fn list(
    at: At<'_>,
    kind: &Kind,
    json: &Json,
    unknown: &mut UnknownFields,
) -> Result<Value, JsonError> {
    // A value that stands alone is a list of itself, and a null in a list is nothing.
    let Json::Array(items) = json else {
        return Ok(Value::List(vec![single(at, kind, json, unknown)?]));
    };
    let mut values = Vec::with_capacity(items.len());
    for (index, json) in items.iter().enumerate() {
        if !json.is_null() || means_null(kind) {
            values.push(single(at.index(index), kind, json, unknown)?);
        }
    }
    Ok(Value::List(values))
}

fn map(
    at: At<'_>,
    field: &FieldDescriptor,
    json: &Json,
    unknown: &mut UnknownFields,
) -> Result<Value, JsonError> {
    let (Json::Object(entries), Kind::Message(entry)) = (json, field.kind()) else {
        return Err(at.refuse(format!("must be an object, not {}", shape(json))));
    };
    let keys = entry.map_entry_key_field().kind();
    let values = entry.map_entry_value_field().kind();
    let mut made = HashMap::with_capacity(entries.len());
    for (name, json) in entries {
        let at = at.key(name);
        made.insert(key(at, &keys, name)?, single(at, &values, json, unknown)?);
    }
    Ok(Value::Map(made))
}

fn single(
    at: At<'_>,
    kind: &Kind,
    json: &Json,
    unknown: &mut UnknownFields,
) -> Result<Value, JsonError> {
    match kind {
        Kind::Message(descriptor) => {
            any_message(at, descriptor.clone(), json, unknown).map(Value::Message)
        }
        Kind::Enum(descriptor) => enumeration(at, descriptor, json),
        _ => scalar(at, kind, json),
    }
}

/// The key that names the message in an `Any`.
const TYPE: &str = "@type";

fn packed(
    at: At<'_>,
    any: MessageDescriptor,
    json: &Json,
    unknown: &mut UnknownFields,
) -> Result<DynamicMessage, JsonError> {
    let Json::Object(entries) = json else {
        return Err(at.refuse(format!("must be an object, not {}", shape(json))));
    };
    let mut made = DynamicMessage::new(any);
    let type_url = match entries.get(TYPE) {
        Some(Json::String(type_url)) => type_url,
        Some(_) => return Err(at.field(TYPE).refuse("must be a string")),
        None if entries.is_empty() => return Ok(made),
        None => return Err(at.field(TYPE).refuse("is missing")),
    };
    let descriptor = super::descriptor(name_of(type_url))
        .map_err(|error| at.field(TYPE).refuse(error.text()))?;
    let inner = if well_known::is(&descriptor) {
        let others = entries.keys().filter(|name| !matches!(name.as_str(), TYPE | "value"));
        unknown.extend(others.map(|name| at.field(name).to_string()));
        match entries.get("value") {
            Some(json) => any_message(at.field("value"), descriptor, json, unknown)?,
            None => DynamicMessage::new(descriptor),
        }
    } else {
        fields(at, descriptor, json, unknown)?
    };
    made.set_field_by_name("type_url", Value::String(type_url.clone()));
    made.set_field_by_name("value", Value::Bytes(inner.encode_to_vec().into()));
    Ok(made)
}

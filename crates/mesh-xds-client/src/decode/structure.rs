//! `google.protobuf.Struct` and what is made of it.

use mesh_core::resource::{Struct, Value};
use mesh_pb::google::protobuf as pb;
use pb::value::Kind;

/// Recursive: reading the message bounded how deep it is.
pub(super) fn structure(proto: &pb::Struct) -> Struct {
    proto.fields.iter().map(|(key, made)| (key.as_str().into(), value(made))).collect()
}

fn value(proto: &pb::Value) -> Value {
    match &proto.kind {
        Some(Kind::NumberValue(number)) => Value::Number(*number),
        Some(Kind::StringValue(text)) => Value::String(text.as_str().into()),
        Some(Kind::BoolValue(value)) => Value::Bool(*value),
        Some(Kind::StructValue(proto)) => Value::Struct(structure(proto)),
        Some(Kind::ListValue(list)) => Value::List(list.values.iter().map(value).collect()),
        Some(Kind::NullValue(_)) | None => Value::Null,
    }
}

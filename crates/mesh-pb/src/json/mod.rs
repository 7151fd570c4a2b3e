//! Messages from and to JSON, as Envoy reads it.
//!
//! Configuration for Envoy is written in proto3 JSON by many hands, and Envoy's parser forgives
//! more than the standard: well-known types may be objects of their fields (a `Duration` of
//! `seconds` and `nanos`), names of enum values may be in any case, booleans may be quoted, a list
//! of one need be no list, a well-known type in an `Any` may lack its `value`, and unknown fields
//! are passed over. [`decode`] forgives the same, tells every field it passed over, and names the
//! field in every refusal:
//!
//! ```
//! use mesh_pb::envoy::config::route::v3::RouteConfiguration;
//! use serde_json::json;
//!
//! let (routes, unknown) = mesh_pb::json::decode::<RouteConfiguration>(&json!({
//!     "name": "routes",
//!     "virtual_hosts": [{ "name": "all", "domains": ["*"], "domain_count": 1 }],
//! }))?;
//! assert_eq!(routes.virtual_hosts[0].domains, ["*"]);
//! assert_eq!(unknown, ["virtual_hosts[0].domain_count"]);
//!
//! let error = mesh_pb::json::decode::<RouteConfiguration>(&json!({
//!     "virtual_hosts": [{ "domains": [1] }],
//! }));
//! assert_eq!(error.unwrap_err().path(), "virtual_hosts[0].domains[0]");
//! # Ok::<(), mesh_pb::json::JsonError>(())
//! ```
//!
//! Only the messages in the committed descriptor set have a JSON form: resources, and the
//! extensions that are known somewhere in this workspace.

mod decode;
mod error;
mod path;
mod scalar;
#[cfg(test)]
mod tests;
mod well_known;

pub use error::JsonError;

use std::sync::LazyLock;

use prost::{Message, Name};
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};
use serde_json::Value;

/// Paths of the fields that a message does not have, in the order they were met. Nothing was
/// read from them.
pub type UnknownFields = Vec<String>;

/// Reads a message from JSON.
///
/// # Errors
/// The first field that does not fit the message, or whose `Any` is of a type not known here.
pub fn decode<M: Message + Name + Default>(json: &Value) -> Result<(M, UnknownFields), JsonError> {
    let (message, unknown) = decode::message(descriptor(&M::full_name())?, json)?;
    let message = message.transcode_to().map_err(|error| JsonError::new("", error.to_string()))?;
    Ok((message, unknown))
}

/// Reads the message that a type URL names from JSON, and gives its encoding.
///
/// # Errors
/// As [`decode`], and when the type URL names nothing known here.
pub fn decode_bytes(type_url: &str, json: &Value) -> Result<(Vec<u8>, UnknownFields), JsonError> {
    let (message, unknown) = decode::message(descriptor(name_of(type_url))?, json)?;
    Ok((message.encode_to_vec(), unknown))
}

/// Writes the message that a type URL names as JSON: fields by their names in the proto, fields
/// at their defaults left out, 64-bit numbers as strings.
///
/// # Errors
/// When the type, or that of an `Any` inside, is not known here; when the bytes are no such
/// message.
pub fn encode(type_url: &str, bytes: &[u8]) -> Result<Value, JsonError> {
    let name = name_of(type_url);
    let refuse = |error: &dyn std::error::Error| JsonError::new("", format!("{name}: {error}"));
    let message = DynamicMessage::decode(descriptor(name)?, bytes).map_err(|e| refuse(&e))?;
    let options = SerializeOptions::new().use_proto_field_name(true);
    let json = serde_json::value::Serializer;
    message.serialize_with_options(json, &options).map_err(|e| refuse(&e))
}

/// Made on first use, for it takes milliseconds.
static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(include_bytes!("../generated/xds.bin").as_slice())
        .expect("the committed descriptors are complete: every test that reads JSON needs them")
});

fn descriptor(name: &str) -> Result<MessageDescriptor, JsonError> {
    let found = POOL.get_message_by_name(name);
    found.ok_or_else(|| JsonError::new("", format!("{name:?} is not a known message")))
}

/// What follows the last slash, whatever host stands before it.
fn name_of(type_url: &str) -> &str {
    type_url.rsplit('/').next().unwrap_or(type_url)
}

//! From bytes to validated resources.
//!
//! In two phases: first a resource's name is found, so that everything wrong later can be told of
//! a resource by name, then the whole is decoded and checked. What is not valid is
//! [refused](Refusal) with the path of the field; what is valid and not honoured is accepted with
//! a [`Finding`](mesh_core::Finding). Between Envoy's rules and gRPC's, what either accepts is
//! accepted; what guards security and is not supported is refused.
//!
//! One file per message or group of messages; `at` carries the path and collects findings.

mod action;
mod adaptive_concurrency;
mod address;
mod addresses;
mod admission_control;
mod at;
mod balancing;
mod breakers;
mod chain_match;
mod client_weights;
mod cluster;
mod common;
mod conditions;
mod context;
mod cors;
mod csrf;
mod discovery;
mod dns;
mod downstream;
mod endpoints;
mod fault;
mod filter;
mod forward;
mod header_mutation;
mod headers;
mod health_check;
mod http_options;
mod lb_policy;
mod listener;
mod local_reply;
mod manager;
mod matcher;
mod metadata;
mod outlier;
mod overrides;
mod policies;
mod protocol;
mod rate_limit;
mod rbac;
mod recent;
mod redirect;
mod refusal;
mod retry;
mod rewrite;
mod route;
mod server;
mod session;
mod split;
mod structure;
mod subsets;
mod tcp_proxy;
#[cfg(test)]
mod tests;
mod tls;
mod tree;
mod value;
mod weighted;

pub use context::Context;
pub use refusal::Refusal;
pub use value::{DecodedSecret, Value};

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use mesh_core::resource::Name;
use mesh_core::{ResourceId, ResourceType};
use mesh_pb::envoy::config::cluster::v3::Cluster;
use mesh_pb::envoy::config::listener::v3::Listener;
use mesh_pb::envoy::config::route::v3::RouteConfiguration;
use mesh_pb::envoy::extensions::transport_sockets::tls::v3::Secret;
use mesh_pb::envoy::service::discovery::v3::Resource;
use mesh_pb::google::protobuf::Any;
use mesh_pb::type_url;
use prost::Message;

use at::{At, Invalid, Notes};

/// A resource whose name is known and whose content is not looked at yet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Raw {
    /// The name.
    pub name: Name,
    /// The message, encoded.
    pub bytes: Vec<u8>,
    /// How long it is to be kept, unless it is renewed.
    pub ttl: Option<Duration>,
    /// That there is none, and the time to live of this version is renewed.
    pub heartbeat: Option<Name>,
}

/// The first field of each of the messages is its name.
#[derive(Clone, PartialEq, Message)]
struct Named {
    #[prost(string, tag = "1")]
    name: String,
}

/// Finds a resource's name; takes it out of a `Resource` message if it comes in one.
///
/// # Errors
/// When it is of another type, cannot be read, or has no name.
pub fn unwrap(kind: ResourceType, any: Any) -> Result<Raw, Refusal> {
    if any.type_url == type_url::RESOURCE {
        let wrapper = Resource::decode(any.value.as_slice())
            .map_err(|error| Refusal::unnamed(kind, format!("cannot read the wrapper: {error}")))?;
        return unwrap_resource(kind, wrapper);
    }
    unwrap_named(kind, String::new(), any)
}

/// As [`unwrap`], of a resource in its message. Without one inside it is a heartbeat, which must have
/// a name.
///
/// # Errors
/// When it is of another type, cannot be read, or has no name.
pub fn unwrap_resource(kind: ResourceType, resource: Resource) -> Result<Raw, Refusal> {
    let Resource { name, version, ttl, resource, .. } = resource;
    let ttl = ttl.as_ref().map(|ttl| {
        let ttl = common::to_duration(ttl).filter(|ttl| !ttl.is_zero());
        ttl.ok_or_else(|| {
            let id = ResourceId::new(kind, name.as_str());
            Refusal::of(&id, "ttl", "must be a time above zero")
        })
    });
    let ttl = ttl.transpose()?.map(|ttl| ttl.min(crate::session::FOREVER));
    match resource.filter(|inner| !inner.type_url.is_empty()) {
        Some(inner) => Ok(Raw { ttl, ..unwrap_named(kind, name, inner)? }),
        None if name.is_empty() => Err(Refusal::unnamed(kind, "holds no resource")),
        None => {
            let heartbeat = Some(version.into());
            Ok(Raw { name: name.into(), bytes: Vec::new(), ttl, heartbeat })
        }
    }
}

/// As [`unwrap`], of a resource whose name is given beside it; when it is empty, that in the
/// resource counts.
///
/// # Errors
/// When it is of another type, cannot be read, or has no name.
pub fn unwrap_named(kind: ResourceType, name: String, any: Any) -> Result<Raw, Refusal> {
    let mut given = name;
    if any.type_url != crate::session::type_url(kind) {
        return Err(Refusal::unnamed(kind, format!("is of type {:?}", any.type_url)));
    }
    if given.is_empty() {
        given = Named::decode(any.value.as_slice())
            .map_err(|error| Refusal::unnamed(kind, format!("cannot be read: {error}")))?
            .name;
    }
    if given.is_empty() {
        return Err(Refusal::unnamed(kind, "has no name"));
    }
    Ok(Raw { name: given.into(), bytes: any.value, ttl: None, heartbeat: None })
}

/// Decodes and checks a resource, without knowing anything beside it.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn decode(id: &ResourceId, bytes: &[u8]) -> Result<Value, Refusal> {
    decode_in(&Context::default(), id, bytes)
}

/// Decodes and checks a resource.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn decode_in(context: &Context, id: &ResourceId, bytes: &[u8]) -> Result<Value, Refusal> {
    decode_after(context, id, bytes, None)
}

/// Decodes and checks a resource that follows another of the same name, given with its bytes. The
/// same comes out as without it, sooner where little changed.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn decode_after(
    context: &Context,
    id: &ResourceId,
    bytes: &[u8],
    previous: Option<(&[u8], &Value)>,
) -> Result<Value, Refusal> {
    contained(id, || decode_checked(context, id, bytes, previous))
}

/// Bytes come from outside. If one resource trips over a fault of ours, its neighbours and the task
/// must not pay for it; decoding shares no state that could be left half made.
fn contained(
    id: &ResourceId,
    decoding: impl FnOnce() -> Result<Value, Invalid>,
) -> Result<Value, Refusal> {
    match catch_unwind(AssertUnwindSafe(decoding)) {
        Ok(decoded) => decoded.map_err(|invalid| Refusal::of(id, invalid.field, invalid.text)),
        Err(_) => Err(Refusal::of(id, "", "decoding failed by a fault of the client")),
    }
}

fn decode_checked(
    context: &Context,
    id: &ResourceId,
    bytes: &[u8],
    previous: Option<(&[u8], &Value)>,
) -> Result<Value, Invalid> {
    let notes = Notes::new(context);
    let at = At::root(&notes);
    let name = &id.name;
    Ok(match id.kind {
        ResourceType::Listener => {
            let proto = read::<Listener>(bytes)?;
            if proto.api_listener.is_none() && proto.address.is_some() {
                let mut made = server::server(at, name, &proto)?;
                made.findings = notes.into_findings(id);
                return Ok(Value::ServerListener(Arc::new(made)));
            }
            let mut made = listener::listener(at, name, proto)?;
            made.findings = notes.into_findings(id);
            Value::Listener(Arc::new(made))
        }
        ResourceType::RouteConfiguration => {
            let proto = read::<RouteConfiguration>(bytes)?;
            at.shared().note_unknown_fields(&proto, bytes.len());
            let mut made = route::configuration(at, name, proto)?;
            made.findings = notes.into_findings(id);
            Value::RouteConfiguration(Arc::new(made))
        }
        ResourceType::Cluster => {
            let mut made = cluster::cluster(at, name, &read::<Cluster>(bytes)?)?;
            made.findings = notes.into_findings(id);
            Value::Cluster(Arc::new(made))
        }
        ResourceType::ClusterLoadAssignment => {
            let previous = previous.and_then(|(bytes, value)| match value {
                Value::ClusterLoadAssignment(value) => Some(endpoints::Previous { bytes, value }),
                _ => None,
            });
            let mut made = endpoints::assignment_of(at, name, bytes, previous)?;
            made.findings = notes.into_findings(id);
            Value::ClusterLoadAssignment(Arc::new(made))
        }
        ResourceType::Secret => {
            let made = tls::secret(at, &read::<Secret>(bytes)?)?;
            Value::Secret(Box::new(DecodedSecret::new(made, notes.into_findings(id))))
        }
    })
}

fn read<M: Message + Default>(bytes: &[u8]) -> Result<M, Invalid> {
    M::decode(bytes).map_err(|error| Invalid::new("", format!("cannot be read: {error}")))
}

//! A hash of a resource's content that is the same on every run.
//!
//! The encoded bytes will not do: protobuf maps are hash maps in memory, and every process writes
//! them in an order of its own. So maps are taken out, hashed in the order of their keys, and the
//! rest is hashed as bytes. Maps are few and in known places: metadata, filter configuration and
//! protocol options.

use std::collections::HashMap;
use std::mem::take;

use mesh_pb::envoy::config::cluster::v3::Cluster;
use mesh_pb::envoy::config::core::v3::Metadata;
use mesh_pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use mesh_pb::envoy::config::listener::v3::Listener;
use mesh_pb::envoy::config::route::v3::RouteConfiguration;
use mesh_pb::envoy::extensions::transport_sockets::tls::v3::Secret;
use mesh_pb::google::protobuf::{Any, Struct, value::Kind};
use prost::Message;
use twox_hash::XxHash3_128;

/// Messages whose maps can be taken out.
pub(super) trait Fingerprint {
    /// Feeds every map to `hash` and leaves it empty.
    fn drain_maps(&mut self, hash: &mut XxHash3_128);
}

pub(super) fn of<M: Message + Fingerprint + Clone>(message: &M) -> u128 {
    let mut message = message.clone();
    let mut hash = XxHash3_128::new();
    message.drain_maps(&mut hash);
    hash.write(&message.encode_to_vec());
    hash.finish_128()
}

impl Fingerprint for Listener {
    fn drain_maps(&mut self, hash: &mut XxHash3_128) {
        metadata(take(&mut self.metadata), hash);
    }
}

impl Fingerprint for RouteConfiguration {
    fn drain_maps(&mut self, hash: &mut XxHash3_128) {
        configs(take(&mut self.typed_per_filter_config), hash);
        for host in &mut self.virtual_hosts {
            configs(take(&mut host.typed_per_filter_config), hash);
            for route in &mut host.routes {
                metadata(take(&mut route.metadata), hash);
                configs(take(&mut route.typed_per_filter_config), hash);
            }
        }
    }
}

impl Fingerprint for Cluster {
    fn drain_maps(&mut self, hash: &mut XxHash3_128) {
        metadata(take(&mut self.metadata), hash);
        configs(take(&mut self.typed_extension_protocol_options), hash);
        if let Some(assignment) = &mut self.load_assignment {
            assignment.drain_maps(hash);
        }
    }
}

impl Fingerprint for ClusterLoadAssignment {
    fn drain_maps(&mut self, hash: &mut XxHash3_128) {
        for locality in &mut self.endpoints {
            metadata(take(&mut locality.metadata), hash);
            for endpoint in &mut locality.lb_endpoints {
                metadata(take(&mut endpoint.metadata), hash);
            }
        }
    }
}

impl Fingerprint for Secret {
    /// It has none, but of kinds that are not served.
    fn drain_maps(&mut self, _: &mut XxHash3_128) {}
}

fn metadata(metadata: Option<Metadata>, hash: &mut XxHash3_128) {
    let metadata = metadata.unwrap_or_default();
    for (name, fields) in sorted(&metadata.filter_metadata) {
        text(name, hash);
        structure(fields, hash);
    }
    configs(metadata.typed_filter_metadata, hash);
}

fn configs(configs: HashMap<String, Any>, hash: &mut XxHash3_128) {
    length(configs.len(), hash);
    for (name, config) in sorted(&configs) {
        text(name, hash);
        text(&config.type_url, hash);
        length(config.value.len(), hash);
        hash.write(&config.value);
    }
}

fn structure(structure: &Struct, hash: &mut XxHash3_128) {
    length(structure.fields.len(), hash);
    for (name, field) in sorted(&structure.fields) {
        text(name, hash);
        value(field.kind.as_ref(), hash);
    }
}

/// Each kind begins with a number of its own, so that no two values feed the same bytes.
fn value(kind: Option<&Kind>, hash: &mut XxHash3_128) {
    match kind {
        None | Some(Kind::NullValue(_)) => hash.write(&[0]),
        Some(Kind::BoolValue(value)) => hash.write(&[1, u8::from(*value)]),
        Some(Kind::NumberValue(value)) => {
            hash.write(&[2]);
            hash.write(&value.to_le_bytes());
        }
        Some(Kind::StringValue(value)) => {
            hash.write(&[3]);
            text(value, hash);
        }
        Some(Kind::ListValue(list)) => {
            hash.write(&[4]);
            length(list.values.len(), hash);
            list.values.iter().for_each(|item| value(item.kind.as_ref(), hash));
        }
        Some(Kind::StructValue(fields)) => {
            hash.write(&[5]);
            structure(fields, hash);
        }
    }
}

fn text(text: &str, hash: &mut XxHash3_128) {
    length(text.len(), hash);
    hash.write(text.as_bytes());
}

fn length(length: usize, hash: &mut XxHash3_128) {
    hash.write(&(length as u64).to_le_bytes());
}

fn sorted<T>(map: &HashMap<String, T>) -> Vec<(&String, &T)> {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_by_key(|(key, _)| *key);
    entries
}

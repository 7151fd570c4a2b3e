//! Who asks.

use mesh_pb::envoy::config::core::v3 as core;
use mesh_pb::google::protobuf::{Struct, value::Kind};

use crate::kind::Labels;
use crate::source::DEFAULT_NAMESPACE;

/// What of an xDS client's node decides what it gets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Node {
    /// As sent.
    pub id: String,
    /// Metadata `NAMESPACE`, else from the id, else `default`.
    pub namespace: String,
    /// Metadata `LABELS`.
    pub labels: Labels,
    /// Metadata `INSTANCE_IPS` (the first), else from the id; empty when neither says.
    pub ip: String,
    /// [`Mode::Grpc`] for metadata `GENERATOR` of `grpc`, and without that metadata for clients
    /// that call themselves gRPC; [`Mode::Envoy`] for those that call themselves Envoy.
    pub mode: Mode,
    /// Metadata `INTERCEPTION_MODE` of `NONE`: nobody redirects connections to its listeners, so
    /// they are bound to their ports.
    pub bound: bool,
}

/// What kind of client a node is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mode {
    /// Everything that is configured.
    #[default]
    Native,
    /// The same, with secrets asked for over xDS.
    Envoy,
    /// What istiod sends to gRPC's own xDS clients, with their defaults: they refuse a cluster
    /// that is balanced as Istio does it for others.
    Grpc,
}

impl Node {
    /// A native client in `namespace`.
    pub fn new(id: impl Into<String>, namespace: impl Into<String>) -> Self {
        Self { id: id.into(), namespace: namespace.into(), ..Self::default() }
    }

    /// Sets [`Node::mode`].
    pub fn with_mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Sets [`Node::bound`].
    pub fn with_bound(mut self, bound: bool) -> Self {
        self.bound = bound;
        self
    }

    /// Sets [`Node::labels`].
    pub fn with_labels(mut self, labels: Labels) -> Self {
        self.labels = labels;
        self
    }

    /// From a request's `node`. Istio's id is `sidecar~IP~NAME.NAMESPACE~DOMAIN`; any other id is
    /// taken as an opaque name.
    pub fn from_xds(node: &core::Node) -> Self {
        let parts: Vec<&str> = node.id.split('~').collect();
        let (ip, name) = match parts.as_slice() {
            [_, ip, name, _] => (*ip, *name),
            _ => ("", ""),
        };
        let metadata = node.metadata.as_ref();
        let text = |key| metadata.and_then(|metadata| string(metadata, key));
        let namespace = text("NAMESPACE")
            .or_else(|| name.rsplit_once('.').map(|(_, namespace)| namespace.to_owned()))
            .filter(|namespace| !namespace.is_empty())
            .unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
        let ips = text("INSTANCE_IPS").unwrap_or_default();
        let first = ips.split(',').map(str::trim).find(|ip| !ip.is_empty());
        Self {
            id: node.id.clone(),
            namespace,
            labels: metadata.map(labels).unwrap_or_default(),
            ip: first.unwrap_or(ip).to_owned(),
            mode: match text("GENERATOR").as_deref() {
                Some("grpc") => Mode::Grpc,
                None if node.user_agent_name.starts_with(GRPC_USER_AGENT) => Mode::Grpc,
                None if node.user_agent_name == ENVOY_USER_AGENT => Mode::Envoy,
                _ => Mode::Native,
            },
            bound: text("INTERCEPTION_MODE").as_deref() == Some("NONE"),
        }
    }
}

/// `gRPC C-core linux`, `gRPC Go`, `gRPC Java`.
const GRPC_USER_AGENT: &str = "gRPC ";
const ENVOY_USER_AGENT: &str = "envoy";

fn string(metadata: &Struct, key: &str) -> Option<String> {
    match metadata.fields.get(key)?.kind.as_ref()? {
        Kind::StringValue(text) => Some(text.clone()),
        _ => None,
    }
}

fn labels(metadata: &Struct) -> Labels {
    let Some(Kind::StructValue(labels)) =
        metadata.fields.get("LABELS").and_then(|value| value.kind.as_ref())
    else {
        return Labels::new();
    };
    let pairs = labels.fields.keys().filter_map(|key| Some((key.clone(), string(labels, key)?)));
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use mesh_pb::google::protobuf::Value;

    use super::*;

    fn text(text: &str) -> Value {
        Value { kind: Some(Kind::StringValue(text.to_owned())) }
    }

    #[test]
    fn istio_ids_give_address_and_namespace() {
        let id = "sidecar~10.0.0.7~reviews-1.prod~prod.svc.cluster.local".to_owned();
        let node = Node::from_xds(&core::Node { id, ..Default::default() });
        assert_eq!((node.namespace.as_str(), node.ip.as_str()), ("prod", "10.0.0.7"));
        assert_eq!(node.mode, Mode::Native);
    }

    #[test]
    fn grpcs_own_clients_are_known_without_metadata() {
        let user_agent_name = "gRPC C-core linux".to_owned();
        let node = core::Node { user_agent_name, ..Default::default() };
        assert_eq!(Node::from_xds(&node).mode, Mode::Grpc);
        let metadata = Struct { fields: [("GENERATOR".to_owned(), text("native"))].into() };
        let node = core::Node { metadata: Some(metadata), ..node };
        assert_eq!(Node::from_xds(&node).mode, Mode::Native);
    }

    #[test]
    fn metadata_beats_the_id_and_plain_ids_default() {
        let plain = core::Node { id: "me".to_owned(), ..Default::default() };
        assert_eq!(Node::from_xds(&plain).namespace, "default");
        let labels = Struct { fields: [("version".to_owned(), text("v1"))].into() };
        let metadata = Struct {
            fields: [
                ("NAMESPACE".to_owned(), text("shop")),
                ("GENERATOR".to_owned(), text("grpc")),
                ("INSTANCE_IPS".to_owned(), text("10.1.1.1,::1")),
                ("LABELS".to_owned(), Value { kind: Some(Kind::StructValue(labels)) }),
            ]
            .into(),
        };
        let node = core::Node { metadata: Some(metadata), ..plain };
        let node = Node::from_xds(&node);
        assert_eq!((node.namespace.as_str(), node.mode), ("shop", Mode::Grpc));
        assert_eq!((node.ip.as_str(), node.labels["version"].as_str()), ("10.1.1.1", "v1"));
    }
}

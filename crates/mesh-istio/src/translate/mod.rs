//! A model and a node to xDS resources, one name at a time and on demand.
//!
//! Pure: the same model, node and name give the same resource with the same fingerprint, on
//! every machine and after every restart.

mod answer;
mod cluster;
mod connections;
mod endpoints;
mod fingerprint;
mod headers;
mod inbound;
mod listener;
mod matcher;
mod metadata;
mod name;
mod policy;
mod retry;
mod route;
mod selection;
mod sidecar;
mod target;
mod tls;
mod traffic;

use std::fmt;

use mesh_pb::envoy::config::cluster::v3::Cluster;
use mesh_pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use mesh_pb::envoy::config::listener::v3::Listener;
use mesh_pb::envoy::config::route::v3::RouteConfiguration;
use mesh_pb::envoy::extensions::transport_sockets::tls::v3::Secret;
use mesh_pb::google::protobuf as pb;
use mesh_pb::type_url;
use prost::Message;

use crate::model::Model;
use crate::node::{Mode, Node};
use fingerprint::Fingerprint;
use name::ClusterName;

/// The types of resource a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ResourceType {
    /// LDS. The name is the target as the client has it: `host:port`; or, for a sidecar,
    /// `0.0.0.0_PORT`, `ADDRESS_PORT` of a service that speaks no HTTP, and `virtualOutbound`.
    Listener,
    /// RDS. Named `outbound|PORT||HOST`; or, for a sidecar, `PORT`.
    RouteConfiguration,
    /// CDS. Named `outbound|PORT|SUBSET|HOST`; also `PassthroughCluster` and `BlackHoleCluster`.
    Cluster,
    /// EDS. Named as its cluster.
    ClusterLoadAssignment,
    /// SDS. A model has none: who serves it adds those it was given.
    Secret,
}

impl ResourceType {
    /// All of them, each after those it is named by.
    pub const ALL: [Self; 5] = [
        Self::Listener,
        Self::RouteConfiguration,
        Self::Cluster,
        Self::ClusterLoadAssignment,
        Self::Secret,
    ];

    /// As in `DiscoveryRequest.type_url`.
    pub fn type_url(self) -> &'static str {
        match self {
            Self::Listener => type_url::LISTENER,
            Self::RouteConfiguration => type_url::ROUTE_CONFIGURATION,
            Self::Cluster => type_url::CLUSTER,
            Self::ClusterLoadAssignment => type_url::CLUSTER_LOAD_ASSIGNMENT,
            Self::Secret => type_url::SECRET,
        }
    }

    /// The type of a `type_url`, if it is one of these.
    pub fn from_type_url(url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.type_url() == url)
    }
}

/// One resource, encoded. Its content is not part of `Debug`: secrets hold keys.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct Resource {
    /// As asked for.
    pub name: String,
    /// Ready to be put into a `DiscoveryResponse`.
    pub any: pb::Any,
    /// Changes when the content does, and only then. The bytes of `any` may differ for equal
    /// content: protobuf maps have no order.
    pub fingerprint: u128,
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resource")
            .field("name", &self.name)
            .field("type_url", &self.any.type_url)
            .field("fingerprint", &self.fingerprint)
            .finish_non_exhaustive()
    }
}

impl Resource {
    /// A secret, under its own name.
    pub fn secret(secret: &Secret) -> Self {
        encode(ResourceType::Secret, &secret.name, secret)
    }
}

impl Model {
    /// The resource called `name`, as `node` sees it; none if there is no such thing.
    pub fn translate(&self, node: &Node, kind: ResourceType, name: &str) -> Option<Resource> {
        match kind {
            ResourceType::Listener => encode(kind, name, &self.listener(node, name)?),
            ResourceType::RouteConfiguration => {
                encode(kind, name, &self.route_configuration(node, name)?)
            }
            ResourceType::Cluster => encode(kind, name, &self.cluster(node, name)?),
            ResourceType::ClusterLoadAssignment => {
                encode(kind, name, &self.load_assignment(node, name)?)
            }
            ResourceType::Secret => return None,
        }
        .into()
    }

    /// The listener for a target such as `reviews:9080`, or of a server by its address; its name is
    /// the one asked for.
    pub fn listener(&self, node: &Node, name: &str) -> Option<Listener> {
        let outbound = listener::listener(self, node, name);
        outbound.or_else(|| inbound::listener(name)).or_else(|| match node.mode {
            Mode::Grpc => None,
            _ => sidecar::listener(self, node, name),
        })
    }

    /// The routes called `outbound|PORT||HOST`, or a sidecar's called `PORT`.
    pub fn route_configuration(&self, node: &Node, name: &str) -> Option<RouteConfiguration> {
        if node.mode != Mode::Grpc
            && let Some(routes) = sidecar::route_configuration(self, node, name)
        {
            return Some(routes);
        }
        let parsed = ClusterName::parse(name).filter(|name| name.subset.is_empty())?;
        route::route_configuration(self, node, name, &parsed)
    }

    /// The cluster called `outbound|PORT|SUBSET|HOST`.
    pub fn cluster(&self, node: &Node, name: &str) -> Option<Cluster> {
        match ClusterName::parse(name) {
            Some(parsed) => cluster::cluster(self, node, name, &parsed),
            None => sidecar::cluster(name).filter(|_| node.mode != Mode::Grpc),
        }
    }

    /// The endpoints of the cluster called `outbound|PORT|SUBSET|HOST`.
    pub fn load_assignment(&self, node: &Node, name: &str) -> Option<ClusterLoadAssignment> {
        endpoints::load_assignment(self, node, name, &ClusterName::parse(name)?)
    }

    /// Every name of a type that `node` can ask for as a client of targets, in order. Listeners are
    /// named by the full host; the other forms a client may use are not listed.
    pub fn names(&self, node: &Node, kind: ResourceType) -> Vec<String> {
        name::all(self, node, kind)
    }
}

impl Model {
    /// Every name of a type that the wildcard stands for, in order: who asks for all there is
    /// without saying what is a sidecar, unless it is gRPC.
    pub fn wildcard(&self, node: &Node, kind: ResourceType) -> Vec<String> {
        match node.mode {
            Mode::Grpc => name::all(self, node, kind),
            Mode::Native | Mode::Envoy => sidecar::names(self, node, kind),
        }
    }
}

fn encode<M: Message + Fingerprint + Clone>(
    kind: ResourceType,
    name: &str,
    message: &M,
) -> Resource {
    Resource {
        name: name.to_owned(),
        fingerprint: fingerprint::of(message),
        any: pb::Any { type_url: kind.type_url().to_owned(), value: message.encode_to_vec() },
    }
}

fn duration(duration: std::time::Duration) -> pb::Duration {
    pb::Duration {
        // Read from a text bounded by the protobuf type's own range.
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or_default(),
    }
}

fn uint32(value: u32) -> Option<pb::UInt32Value> {
    Some(pb::UInt32Value { value })
}

fn any<M: Message>(type_url: &str, message: &M) -> pb::Any {
    pb::Any { type_url: type_url.to_owned(), value: message.encode_to_vec() }
}

#[cfg(test)]
mod tests;

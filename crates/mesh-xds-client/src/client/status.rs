use std::time::Instant;

use mesh_pb::envoy::config::core::v3::Node;

use crate::session::{ResourceDump, ResourceStatus};

/// How a client stands with its control plane.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Status {
    /// The identity told to the control plane.
    pub node_id: String,
    /// The servers in use.
    pub servers: Vec<ServerStatus>,
    /// Every resource wanted.
    pub resources: Vec<ResourceStatus>,
}

/// How a client stands with one server.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerStatus {
    /// Its address.
    pub uri: String,
    /// Whether there is a stream to it.
    pub connected: bool,
    /// The last reason why a stream ended or could not be opened, and when.
    pub error: Option<(String, Instant)>,
}

/// All that a client knows, for CSDS.
#[derive(Clone, Debug)]
pub(crate) struct Dump {
    pub(crate) node: Node,
    pub(crate) resources: Vec<ResourceDump>,
}

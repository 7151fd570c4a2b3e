use std::time::Instant;

use crate::session::ResourceStatus;

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

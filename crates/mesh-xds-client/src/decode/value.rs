use std::sync::Arc;

use mesh_core::Finding;
use mesh_core::resource::{
    Cluster, ClusterLoadAssignment, Listener, RouteConfiguration, Secret, ServerListener,
};

/// A decoded resource of any type.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Value {
    /// A Listener with an `api_listener`.
    Listener(Arc<Listener>),
    /// A Listener with an address.
    ServerListener(Arc<ServerListener>),
    /// A RouteConfiguration.
    RouteConfiguration(Arc<RouteConfiguration>),
    /// A Cluster.
    Cluster(Arc<Cluster>),
    /// A ClusterLoadAssignment.
    ClusterLoadAssignment(Arc<ClusterLoadAssignment>),
    /// A Secret.
    Secret(Box<DecodedSecret>),
}

/// A decoded Secret. In a box, since what is known of thousands of clusters would else have room for
/// it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DecodedSecret {
    /// The secret.
    pub secret: Arc<Secret>,
    /// What it asks for and does not get.
    pub findings: Vec<Finding>,
}

impl DecodedSecret {
    /// A secret with what it asks for and does not get.
    pub fn new(secret: impl Into<Arc<Secret>>, findings: Vec<Finding>) -> Self {
        Self { secret: secret.into(), findings }
    }
}

impl Value {
    /// What it asks for and does not get.
    pub fn findings(&self) -> &[Finding] {
        match self {
            Self::Listener(value) => &value.findings,
            Self::ServerListener(value) => &value.findings,
            Self::RouteConfiguration(value) => &value.findings,
            Self::Cluster(value) => &value.findings,
            Self::ClusterLoadAssignment(value) => &value.findings,
            Self::Secret(value) => &value.findings,
        }
    }
}

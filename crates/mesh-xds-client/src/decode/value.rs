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
    /// A Secret, with what it asks for and does not get.
    Secret(Arc<Secret>, Vec<Finding>),
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
            Self::Secret(_, findings) => findings,
        }
    }
}

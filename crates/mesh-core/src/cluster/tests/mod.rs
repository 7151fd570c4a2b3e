//! Clusters without Snapshots around them.

mod admission;
mod avoiding;
mod hashes;
mod loads;
mod model;
mod outliers;
mod picking;
mod rebuilds;
mod shares;
mod subsets;
mod tables;
mod threads;
mod weights;
mod zones;

use std::sync::Arc;

use super::ClusterState;
use crate::resource::{Cluster, ClusterLoadAssignment, Entry};
use crate::testing::endpoints;

/// A cluster of those endpoints.
fn state(spec: Cluster, addresses: impl IntoIterator<Item = u8>) -> ClusterState<()> {
    state_of(spec, endpoints("any", addresses))
}

fn state_of(spec: Cluster, assignment: ClusterLoadAssignment) -> ClusterState<()> {
    ClusterState::build(Arc::new(spec), (Entry::of(assignment), None), None, &())
}

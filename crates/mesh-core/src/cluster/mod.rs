//! A cluster at work: admission, endpoints, picking.
//!
//! A [`ClusterState`] outlives the Snapshots that refer to it. Its specification never changes (a
//! changed one makes a new state that takes over counters and endpoints); its endpoint
//! [`Tables`] are live: they are swapped whole, and every request sees the newest, also one that
//! was routed by an older Snapshot.

mod admission;
mod endpoint;
mod state;
mod tables;
#[cfg(test)]
mod tests;

pub use admission::{Overloaded, Permit, RetryPermit};
pub use endpoint::{EndpointState, Picked};
pub use state::{Avoid, ClusterState};
pub use tables::{NoEndpoints, Tables};

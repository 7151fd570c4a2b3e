//! A cluster at work: admission, endpoints, picking.
//!
//! A [`ClusterState`] outlives the Snapshots that refer to it. Its specification never changes (a
//! changed one makes a new state that takes over counters and endpoints); its endpoint
//! [`Tables`] are live: they are swapped whole, and every request sees the newest, also one that
//! was routed by an older Snapshot.

mod admission;
mod aggregate;
mod alias;
mod away;
mod bounded;
mod breaker;
mod choice;
mod client_weights;
mod draft;
mod endpoint;
mod hashing;
mod health;
mod home;
mod levels;
mod load_report;
mod load_stats;
mod loads;
mod maglev;
mod membership;
pub mod outlier;
mod pick;
mod plain;
mod plan;
mod priority;
mod resilient;
mod ring;
mod session;
mod skipped;
mod slots;
mod state;
mod subsets;
mod tables;
#[cfg(test)]
mod tests;

pub use admission::{ConnectionPermit, Overloaded, PendingPermit, Permit, Remaining, RetryPermit};
pub(crate) use aggregate::Aggregate;
pub use aggregate::LeafLoad;
pub use breaker::CircuitBreaker;
pub use choice::{Avoid, Choice, Part};
pub use endpoint::{EndpointState, Picked};
pub use hashing::hash_of;
pub use health::{Checked, CheckedHealth, Transition};
pub(crate) use home::Home;
pub use load_report::LoadReport;
pub use load_stats::{ClusterLoad, CountedRequest, LoadMetric, LoadStats, LocalityLoad};
pub use priority::PriorityLoad;
pub use session::Session;
pub use state::ClusterState;
pub use tables::{NoEndpoints, Tables};

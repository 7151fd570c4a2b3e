//! Decisions: validated resources, snapshots, routing, balancing and resilience, without I/O.
//!
//! > [`Resources`](resource::Resources) compile to one immutable [`Snapshot`](snapshot::Snapshot);
//! > a request and a Snapshot give a decision.
//!
//! ```text
//! Resources ──compile──▶ Snapshot ──route──▶ Decision ──admit, pick──▶ endpoint
//!                           │                               ▲
//!                           └── clusters: live tables ──────┘ observe
//! ```
//!
//! This crate touches nothing outside: no sockets, tasks, clocks or random sources. Time and
//! randomness are arguments, so every decision can be repeated in a test.

pub mod cluster;
mod dialect;
pub mod finding;
mod head;
pub mod resilience;
pub mod resource;
pub mod route;
pub mod snapshot;
#[cfg(test)]
mod testing;

pub use dialect::Dialect;
pub use finding::{Finding, ResourceId, ResourceType};
pub use head::Head;
pub use snapshot::{Attach, Decision, Snapshot};

//! gRPC through the mesh: channels for generated tonic clients.
//!
//! > A [`Channel`] is `mesh-tower`'s with gRPC's rules: targets select virtual hosts, errors are
//! > statuses, `grpc-timeout` is the deadline.
//!
//! ```text
//! generated client ─▶ Channel ─▶ mesh-tower: route, retry, balance ─▶ HTTP/2
//! tonic::Status   ◀── status of an error, or of a broken body
//! ```
//!
//! It has no routing, balancing or connections of its own. A generated server, or
//! `tonic::service::Routes` with several, is what
//! [`Server::serve`](mesh_tower::Server::serve) takes; tonic's own server takes connections from an
//! [`Incoming`]. [`Health`] tells the mesh's readiness, [`LoadReports`] the application's load.
//!
//! # Stability
//! Before 1.0 the API may change in each minor version; CHANGELOG.md says how.

mod body;
mod channel;
mod health;
mod incoming;
mod load_reports;
mod status;

pub use body::ResponseBody;
pub use channel::{Channel, ResponseFuture};
pub use health::Health;
pub use incoming::{Connection, Incoming};
pub use load_reports::LoadReports;
pub use mesh_core::cluster::LoadReport;
pub use mesh_tower::Mesh;
pub use status::status;
pub use tonic_health::pb::health_server::HealthServer;

//! The mesh as Tower services: HTTP clients and servers under live configuration.
//!
//! > A [`Mesh`] is a service's place in the mesh; a [`Channel`] is a client of one target, a
//! > [`Client`] of any, a [`Server`] where requests arrive.
//!
//! ```text
//! request ─▶ Channel ─▶ route, filters ─▶ deadline ─▶ attempt: admit, pick, send ─▶ endpoint
//!               │ one Snapshot per request             ▲         │
//!               │                                      └─ retry ─┤
//!               │                                                └─▶ outlier detection ─┐
//!             Mesh ◀── updates ── control plane           tables built anew ◀── task ◀──┘
//! ```
//!
//! It does not resolve policy: every decision is `mesh-core`'s. Its API holds no protobuf types.
//! What configuration asks for and this version does not do is listed by [`Mesh::findings`].
//! Filters act on both sides: on a [`Server`] where configuration says what servers do. TLS, mutual
//! or not, is spoken where a server's filter chain or a client's cluster asks for it, and never
//! anything less. There are no metrics, traces and access logs yet.
//!
//! [`Acceptor`] and [`ServerLayer`] do for servers of other libraries what [`Server`] does, and
//! [`ClientLayer`] for a client of yours what [`Channel`] does. [`layers`] has each capability
//! alone, without a control plane.
//!
//! Configuration comes from a control plane, or is made by code of the types in [`resource`]
//! ([`Builder::resources`]).
//!
//! What configuration answers (redirects, aborts, denials, limits) is a response. What fails is an
//! [`Error`] with its cause, of which [`Error::to_response`] makes Envoy's answer.
//!
//! # Stability
//! Before 1.0 the API may change in each minor version; CHANGELOG.md says how.

pub mod body;
pub mod client;
mod connection;
mod deadline;
mod error;
mod faults;
mod health;
pub mod layers;
mod mesh;
mod reports;
pub mod server;
mod spent;
#[cfg(test)]
mod testing;
mod timers;

pub use body::{Body, BoxError};
pub use client::{Channel, Client, ClientLayer, Connector, Record};
pub use deadline::Deadline;
pub use error::{Error, ErrorKind};
pub use mesh::{Builder, ClusterStatus, ConnectionStatus, Mesh, Readiness};
pub use mesh_core::exchange::ResponseFlags;
pub use mesh_core::{Dialect, Finding, resource};
pub use server::{Acceptor, Conn, Peer, Server, ServerLayer};

//! A client of any host.
//!
//! Applications that call many services do not want a channel for each. A [`Client`] takes the
//! target from each request, and keeps a channel for it while it is used.
//!
//! ```text
//! request ─▶ authority ─▶ Targets (lock-free map) ─▶ Channel          in the mesh
//!                            │ new: subscribe      └▶ Channel, by DNS  outside, or an error
//!                            └ 1,024 at most, idle ones go
//! ```

mod client;
mod future;
mod target;
mod targets;
#[cfg(test)]
mod tests;

pub use client::{Client, Outside};
pub use future::ClientResponse;

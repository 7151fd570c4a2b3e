//! What the examples share: the generated code of the ratings service.
//!
//! The examples themselves are programs beside this folder: `minimal.rs`, a client and a server in
//! twenty lines; `clients/` and `servers/`, the mesh around clients and servers of other libraries;
//! and `bookinfo/`, a whole application whose routes change while it is in use.
//!
//! Nothing here is meant to be built upon.

#[allow(
    clippy::allow_attributes_without_reason,
    reason = "generated code allows what it needs without saying why"
)]
pub mod ratings;

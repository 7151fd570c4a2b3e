//! What tests that cross crates share.
//!
//! > A test starts backends, a control plane over a temporary folder (or a scripted one), and a
//! > mesh between them; it acts, waits for an event, and looks.
//!
//! ```text
//! Control (our control plane) ─┐
//! Ads (one that does as told) ─┴─▶ mesh ─▶ Backend, or any service behind `serve`
//!            Process: any of these in a process of its own
//! ```
//!
//! What users' own tests need as well is in `mesh-test`; this is what only tests of the mesh itself need.
//! Everything listens on the loopback interface, on a free port, and ends when it is dropped.

pub mod ads;
pub mod backend;
pub mod client;
pub mod loads;
pub mod process;
pub mod records;
pub mod secured;
pub mod world;
pub mod written;
pub mod xds;
pub mod yaml;

pub use ads::Ads;
pub use backend::Backend;
pub use client::{Answer, delta_mesh, get, mesh, mesh_with_seed, send};
pub use loads::Loads;
pub use mesh_test::{
    Control, DEADLINE, FaultProxy, Load, TestMesh, eventually, fault, serve, within,
};
pub use process::Process;

//! A small control plane: Istio YAML in a folder, served over xDS.
//!
//! > Files that are still and free of errors become the next set; every client is sent what of it
//! > is new to that client.
//!
//! ```text
//! folder ──events──▶ settle ──▶ read ──▶ check ──▶ publish ──▶ stream of client A
//!                    5 ms       changed   all       Model  ╲─▶ stream of client B
//!                    of quiet   files                       ╲▶ …
//!                                           │ errors
//!                                           ▼
//!                              diagnostics; the last good set stays
//! ```
//!
//! - **The last good set stays.** A set with an error anywhere is not published: half of a set is a
//!   set nobody wrote. What is wrong is in the log, in [`ControlPlane::diagnostics`] and at the
//!   admin endpoint, and mending the file is all that is needed. At the start there is no good set
//!   yet, so [`Builder::serve`] fails with the diagnostics.
//! - **Saves are seen however they are made**: written in place, renamed into place by an editor,
//!   swapped by a symbolic link as Kubernetes does it. Where the system does not tell of changes,
//!   the files are looked at every quarter of a second.
//! - **One push is of one set**, clusters and endpoints before listeners and routes, and only of
//!   types of which the content changed for that client. Versions are hashes of the content: after
//!   a restart on the same files they are the same.
//! - **Nobody waits for a slow client.** It is sent the latest set when it has room again; what
//!   came between is skipped.
//!
//! The admin endpoint has `/ready`, `/status` (the clients, with what each accepted and rejected,
//! and why) and `/diagnostics`, all JSON.
//!
//! It serves the aggregated discovery service, state of the world and incremental. A name that does
//! not exist is said to be so at once, by `resource_errors` or `removed_resources`. Envoy as a
//! sidecar is sent Istio's listeners: outbound ones by port, and one for what comes in.
//! [Secrets](ControlPlane::put_secret) that it is given are sent to every client that asks, so that
//! only who may have them should reach it; it makes no certificates itself.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path();
//! let control = mesh_control::ControlPlane::builder().folder(folder).serve().await?;
//! println!("xDS at {}", control.xds_addr());
//! control.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! Stability: before 1.0, anything may change.

mod admin;
mod ads;
mod builder;
mod clients;
mod control_plane;
mod error;
mod folder;
mod generation;
mod secret;

pub use builder::Builder;
pub use clients::{Client, Protocol, Rejection, TypeStatus};
pub use control_plane::ControlPlane;
pub use error::{Error, ErrorKind};
pub use folder::Reading;
pub use secret::Secret;

#[cfg(test)]
mod tests {
    #[test]
    fn public_types_cross_threads() {
        fn shared<T: Send + Sync + std::fmt::Debug>() {}
        shared::<super::ControlPlane>();
        shared::<super::Builder>();
        shared::<super::Client>();
        shared::<super::Error>();
    }
}

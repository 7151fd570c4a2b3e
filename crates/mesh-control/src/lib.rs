//! A small control plane: Istio YAML in a folder, served over xDS.
#![forbid(unsafe_code)]

mod admin;
mod ads;
mod builder;
mod clients;
mod control_plane;
mod error;
mod folder;
mod generation;

pub use builder::Builder;
pub use clients::{Client, Rejection, TypeStatus};
pub use control_plane::ControlPlane;
pub use error::{Error, ErrorKind};

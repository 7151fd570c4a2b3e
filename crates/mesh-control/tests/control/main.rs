//! The control plane through its sockets and its folder.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod ads;
mod common;
mod delta;
mod folder;

//! Handshakes over sockets: who is believed, and what rotation changes.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

mod ca;
mod contexts;
mod files;
mod peers;
mod rotation;
mod spiffe;

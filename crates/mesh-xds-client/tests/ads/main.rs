//! The client over sockets, against a control plane that follows a script.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

mod certificates;
mod delta;
mod fallback;
mod flow;
mod masses;
mod outage;
mod reports;
mod resources;
mod secure;
mod server;
mod updates;
mod walk;
mod ways;

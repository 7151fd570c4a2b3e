//! The client over sockets, against a control plane that follows a script.

mod outage;
mod resources;
mod server;
mod walk;

//! Where requests arrive.
//!
//! A [`Server`] accepts connections on one address and hands each request to a tower service: an
//! axum router, a tonic service, any other. HTTP/1.1 and HTTP/2 with prior knowledge share the
//! port.
//!
//! ```text
//! accept ─▶ connection task ─▶ Conn into the extensions ─▶ service
//!    ▲             ▲
//!    └── Drain ────┘  stop accepting → GOAWAY, keep-alive off → calls finish → cut at deadline
//! ```
//!
//! The server owns its connections: dropping the future of [`Server::serve`] ends them.

mod accept;
mod bind;
mod conn;
mod drain;
mod limits;
mod opening;
mod serve;
#[cfg(test)]
mod tests;

pub use bind::Server;
pub use conn::Conn;
pub(crate) use drain::Drain;

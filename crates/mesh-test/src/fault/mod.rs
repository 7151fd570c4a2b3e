//! Connections that fail on request.
//!
//! What a network does to a program cannot be asked of a real one in a test. A [`FaultProxy`]
//! stands between two programs on the loopback interface and does it: it forwards bytes, and
//! [`Faults`] say how badly.
//!
//! ```text
//! client ──▶ listener ──▶ connection ─┬─▶ to the server: read, wait, write ──▶ server
//!            Connects                 └── to the client: write, wait, read ◀──
//!                                          Faults, one set per direction
//! ```
//!
//! Both can be changed while it runs, and connections that are open see the change.

mod faults;
mod listening;
mod proxy;
mod pump;
#[cfg(test)]
mod tests;

pub use faults::{Connects, Direction, End, Faults};
pub use proxy::FaultProxy;

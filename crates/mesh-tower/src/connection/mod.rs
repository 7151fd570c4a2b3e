//! The connections to one endpoint.
//!
//! Pools that serve any host look a connection up by name, queue, and spawn per request. An
//! endpoint of a mesh is one address and one protocol, so none of that is needed: HTTP/1.1 keeps a
//! short stack of idle connections, HTTP/2 one connection that all requests share.
//!
//! ```text
//! send ─▶ head for the wire ─▶ idle or shared connection, else dial ─▶ hyper ─▶ Received
//!                                   ▲        │ never written: once more       │
//!                                   │        └───────────────────────         │
//!                                   └───────── back at the end of the body ───┘
//! ```
//!
//! hyper gives a request back that it never began to write. That alone is how a connection the
//! server has closed meanwhile is survived: nothing is copied, and what may have been written is
//! never repeated here; that is for the retry policy to decide, by [`SendErrorKind`].
//!
//! Connections live in tasks on the mesh's runtime, and end when the last that uses them is gone.

mod berth;
mod config;
mod crew;
mod dial;
mod error;
mod eyeballs;
mod gate;
mod head;
mod http1;
mod http2;
mod received;
mod send;
mod sending;
mod socket;
mod span;
mod spoken;
mod streams;
#[cfg(test)]
mod tests;
mod tls;

pub(crate) use config::{Config, MAX_PRECONNECTS, Protocol};
pub(crate) use dial::Bytes;
pub(crate) use error::{SendError, SendErrorKind};
pub(crate) use gate::Gate;
pub(crate) use head::{has_host, without_userinfo};
pub use received::Received;
pub(crate) use send::Connections;
pub(crate) use sending::Sending;
pub(crate) use socket::tune;
pub(crate) use spoken::Spoken;
pub(crate) use tls::{Settings as TlsSettings, SettingsError, Tls};

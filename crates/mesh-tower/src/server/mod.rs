//! Where requests arrive.
//!
//! A [`Server`] accepts connections on one address and hands each request to a tower service: an
//! axum router, a tonic service, any other. HTTP/1.1 and HTTP/2 with prior knowledge share the
//! port. Servers of other libraries get the same from its parts: an [`Acceptor`] takes connections,
//! a [`ServerLayer`] sees to their requests.
//!
//! ```text
//!            Acceptor                                   ServerLayer
//! accept ─▶ Accepted { Conn } ─▶ HTTP: ours or any ─▶ Conn, Peer, Deadline ─▶ application
//!    ▲          ▲
//!    └── Drain ─┘  stop accepting → GOAWAY, keep-alive off → calls finish → cut at deadline
//! ```
//!
//! The server owns its connections: dropping the future of [`Server::serve`] ends them. What a
//! client may do is bounded by [`Limits`].

mod accept;
mod accepted;
mod acceptor;
mod answer;
#[cfg(feature = "axum")]
mod axum;
mod bind;
mod closing;
mod conn;
mod drain;
mod limits;
mod noted;
mod opening;
mod policy;
mod probes;
mod registry;
mod request_body;
mod serve;
mod service;
mod serving;
mod socket;
mod stream;
mod tcp;
#[cfg(test)]
mod tests;
mod tls;
mod unix;

pub use accepted::Accepted;
pub use acceptor::Acceptor;
pub use answer::{AnswerBody, AnswerFuture};
pub use bind::Server;
pub use conn::{Conn, Peer};
pub(crate) use drain::Drain;
pub use limits::Limits;
pub(crate) use limits::end_of;
pub use noted::Noted;
pub use request_body::RequestBody;
pub use service::{MakeService, ServerLayer, ServerService};
pub use serving::ServingMode;

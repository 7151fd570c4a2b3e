//! One request and its answer, from the head that came in to what is sent and given back.
//!
//! An [`Exchange`] takes a request through everything configuration decides of it, in Envoy's
//! order, so that the data path and an offline check cannot differ:
//!
//! ```text
//! request ─▶ canonical form ─▶ route ─▶ filters ─▶ header changes, rewrites ─▶ cluster
//! answer  ◀──────────────────────────── filters ◀─ header changes ◀────────────┘
//! ```
//!
//! An answer that is made here and not by an upstream is a [`Reply`]: it carries what Envoy would
//! note of it, its [`ResponseFlags`] and details, so that logs and metrics agree. What goes wrong
//! behind the route is a [`Failure`], and one function says what Envoy answers to it.

mod change;
mod failure;
mod flags;
mod local_reply;
mod reply;
mod run;
#[cfg(test)]
mod tests;

pub use failure::Failure;
pub use flags::ResponseFlags;
pub use reply::Reply;
pub(crate) use reply::grpc_status;
pub use run::{Exchange, Next};

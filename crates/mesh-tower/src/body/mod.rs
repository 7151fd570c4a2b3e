//! One type for every message body.
//!
//! Callers bring bodies of many types; connections, retries and answers of our own want one. [`Body`]
//! takes the usual ones as they are and boxes the rest, so a request without a body, or with one that
//! lies in memory, costs nothing here.
//!
//! [`Replay`] keeps what a first attempt sent, up to a cap, so that a retry can send it again.
//! `Lookahead` learns one frame early that a body has ended, which lets HTTP/2 put `END_STREAM` on the
//! last DATA frame and save a frame, a write and a wake-up per request.

mod any;
mod error;
mod lookahead;
mod replay;
#[cfg(test)]
mod tests;

pub use any::Body;
pub(crate) use error::http2_error;
pub use error::{BodyError, BodyErrorKind, BoxError};
pub(crate) use lookahead::Lookahead;
pub use replay::{DEFAULT_CAP_BYTES, Replay};

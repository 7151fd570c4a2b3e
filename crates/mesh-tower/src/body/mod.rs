//! One type for every message body.
//!
//! Callers bring bodies of many types; connections, retries and answers of our own want one.
//! [`Body`] takes the usual ones as they are and boxes the rest, so a request without a body, or
//! with one that lies in memory, costs nothing here.
//!
//! [`Replay`] keeps what a first attempt sent, up to a cap, so that a retry can send it again. What
//! is boxed is also read one frame ahead, so that the last frame is known to be the last when it is
//! sent: HTTP/2 then puts `END_STREAM` on it and saves a frame of its own for that.

mod any;
mod error;
mod lookahead;
mod replay;
mod tee;
#[cfg(test)]
mod tests;

pub use any::Body;
pub(crate) use error::http2_error;
pub use error::{BodyError, BodyErrorKind, BoxError};
pub use replay::{DEFAULT_CAP_BYTES, Replay};

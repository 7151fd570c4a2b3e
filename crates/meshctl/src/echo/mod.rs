//! A server that tells what it saw.
//!
//! A mesh decides where a request goes and what happens to it on the way; this server makes both
//! visible. It answers every HTTP request with a description of that request, and it can be told
//! to fail, to wait or to hang up, by the request itself or by its own settings, so that retries,
//! timeouts and outlier detection have something to work on.
//!
//! [`Echo`] is the service, for HTTP and gRPC alike; it does no I/O of its own. [`serve`] puts it
//! behind a listener.
//!
//! | request header or metadata | effect |
//! |---|---|
//! | `x-echo-status: CODE[:PERCENT]` | answers with this status, to that share of requests |
//! | `x-echo-delay-ms: N` | waits before answering, 10 minutes at most |
//! | `x-echo-close: 1` | drops the connection without an answer |
//! | `x-echo-grpc-status: N` | ends the call with this gRPC status |
//! | `x-echo-body-bytes: N` | makes the body exactly N bytes long (gRPC: adds N bytes of padding) |
//! | `x-echo-response-header: K=V` | adds a header to the answer; may be repeated |
//!
//! A steering header that cannot be read is answered with 400 or `INVALID_ARGUMENT`: a test with a
//! misspelt instruction should not pass for one without any.

mod arrival;
mod grpc;
mod plain;
mod serve;
mod service;
mod settings;
mod steering;
#[cfg(test)]
mod tests;

pub use arrival::Arrival;
pub use serve::{Connection, serve};
pub use service::{Closed, Echo};
pub use settings::Settings;
pub use steering::{Chance, Invalid};

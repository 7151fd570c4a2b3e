//! Resilience: deadlines, retries and how long to wait between them.
//!
//! Nothing here waits or draws: `now` and `random` are arguments, and what comes back is a time
//! or a decision for the caller to act on.

mod backoff;
pub mod grpc_timeout;
mod retry;
mod timeout;

pub use backoff::backoff;
pub use retry::{Outcome, RetryDecision, decide, is_retriable};
pub(crate) use timeout::route_timeout;
pub use timeout::{attempt_deadline, total_deadline};

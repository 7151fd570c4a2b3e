//! Resilience: deadlines, retries and how long to wait between them.
//!
//! Nothing here waits or draws: `now` and `random` are arguments, and what comes back is a time
//! or a decision for the caller to act on.

mod backoff;
pub mod grpc_timeout;
mod options;
mod priorities;
mod pushback;
mod retry;
mod timeout;

pub use backoff::backoff;
use backoff::reset_interval;
pub use options::RequestOptions;
pub use priorities::PreviousPriorities;
pub use retry::{
    Ended, Outcome, RETRIES_SPENT, RetryDecision, RetryState, is_settled, takes_request,
};
pub(crate) use timeout::route_timeout;
pub use timeout::{Timeouts, attempt_deadline, total_deadline};

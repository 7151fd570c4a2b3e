use std::net::SocketAddr;

use http::HeaderValue;
use mesh_core::cluster::RetryPermit;
use mesh_core::exchange::Exchange;
use mesh_core::resilience::RetryState;

use super::record::Record;

/// What few requests have: a record, a hash, attempts that failed.
#[derive(Default)]
pub(super) struct History {
    pub(super) record: Option<Record>,
    pub(super) retries: RetryState,
    pub(super) retry_permit: Option<RetryPermit>,
    /// Endpoints to stay away from.
    pub(super) tried: Vec<SocketAddr>,
    /// The request's hash, for policies that choose by it.
    pub(super) hash: Option<u64>,
    /// What is left to do with the answer.
    pub(super) exchange: Option<Box<Exchange>>,
    /// Cookies that the caller is to send from now on.
    pub(super) cookies: Vec<HeaderValue>,
}

impl History {
    #[cold]
    pub(super) fn recorded(record: Record) -> Box<Self> {
        Box::new(Self { record: Some(record), ..Self::default() })
    }
}

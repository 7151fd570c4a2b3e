use std::net::SocketAddr;

use http::HeaderValue;
use mesh_core::cluster::{CountedRequest, RetryPermit};
use mesh_core::exchange::{Exchange, ResponseFlags};
use mesh_core::resilience::{PreviousPriorities, RetryState};

use super::asked::Asked;
use super::idle::Idle;
use super::record::Record;
use super::redirect::Redirecting;
use crate::faults::Faults;

/// What few requests have: a record, a hash, wishes, attempts that failed.
#[derive(Default)]
pub(super) struct History {
    pub(super) record: Option<Record>,
    pub(super) retries: RetryState,
    pub(super) retry_permit: Option<RetryPermit>,
    /// Endpoints to stay away from.
    pub(super) tried: Vec<SocketAddr>,
    /// Endpoints that the request names, and that were not tried.
    pub(super) named: Vec<SocketAddr>,
    /// Priorities to stay away from.
    pub(super) priorities: PreviousPriorities,
    /// What the request asks of its route.
    pub(super) asked: Option<Box<Asked>>,
    /// What it needs to follow redirects.
    pub(super) redirecting: Option<Box<Redirecting>>,
    /// What is to be told of its end, beside why it failed.
    pub(super) flags: ResponseFlags,
    /// The request's hash, for policies that choose by it.
    pub(super) hash: Option<u64>,
    /// What is left to do with the answer.
    pub(super) exchange: Option<Box<Exchange>>,
    /// Faults that count until the answer has ended.
    pub(super) faults: Faults,
    /// The count of the attempt under way, where load is reported.
    pub(super) counted: Option<CountedRequest>,
    /// Whether attempts that take their time go on beside others.
    pub(super) hedges: bool,
    /// How long it may be silent.
    pub(super) idle: Option<Idle>,
    /// Cookies that the caller is to send from now on.
    pub(super) cookies: Vec<HeaderValue>,
}

impl History {
    /// Whether the answer is not to be handed on as it is.
    pub(super) fn changes_response(&self) -> bool {
        self.exchange.is_some() || !self.faults.is_empty() || self.idle.is_some()
    }

    #[cold]
    pub(super) fn recorded(record: Record) -> Box<Self> {
        Box::new(Self { record: Some(record), ..Self::default() })
    }
}

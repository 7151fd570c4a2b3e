//! Fault injection.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use http::StatusCode;

use super::{FractionalPercent, HeaderMatcher, Name};

/// `envoy.extensions.filters.http.fault.v3.HTTPFault` (gRFC A33).
///
/// An empty one, on a route, switches the filter off there.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HttpFault {
    /// Makes requests wait.
    pub delay: Option<FaultDelay>,
    /// Answers requests instead of their upstream.
    pub abort: Option<FaultAbort>,
    /// The cluster whose requests are meant; `None` for all. Not looked at in gRPC.
    pub upstream_cluster: Option<Name>,
    /// Conditions on headers, all of which must hold.
    pub headers: Vec<HeaderMatcher>,
    /// Values of `x-envoy-downstream-service-node` that are meant; empty for all. Not looked at in
    /// gRPC.
    pub downstream_nodes: Vec<Name>,
    /// How many faults may be active at once; `None` for no limit.
    pub max_active_faults: Option<u32>,
    /// The faults that are counted for that limit.
    pub active: ActiveFaults,
}

impl HttpFault {
    /// No fault at all. Faults are counted for the whole process.
    pub fn new() -> Self {
        Self {
            delay: None,
            abort: None,
            upstream_cluster: None,
            headers: Vec::new(),
            downstream_nodes: Vec::new(),
            max_active_faults: None,
            active: ActiveFaults::of_process(),
        }
    }

    /// Whether it never does anything.
    pub fn is_idle(&self) -> bool {
        self.delay.is_none() && self.abort.is_none()
    }
}

impl Default for HttpFault {
    fn default() -> Self {
        Self::new()
    }
}

/// `envoy.extensions.filters.common.fault.v3.FaultDelay`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultDelay {
    /// How long.
    pub kind: DelayKind,
    /// The share of requests.
    pub percentage: FractionalPercent,
}

/// How long a delay lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DelayKind {
    /// This long, more than zero.
    Fixed(Duration),
    /// As `x-envoy-fault-delay-request` says, in milliseconds. A share in
    /// `x-envoy-fault-delay-request-percentage` can only lower the configured one.
    Header,
}

/// `envoy.extensions.filters.http.fault.v3.FaultAbort`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultAbort {
    /// With what.
    pub kind: AbortKind,
    /// The share of requests.
    pub percentage: FractionalPercent,
}

/// What a request is aborted with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbortKind {
    /// This HTTP status, 200 to 599.
    HttpStatus(StatusCode),
    /// This gRPC status.
    GrpcStatus(u16),
    /// The status in `x-envoy-fault-abort-request`, else in `x-envoy-fault-abort-grpc-request`. A
    /// share in `x-envoy-fault-abort-request-percentage` can only lower the configured one.
    Header,
}

/// A counter of the faults that are active.
#[derive(Clone, Debug, Default)]
pub struct ActiveFaults(Arc<AtomicU32>);

/// A fault that is active until this is dropped.
#[derive(Debug)]
pub struct ActiveFault(Arc<AtomicU32>);

impl ActiveFaults {
    /// The counter of the process (gRFC A33): `max_active_faults` protects its memory, to which
    /// all listeners add.
    pub fn of_process() -> Self {
        static ALL: LazyLock<ActiveFaults> = LazyLock::new(ActiveFaults::default);
        ALL.clone()
    }

    /// How many are active.
    pub fn count(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// Whether there is room for one more.
    pub fn has_room(&self, max: Option<u32>) -> bool {
        max.is_none_or(|max| self.count() < max)
    }

    /// One more active fault, unless there are as many as may be.
    pub fn begin(&self, max: Option<u32>) -> Option<ActiveFault> {
        let more = |count: u32| max.is_none_or(|max| count < max).then(|| count.wrapping_add(1));
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(ActiveFault(self.0.clone()))
    }
}

impl Drop for ActiveFault {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

use std::fmt;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use super::load_report::Reported;
use super::loads::{Load, Loads};
use super::outlier::Record;
use crate::dialect::Dialect;
use crate::resource::{Address, ClientWeights, Endpoint};
use crate::snapshot::Attach;

/// An endpoint at work: its load, its record, and what the outside hung on it.
///
/// Kept for as long as its address stays in the cluster, across changes of weight, health or
/// locality; connections (inside `A::Endpoint`) live and drain with it.
//
// Laid out in this order. Of thousands of endpoints none is in a cache, and each line that a
// request touches is waited for: load and the front of a record follow the counts of the `Arc`, 64
// bytes in all, and what is attached comes soon after.
#[repr(C)]
pub struct EndpointState<A: Attach> {
    load: Load,
    /// Whether it ever got a request.
    used: AtomicBool,
    /// Whether health checks say that it is not to be used.
    failing: AtomicBool,
    failed: AtomicU32,
    http: Record,
    attached: A::Endpoint,
    address: Address,
    /// What few clusters need, made when it is first written to.
    rare: OnceLock<Box<Rare>>,
}

/// What gRPC's outlier detection, slow starts and weights by load reports know of an endpoint.
struct Rare {
    grpc: Record,
    /// When it was first drawn by a policy with a slow start.
    since: OnceLock<Instant>,
    /// What it told of its load. A lock of its own, for the few clusters that weigh by it.
    reported: Mutex<Option<Reported>>,
    /// The weight that was made of it last.
    given_weight: AtomicU32,
}

impl Default for Rare {
    fn default() -> Self {
        Self {
            grpc: Record::default(),
            since: OnceLock::new(),
            reported: Mutex::default(),
            given_weight: AtomicU32::new(UNKNOWN_WEIGHT),
        }
    }
}

/// Of an endpoint that told nothing yet.
const UNKNOWN_WEIGHT: u32 = 1;

impl<A: Attach> EndpointState<A> {
    /// One of a cluster whose loads are kept among those, if it is large.
    pub(super) fn new(spec: &Endpoint, attached: A::Endpoint, loads: Option<&Arc<Loads>>) -> Self {
        Self {
            load: Load::among(loads),
            failing: AtomicBool::new(false),
            used: AtomicBool::new(false),
            http: Record::default(),
            failed: AtomicU32::new(0),
            address: Address::new(spec.address()),
            rare: OnceLock::new(),
            attached,
        }
    }

    /// The address.
    pub fn address(&self) -> SocketAddr {
        self.address.get()
    }

    /// What [`Attach::endpoint`] made for it.
    pub fn attached(&self) -> &A::Endpoint {
        &self.attached
    }

    /// Requests under way.
    pub fn load(&self) -> u32 {
        self.load.get()
    }

    pub(super) fn counted(&self) -> &Load {
        &self.load
    }

    /// Whether it ever got a request.
    pub fn is_used(&self) -> bool {
        self.used.load(Ordering::Relaxed)
    }

    /// Attempts that failed so far: no answer, or a 5xx one.
    pub fn failed(&self) -> u32 {
        self.failed.load(Ordering::Relaxed)
    }

    /// What outlier detection knows of it in that dialect.
    #[inline]
    pub fn record(&self, dialect: Dialect) -> &Record {
        match dialect {
            Dialect::Http => &self.http,
            Dialect::Grpc => &self.rare().grpc,
        }
    }

    /// The same, if something may have been noted in it.
    pub(super) fn known_record(&self, dialect: Dialect) -> Option<&Record> {
        match dialect {
            Dialect::Http => Some(&self.http),
            Dialect::Grpc => self.rare.get().map(|rare| &rare.grpc),
        }
    }

    #[inline]
    fn rare(&self) -> &Rare {
        self.rare.get_or_init(Box::default)
    }

    /// Whether its health checks fail. Counts in clusters that have some.
    pub fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// Notes whether its health checks fail; the cluster's tables are then to be
    /// [rebuilt](super::ClusterState::rebuild).
    pub fn set_failing(&self, failing: bool) {
        self.failing.store(failing, Ordering::Relaxed);
    }

    /// Has what hangs on it brought into the cache beside what was looked at to pick it. Changing a
    /// count waits for all that was begun before, so that lines looked for after it would be waited
    /// for one by one.
    #[inline(always)]
    pub(super) fn warm(&self) {
        // The number lies next to what is attached.
        std::hint::black_box((self.failed.load(Ordering::Relaxed), self.http.number()));
    }

    /// When its slow start began: with the first request that could go to it.
    pub(super) fn since(&self, now: Instant) -> Instant {
        *self.rare().since.get_or_init(|| now)
    }

    /// Notes what it told of its load.
    pub(super) fn report(&self, weight: f64, now: Instant) {
        let mut known = self.rare().reported.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some(Reported::with(*known, weight, now));
    }

    /// The weight that follows from what it told; forgets what is too old.
    pub(super) fn weight(&self, spec: &ClientWeights, now: Instant) -> Option<f64> {
        let mut known = self.rare.get()?.reported.lock().unwrap_or_else(PoisonError::into_inner);
        *known = known.filter(|known| !known.is_expired(spec, now));
        known.as_ref()?.settled(spec, now)
    }

    /// The weight that load reports gave it, 1 before they did.
    pub(super) fn given_weight(&self) -> u32 {
        let rare = self.rare.get();
        rare.map_or(UNKNOWN_WEIGHT, |rare| rare.given_weight.load(Ordering::Relaxed))
    }

    pub(super) fn give_weight(&self, weight: u32) {
        self.rare().given_weight.store(weight, Ordering::Relaxed);
    }

    /// Notes that an attempt failed.
    pub fn count_failure(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }
}

impl<A: Attach> fmt::Debug for EndpointState<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointState")
            .field("address", &self.address())
            .field("load", &self.load())
            .finish_non_exhaustive()
    }
}

/// An endpoint that was picked. It counts as load until this is dropped.
pub struct Picked<A: Attach>(Arc<EndpointState<A>>);

impl<A: Attach> Picked<A> {
    #[inline(always)]
    pub(crate) fn new(endpoint: Arc<EndpointState<A>>) -> Self {
        endpoint.load.begin();
        // On a line that is written anyway.
        endpoint.used.store(true, Ordering::Relaxed);
        Self(endpoint)
    }
}

impl<A: Attach> Deref for Picked<A> {
    type Target = EndpointState<A>;

    fn deref(&self) -> &EndpointState<A> {
        &self.0
    }
}

impl<A: Attach> Drop for Picked<A> {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.load.end();
    }
}

impl<A: Attach> fmt::Debug for Picked<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Picked").field(&self.0.address()).finish()
    }
}

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;

use super::admission::{Counters, admit, admit_retry};
use super::{EndpointState, NoEndpoints, Overloaded, Permit, Picked, RetryPermit, Tables};
use crate::resource::{Cluster, ClusterLoadAssignment, Entry, LbPolicy};
use crate::snapshot::Attach;

/// A cluster at work. See the [module](super).
pub struct ClusterState<A: Attach> {
    spec: Arc<Cluster>,
    attached: A::Cluster,
    counters: Arc<Counters>,
    tables: ArcSwap<Tables<A>>,
    /// Apart from what every request reads: round robin writes it on each pick.
    cursor: Cursor,
}

#[repr(align(128))]
#[derive(Debug, Default)]
struct Cursor(AtomicUsize);

/// Endpoints a retry should stay away from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Avoid<'a> {
    /// The endpoints already tried.
    pub tried: &'a [SocketAddr],
    /// How often another one is drawn before a tried one is taken after all
    /// (`host_selection_retry_max_attempts`); counted up to 64.
    pub max_attempts: u32,
}

impl<A: Attach> ClusterState<A> {
    /// The state of `spec`. Of a `previous` state of the same name it takes over the counters,
    /// and the endpoints where connections to them stay as they are.
    pub(crate) fn build(
        spec: Arc<Cluster>,
        assignment: Entry<ClusterLoadAssignment>,
        previous: Option<&Self>,
        attach: &A,
    ) -> Self {
        let kept = previous.filter(|previous| previous.connects_as(&spec));
        let kept = kept.map(|previous| previous.tables.load_full());
        let tables = Tables::build(&spec, assignment, kept.as_deref(), attach);
        Self {
            attached: attach.cluster(&spec),
            counters: previous.map(|previous| previous.counters.clone()).unwrap_or_default(),
            tables: ArcSwap::from_pointee(tables),
            cursor: Cursor::default(),
            spec,
        }
    }

    /// Whether connections made for this state serve `spec` as well.
    fn connects_as(&self, spec: &Cluster) -> bool {
        self.spec.protocol == spec.protocol && self.spec.connect_timeout == spec.connect_timeout
    }

    /// The cluster's name.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Its specification.
    pub fn spec(&self) -> &Arc<Cluster> {
        &self.spec
    }

    /// What [`Attach::cluster`] made for it.
    pub fn attached(&self) -> &A::Cluster {
        &self.attached
    }

    /// The endpoints as they are now.
    pub fn tables(&self) -> Arc<Tables<A>> {
        self.tables.load_full()
    }

    /// Requests under way.
    pub fn requests(&self) -> u64 {
        self.counters.requests()
    }

    /// Retries under way.
    pub fn retries(&self) -> u64 {
        self.counters.retries()
    }

    /// Admits a request.
    ///
    /// # Errors
    /// When `max_requests` are under way.
    pub fn admit(&self) -> Result<Permit, Overloaded> {
        admit(&self.counters, &self.spec.circuit_breakers)
    }

    /// Admits a retry.
    ///
    /// # Errors
    /// When the retry budget, or `max_retries` without one, is used up.
    pub fn admit_retry(&self) -> Result<RetryPermit, Overloaded> {
        admit_retry(&self.counters, &self.spec.circuit_breakers)
    }

    /// Picks an endpoint.
    ///
    /// # Errors
    /// When none may be picked.
    #[inline(always)]
    pub fn pick(&self, avoid: Avoid<'_>, random: u64) -> Result<Picked<A>, NoEndpoints> {
        let tables = self.tables.load();
        if tables.usable.is_empty() {
            return Err(tables.no_endpoints());
        }
        let mut draws = Draws(random);
        let mut endpoint = self.draw(&tables.usable, &mut draws);
        if !avoid.tried.is_empty() {
            endpoint = self.redraw(endpoint, &tables.usable, avoid, &mut draws);
        }
        Ok(Picked::new(endpoint.clone()))
    }

    /// Draws again for as long as it is told to and finds endpoints that were tried.
    ///
    /// A dead endpoint has no load, so among those drawn at once an untried one goes first,
    /// whatever its load.
    #[cold]
    fn redraw<'t>(
        &self,
        mut endpoint: &'t Arc<EndpointState<A>>,
        usable: &'t [Arc<EndpointState<A>>],
        avoid: Avoid<'_>,
        draws: &mut Draws,
    ) -> &'t Arc<EndpointState<A>> {
        let tried = |endpoint: &EndpointState<A>| avoid.tried.contains(&endpoint.address());
        for _ in 0..avoid.max_attempts.min(MAX_REDRAWS) {
            if !tried(endpoint) {
                break;
            }
            endpoint = match self.spec.lb_policy {
                LbPolicy::LeastRequest { choice_count } => {
                    let weight = |one: &EndpointState<A>| (tried(one), one.load());
                    least(usable, choice_count, draws, weight)
                }
                LbPolicy::RoundRobin => self.draw(usable, draws),
            };
        }
        endpoint
    }

    #[inline]
    fn draw<'t>(
        &self,
        usable: &'t [Arc<EndpointState<A>>],
        draws: &mut Draws,
    ) -> &'t Arc<EndpointState<A>> {
        match self.spec.lb_policy {
            LbPolicy::RoundRobin => {
                let turn = self.cursor.0.fetch_add(1, Ordering::Relaxed);
                &usable[turn % usable.len()]
            }
            LbPolicy::LeastRequest { choice_count } => {
                least(usable, choice_count, draws, EndpointState::load)
            }
        }
    }

    /// Swaps in the tables of a new assignment; `None` when it is the one in use.
    pub(crate) fn update(
        &self,
        assignment: Entry<ClusterLoadAssignment>,
        attach: &A,
    ) -> Option<Arc<Tables<A>>> {
        let current = self.tables.load_full();
        if current.assignment().is_same(&assignment) {
            return None;
        }
        let next = Tables::build(&self.spec, assignment, Some(&current), attach);
        Some(self.tables.swap(Arc::new(next)))
    }
}

/// The lightest of `choices` endpoints drawn with replacement; the first of equals.
#[inline]
fn least<'t, A: Attach, W: Ord>(
    usable: &'t [Arc<EndpointState<A>>],
    choices: u32,
    draws: &mut Draws,
    weight: impl Fn(&EndpointState<A>) -> W,
) -> &'t Arc<EndpointState<A>> {
    let mut best = &usable[draws.below(usable.len())];
    for _ in 1..choices.min(MAX_CHOICES) {
        let other = &usable[draws.below(usable.len())];
        if weight(other) < weight(best) {
            best = other;
        }
    }
    best
}

/// How often at most another endpoint is drawn instead of a tried one, whatever configuration asks
/// for: when half of the endpoints were tried, this many draws all miss once in 2⁶⁴ requests.
const MAX_REDRAWS: u32 = 64;

/// How many endpoints `choice_count` compares at most, so that no value makes a pick slow. Two get
/// nearly all of the benefit; gRPC stops at 10 (gRFC A48), Envoy states no limit.
const MAX_CHOICES: u32 = 64;

/// Many small random numbers out of one, by Knuth's MMIX generator, whose high bits are good.
struct Draws(u64);

impl Draws {
    /// A number below `length`: the high half, scaled, which needs no division and has a bias
    /// below length / 2³².
    fn below(&mut self, length: usize) -> usize {
        const MULTIPLIER: u64 = 6_364_136_223_846_793_005;
        const INCREMENT: u64 = 1_442_695_040_888_963_407;
        let number = ((self.0 >> 32) * length as u64) >> 32;
        self.0 = self.0.wrapping_mul(MULTIPLIER).wrapping_add(INCREMENT);
        number as usize
    }
}

impl<A: Attach> fmt::Debug for ClusterState<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterState")
            .field("name", &self.spec.name)
            .field("tables", &*self.tables.load())
            .finish_non_exhaustive()
    }
}

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use arc_swap::ArcSwap;

use super::admission::Admission;
use super::home::Home;
use super::load_stats::Reporting;
use super::membership::Membership;
use super::resilient::{DIALECTS, Detectors};
use super::tables::{of_both, of_one};
use super::{Tables, aggregate};
use crate::dialect::Dialect;
use crate::draws::Draws;
use crate::resource::{Cluster, ClusterLoadAssignment, Discovery, Entry, LocalityBalancing, Name};
use crate::snapshot::Attach;

/// A cluster at work. See the [module](super).
//
// Laid out in this order: what few requests look at comes first, so that the counts of its `Arc`, which
// requests change, are in another line than what all of them read.
#[repr(C)]
pub struct ClusterState<A: Attach> {
    /// When weights are to follow load reports again.
    pub(super) weights_due: Mutex<Option<Instant>>,
    /// Where its requests are counted, if its load is reported.
    pub(super) reporting: Option<Box<Reporting>>,
    /// For `pick_first`; 0 until it is drawn.
    seed: AtomicU64,
    /// Whether an aggregate has it among its clusters.
    in_aggregate: AtomicBool,
    pub(super) spec: Arc<Cluster>,
    attached: A::Cluster,
    pub(super) admission: Admission,
    pub(super) detectors: Detectors,
    /// In HTTP and in gRPC.
    tables: [ArcSwap<Tables<A>>; 2],
    is_aggregate: bool,
    has_slow_start: bool,
    has_subsets: bool,
    reads_answers: bool,
    /// No aggregate, no slow start, no subsets, no load reports.
    plain: bool,
    /// Whether there are `drop_overloads`.
    drops: AtomicBool,
}

impl<A: Attach> ClusterState<A> {
    /// The state of `spec`. Of a `previous` state of the same name it takes over the counters,
    /// and the endpoints where connections to them stay as they are.
    pub(crate) fn build(
        spec: Arc<Cluster>,
        (assignment, home): (Entry<ClusterLoadAssignment>, Option<Arc<Home>>),
        previous: Option<&Self>,
        attach: &A,
    ) -> Self {
        let home = home.filter(|_| is_zone_aware(&spec));
        let kept = previous.filter(|previous| previous.connects_as(&spec));
        let kept = kept.map(|previous| previous.tables().membership.clone());
        let membership = Membership::new(&spec, (assignment, home), kept.as_deref(), attach);
        let earlier = previous.map(|previous| &previous.detectors);
        let detectors = Detectors::new(&spec, earlier);
        detectors.adopt(&membership);
        let drops = AtomicBool::new(membership.drops());
        let reporting = Reporting::new(&spec, attach);
        if let Some(reporting) = &reporting {
            reporting.follow(membership.assignment.value.as_ref());
        }
        let in_aggregate = previous.is_some_and(Self::is_in_aggregate);
        let outs = detectors.outs(&membership);
        let tables = of_both(&spec, &Arc::new(membership), &outs, in_aggregate).map(ArcSwap::new);
        let earlier = previous.map(|previous| &previous.admission);
        let is_aggregate = matches!(spec.discovery, Discovery::Aggregate { .. });
        let has_slow_start = spec.balancing.slow_start.is_some();
        let has_subsets = spec.balancing.subsets.is_some();
        let has_named_hosts = !spec.balancing.override_host_headers.is_empty();
        Self {
            attached: attach.cluster(&spec, previous.map(Self::attached)),
            admission: Admission::new(&spec.circuit_breakers, earlier),
            detectors,
            tables,
            is_aggregate,
            has_slow_start,
            has_subsets,
            plain: !is_aggregate
                && !has_slow_start
                && !has_subsets
                && !has_named_hosts
                && reporting.is_none(),
            reads_answers: spec.balancing.client_weights.is_some() || reporting.is_some(),
            reporting,
            weights_due: Mutex::default(),
            drops,
            in_aggregate: AtomicBool::new(in_aggregate),
            seed: AtomicU64::new(0),
            spec,
        }
    }

    /// Whether connections made for this state serve `spec` as well.
    fn connects_as(&self, spec: &Cluster) -> bool {
        self.spec.protocol == spec.protocol
            && self.spec.connect_timeout == spec.connect_timeout
            && self.spec.connections == spec.connections
            && self.spec.transport_socket == spec.transport_socket
            && self.spec.transport_socket_matches == spec.transport_socket_matches
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

    /// The endpoints as they are now, for HTTP.
    pub fn tables(&self) -> Arc<Tables<A>> {
        self.tables_of(Dialect::Http)
    }

    /// Requests under way.
    pub fn requests(&self) -> u64 {
        self.admission.requests()
    }

    /// Connections to its endpoints that are open or being made, as far as they count against
    /// [`admit_connection`](Self::admit_connection).
    pub fn connections(&self) -> u64 {
        self.admission.connections()
    }

    /// Retries under way.
    pub fn retries(&self) -> u64 {
        self.admission.retries()
    }

    /// The endpoints as they are now, for one dialect.
    pub fn tables_of(&self, dialect: Dialect) -> Arc<Tables<A>> {
        self.live(dialect).load_full()
    }

    #[inline]
    pub(super) fn live(&self, dialect: Dialect) -> &ArcSwap<Tables<A>> {
        match dialect {
            Dialect::Http => &self.tables[0],
            Dialect::Grpc => &self.tables[1],
        }
    }

    /// Whether [`Choice::now`](super::Choice::now) is needed: some endpoints may be new.
    #[inline]
    pub fn has_slow_start(&self) -> bool {
        self.has_slow_start
    }

    /// Whether [`Choice::metadata_match`](super::Choice::metadata_match) is needed: endpoints are
    /// parted by their metadata.
    #[inline]
    pub fn has_subsets(&self) -> bool {
        self.has_subsets
    }

    /// Whether answers are to be looked at for what they tell of load: for weights that follow from
    /// it ([`report_load`](Self::report_load)), or to report how requests end
    /// ([`reports_load`](Self::reports_load)).
    #[inline]
    pub fn reads_answers(&self) -> bool {
        self.reads_answers
    }

    /// Whether nothing is to be done with a request but to admit it and to pick an endpoint: the
    /// cluster is no aggregate, drops nothing, reports no load, and has neither a slow start nor
    /// subsets nor endpoints that requests name.
    #[inline]
    pub fn is_plain(&self) -> bool {
        self.plain && !self.drops.load(Ordering::Relaxed)
    }

    /// The category by which a request is dropped (`drop_overloads`), before all else.
    ///
    /// Each category has a random number of its own.
    #[inline]
    pub fn drop_overload(&self, random: u64) -> Option<Name> {
        if self.drops.load(Ordering::Relaxed) { self.drawn_drop(random) } else { None }
    }

    #[cold]
    fn drawn_drop(&self, random: u64) -> Option<Name> {
        let tables = self.tables[0].load();
        let assignment = tables.assignment().value.as_ref()?;
        let mut draws = Draws::new(random);
        // The first number of a random one is the number itself, which others draw from as well.
        draws.number();
        let mut overloads = assignment.drop_overloads.iter();
        let drops = |per_million: u32| (draws.below(1_000_000) as u32) < per_million;
        let mut drops = drops;
        let found = overloads.find(|overload| drops(overload.per_million));
        found.map(|overload| overload.category.clone())
    }

    /// The next turn of round robin.
    #[inline]
    pub(super) fn turn(&self) -> usize {
        self.admission.turn()
    }

    /// The turn that is next, which nobody has taken.
    pub(super) fn next_turn(&self) -> usize {
        self.admission.next_turn()
    }

    /// Where this client begins, drawn once.
    pub(super) fn seed(&self, draws: &mut Draws) -> u64 {
        let seed = self.seed.load(Ordering::Relaxed);
        if seed != 0 {
            return seed;
        }
        let drawn = draws.number() >> 32 | 1 << 40;
        let set = self.seed.compare_exchange(0, drawn, Ordering::Relaxed, Ordering::Relaxed);
        set.err().unwrap_or(drawn)
    }

    /// Swaps in the tables of a new assignment; nothing when it is the one in use. Returns the
    /// tables that were replaced.
    pub(crate) fn update(
        &self,
        (assignment, home): (Entry<ClusterLoadAssignment>, Option<Arc<Home>>),
        attach: &A,
    ) -> Vec<Arc<Tables<A>>> {
        let current = self.tables();
        let home = home.filter(|_| self.is_zone_aware());
        if current.membership.given().is_same(&assignment) && current.membership.home == home {
            return Vec::new();
        }
        let known = Some(&*current.membership);
        let next = Membership::new(&self.spec, (assignment, home), known, attach);
        let next = Arc::new(next);
        if let Some(reporting) = &self.reporting {
            reporting.follow(next.assignment.value.as_ref());
        }
        self.drops.store(next.drops(), Ordering::Relaxed);
        self.detectors.adopt(&next);
        let outs = self.detectors.outs(&next);
        self.swap(of_both(&self.spec, &next, &outs, self.is_in_aggregate()))
    }

    /// Builds the tables anew after the health of endpoints changed, and returns those that were
    /// replaced: to be kept until no request reads them. To be called by the one task that also
    /// brings new endpoints.
    pub fn rebuild(&self) -> Vec<Arc<Tables<A>>> {
        let tables = DIALECTS.map(|dialect| self.tables_of(dialect));
        if let Some(next) = self.reweighted(&tables[0].membership) {
            let outs = self.detectors.outs(&next);
            return self.swap(of_both(&self.spec, &next, &outs, self.is_in_aggregate()));
        }
        let membership = &tables[0].membership;
        let outs = self.detectors.outs(membership);
        let mut replaced = Vec::new();
        for (at, dialect) in DIALECTS.into_iter().enumerate() {
            if *tables[at].out != *outs[at] {
                let in_aggregate = self.is_in_aggregate();
                let (made, _) = of_one(&self.spec, membership, dialect, &outs, in_aggregate);
                replaced.push(self.tables[at].swap(made));
            }
        }
        self.tell_aggregates();
        replaced
    }

    /// Has aggregates look at their clusters again.
    fn tell_aggregates(&self) {
        if self.is_in_aggregate() {
            aggregate::changed();
        }
    }

    /// Whether this is a cluster of clusters, which has no endpoints of its own: one of
    /// [`Snapshot::leaf`](crate::Snapshot::leaf) takes its requests.
    #[inline]
    pub fn is_aggregate(&self) -> bool {
        self.is_aggregate
    }

    /// Whether it matters where the caller is.
    pub(crate) fn is_zone_aware(&self) -> bool {
        is_zone_aware(&self.spec)
    }

    /// The numbers of its tables.
    pub(super) fn numbers(&self) -> [u64; 2] {
        DIALECTS.map(|dialect| self.live(dialect).load().number)
    }

    /// Whether some endpoint may be picked in that dialect.
    pub(super) fn has_usable(&self, dialect: Dialect) -> bool {
        self.live(dialect).load().usable.len() > 0
    }

    fn is_in_aggregate(&self) -> bool {
        self.in_aggregate.load(Ordering::Relaxed)
    }

    /// Whether aggregates choose parts of this cluster from now on; returns the tables that were
    /// replaced because of it.
    pub(crate) fn set_in_aggregate(&self, in_aggregate: bool) -> Vec<Arc<Tables<A>>> {
        let before = self.in_aggregate.swap(in_aggregate, Ordering::Relaxed);
        if before == in_aggregate {
            return Vec::new();
        }
        let membership = self.tables().membership.clone();
        let outs = self.detectors.outs(&membership);
        self.swap(of_both(&self.spec, &membership, &outs, in_aggregate))
    }

    fn swap(&self, [http, grpc]: [Arc<Tables<A>>; 2]) -> Vec<Arc<Tables<A>>> {
        let mut replaced = vec![self.tables[0].swap(http), self.tables[1].swap(grpc)];
        replaced.dedup_by(|a, b| Arc::ptr_eq(a, b));
        self.tell_aggregates();
        replaced
    }
}

fn is_zone_aware(spec: &Cluster) -> bool {
    matches!(spec.balancing.locality, LocalityBalancing::ZoneAware(_))
}

impl<A: Attach> fmt::Debug for ClusterState<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterState")
            .field("name", &self.spec.name)
            .field("tables", &*self.tables[0].load())
            .finish_non_exhaustive()
    }
}

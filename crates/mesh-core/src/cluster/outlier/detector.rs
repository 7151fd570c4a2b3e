use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::record::{Dues, Observed, Record};
use crate::dialect::Dialect;
use crate::draws::Draws;
use crate::resource::OutlierDetection;

/// Outlier detection of one cluster in one dialect; does nothing without a specification.
#[derive(Debug)]
pub struct Detector {
    dialect: Dialect,
    pub(super) spec: Option<Arc<OutlierDetection>>,
    /// `None` until there is a specification for the first time.
    shared: Option<Arc<Shared>>,
}

/// What stays when the specification changes.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// What moments are counted from: the first one that was told.
    epoch: OnceLock<Instant>,
    /// Endpoints of the cluster.
    pub(super) hosts: AtomicU32,
    /// How many of them are out.
    pub(super) ejected: AtomicU32,
    /// The numbers of those that are out, and of some that were: where there are thousands of
    /// endpoints, looking at each takes longer than all else an ejection leads to.
    out: Mutex<Vec<u32>>,
    /// When the last sweep was, so that a new interval keeps its phase (gRFC A50).
    pub(super) swept_at: AtomicU64,
}

impl Shared {
    fn out(&self) -> MutexGuard<'_, Vec<u32>> {
        // A list of numbers is as good after a panic as before.
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Detector {
    /// The detector of a cluster; takes over from the `previous` one of the same cluster.
    ///
    /// In gRPC a specification that enforces neither success rate nor failure percentage is none
    /// (gRFC A50).
    pub fn new(
        dialect: Dialect,
        spec: Option<&Arc<OutlierDetection>>,
        previous: Option<&Self>,
    ) -> Self {
        let works = |spec: &&Arc<OutlierDetection>| {
            dialect == Dialect::Http
                || spec.enforcing_success_rate > 0
                || spec.enforcing_failure_percentage > 0
        };
        let spec = spec.filter(works).cloned();
        // One that begins to work begins its interval as well.
        let working = previous.filter(|previous| previous.spec.is_some());
        let known = previous.and_then(|previous| previous.shared.as_ref());
        if working.is_none()
            && let Some(known) = known
        {
            known.swept_at.store(0, Ordering::Relaxed);
        }
        let shared = known.cloned().or_else(|| spec.as_ref().map(|_| Arc::default()));
        Self { dialect, spec, shared }
    }

    pub(super) fn shared(&self) -> &Shared {
        self.shared.as_ref().expect("nothing is detected without a specification")
    }

    /// Whether there is anything to detect.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.spec.is_some()
    }

    /// Whether an endpoint is out.
    #[inline]
    pub fn is_ejected(&self, record: &Record) -> bool {
        self.is_on() && record.is_ejected()
    }

    /// How many endpoints are out.
    pub fn ejected(&self) -> u32 {
        self.shared.as_ref().map_or(0, |shared| shared.ejected.load(Ordering::Relaxed))
    }

    /// The numbers of the endpoints that are out, ascending; `is_ejected` says it of a number, by
    /// the order in which [`adopt`](Self::adopt) got the endpoints.
    pub(crate) fn out(&self, is_ejected: impl Fn(u32) -> bool) -> Vec<u32> {
        let Some(shared) = &self.shared else { return Vec::new() };
        let mut out = shared.out();
        out.retain(|number| is_ejected(*number));
        out.sort_unstable();
        out.dedup();
        out.clone()
    }

    /// Takes the endpoints of the cluster as they are now, always in the same order: to be called when the tables are built
    /// and whenever endpoints come or go. Without a specification all of them return.
    pub fn adopt<'r>(&self, records: impl Iterator<Item = &'r Record>) {
        // Where nothing was ever detected, nothing was noted either.
        let Some(shared) = &self.shared else { return };
        let (mut hosts, mut ejected) = (0, 0);
        // Held throughout: who is ejected meanwhile is noted with the number given here.
        let mut out = shared.out();
        out.clear();
        for record in records {
            if self.spec.is_none() {
                record.clear();
            }
            record.set_number(hosts);
            if record.is_ejected() {
                out.push(hosts);
                ejected += 1;
            }
            hosts += 1;
        }
        drop(out);
        shared.hosts.store(hosts, Ordering::Relaxed);
        shared.ejected.store(ejected, Ordering::Relaxed);
    }

    /// Notes how an attempt ended; true when that ejects the endpoint.
    ///
    /// `now` and `random` are only asked for when an ejection is due.
    #[inline]
    pub fn observe(
        &self,
        record: &Record,
        observed: Observed,
        now: impl FnOnce() -> Instant,
        random: impl FnOnce() -> u64,
    ) -> bool {
        let Some(spec) = &self.spec else { return false };
        let dues = record.note(spec, self.dialect, observed);
        dues != [None; 2] && self.enforce(spec, record, dues, now(), random())
    }

    #[cold]
    fn enforce(
        &self,
        spec: &OutlierDetection,
        record: &Record,
        dues: Dues,
        now: Instant,
        random: u64,
    ) -> bool {
        let mut draws = Draws::new(random);
        let at = self.at(now);
        let mut changed = false;
        for due in dues.into_iter().flatten() {
            // The counts of an endpoint that is out begin anew when it returns.
            if record.is_ejected() {
                break;
            }
            changed |= self.eject(spec, record, due.enforcing(spec), at, &mut draws);
            record.settle(due);
        }
        changed
    }

    /// Ejects an endpoint if chance and the share that may be out allow it.
    pub(super) fn eject(
        &self,
        spec: &OutlierDetection,
        record: &Record,
        enforcing: u32,
        at: u64,
        draws: &mut Draws,
    ) -> bool {
        if record.is_ejected() || draws.remainder(100) >= u64::from(enforcing) {
            return false;
        }
        let hosts = self.shared().hosts.load(Ordering::Relaxed);
        let order = Ordering::Relaxed;
        let claim = |ejected| self.has_room(spec, ejected, hosts).then(|| ejected + 1);
        if self.shared().ejected.fetch_update(order, order, claim).is_err() {
            return false;
        }
        let jitter = u64::try_from(spec.max_ejection_time_jitter.as_millis()).unwrap_or(u64::MAX);
        if !record.eject(at, draws.remainder(jitter.saturating_add(1))) {
            self.shared().ejected.fetch_sub(1, order);
            return false;
        }
        let mut out = self.shared().out();
        out.push(record.number());
        drop(out);
        // Envoy raises it no further than the longest ejection needs; gRPC says nothing of that.
        let lasts = spec.base_ejection_time.saturating_mul(record.multiplier());
        let longest = spec.max_ejection_time.saturating_add(spec.base_ejection_time);
        if self.dialect == Dialect::Grpc || lasts < longest {
            record.raise();
        }
        true
    }

    /// Whether one more may go. Envoy counts that one in, gRPC does not.
    pub(super) fn has_room(&self, spec: &OutlierDetection, ejected: u32, hosts: u32) -> bool {
        let share = u64::from(spec.max_ejection_percent.min(100)) * u64::from(hosts);
        match self.dialect {
            Dialect::Http => {
                hosts > 0
                    && ((u64::from(ejected) + 1) * 100 <= share
                        || (spec.always_eject_one_host && ejected == 0))
            }
            Dialect::Grpc => u64::from(ejected) * 100 < share,
        }
    }

    /// Lets an endpoint return that passed an active health check, where that is asked for; true
    /// when it was out.
    pub fn passed_health_check(&self, record: &Record, now: Instant) -> bool {
        let asked = |spec: &Arc<OutlierDetection>| spec.successful_active_health_check_uneject_host;
        let returns = self.spec.as_ref().is_some_and(asked) && record.is_ejected();
        if returns {
            self.restore(record, self.at(now));
        }
        returns
    }

    pub(super) fn restore(&self, record: &Record, at: u64) {
        record.restore(at);
        let order = Ordering::Relaxed;
        // It may have been taken out of the count with its endpoint just now.
        let _ = self.shared().ejected.fetch_update(order, order, |ejected| ejected.checked_sub(1));
    }

    /// When the next sweep is due; `None` when there is nothing to detect.
    pub fn next_sweep(&self, now: Instant) -> Option<Instant> {
        let spec = self.spec.as_ref()?;
        let (at, order) = (self.at(now), Ordering::Relaxed);
        // The first interval begins when somebody asks for its end.
        let last = self.shared().swept_at.compare_exchange(0, at, order, order);
        let last = last.map_or_else(|last| last, |_| at);
        let epoch = *self.shared().epoch.get_or_init(|| now);
        (epoch + Duration::from_nanos(last - 1)).checked_add(spec.interval)
    }

    pub(super) fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// A moment as a number that is not 0.
    pub(super) fn at(&self, now: Instant) -> u64 {
        let epoch = self.shared().epoch.get_or_init(|| now);
        let nanos = now.saturating_duration_since(*epoch).as_nanos();
        u64::try_from(nanos).unwrap_or(u64::MAX - 1).saturating_add(1)
    }
}

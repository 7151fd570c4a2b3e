use std::cell::{Cell, RefCell};
use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use arc_swap::ArcSwap;
use mesh_core::cluster::{ClusterState, Tables};
use mesh_core::snapshot::ClusterIndex;
use mesh_core::{Dialect, Finding, Snapshot};

use super::Io;
use super::pins::Pins;
use crate::timers::Timers;

/// The most shards: threads beyond this share one, which costs them a contended count and no more.
const MAX_SHARDS: usize = 64;

/// The Snapshot in force, handed out without threads sharing one reference count.
///
/// Each thread takes from its own shard, whose handle holds the Snapshot once. Measured: an owned
/// `Arc` from one shared count costs 52 ns with two threads, from its own 9 ns. What a thread took
/// last it finds again without its shard, as long as nothing was published since. What is published
/// carries tables of endpoints as well, so that a request that has its Snapshot has those too: it is
/// renewed when they change. And deadlines of requests are noted by shards as well.
#[derive(Debug)]
pub(crate) struct Published {
    shards: Box<[Shard]>,
    /// The number of this publication, among those of all meshes.
    number: AtomicU64,
    findings: ArcSwap<Vec<Finding>>,
}

#[derive(Debug)]
#[repr(align(128))]
struct Shard {
    handle: ArcSwap<Handle>,
    timers: Arc<Timers>,
}

#[derive(Debug)]
struct Handle {
    snapshot: Arc<Snapshot<Io>>,
    pins: Pins,
    /// For gRPC, made when they are first asked for: most meshes speak one dialect or the other.
    grpc_pins: OnceLock<Pins>,
    timers: Arc<Timers>,
}

/// A request's hold on its Snapshot.
///
/// Never the last one: what published it keeps it until all holds are gone, so that no request
/// pays for freeing it.
#[derive(Clone)]
pub(crate) struct Hold(Arc<Handle>);

impl Published {
    /// The first one in force. Deadlines are looked at on `runtime`.
    pub(crate) fn new(
        snapshot: &Arc<Snapshot<Io>>,
        findings: Vec<Finding>,
        runtime: &tokio::runtime::Handle,
    ) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get());
        let shards = threads.next_power_of_two().min(MAX_SHARDS);
        let shard = || {
            let timers = Arc::new(Timers::new(runtime.clone()));
            let handle = ArcSwap::from_pointee(Handle::new(snapshot, &timers));
            Shard { handle, timers }
        };
        let shards = (0..shards).map(|_| shard()).collect();
        let number = AtomicU64::new(next_number());
        Self { shards, number, findings: ArcSwap::from_pointee(findings) }
    }

    /// The Snapshot in force.
    #[inline(always)]
    pub(crate) fn hold(&self) -> Hold {
        // Acquire: who reads a number finds in the shards what was published under it.
        let number = self.number.load(Ordering::Acquire);
        let last = LAST.try_with(|last| match &*last.borrow() {
            (taken, handle) if *taken == number => handle.upgrade(),
            _ => None,
        });
        match last {
            Ok(Some(handle)) => Hold(handle),
            // Not taken yet, replaced, or the thread is ending.
            _ => self.take(number),
        }
    }

    #[cold]
    fn take(&self, number: u64) -> Hold {
        let hold = self.load();
        let last = (number, Arc::downgrade(&hold.0));
        // Fails when the thread is ending, which then goes to its shard each time.
        let _ = LAST.try_with(|kept| kept.replace(last));
        hold
    }

    fn load(&self) -> Hold {
        let shard = thread_number() & (self.shards.len() - 1);
        Hold(self.shards[shard].handle.load_full())
    }

    /// What the resources in force ask for and do not get.
    pub(crate) fn findings(&self) -> Arc<Vec<Finding>> {
        self.findings.load_full()
    }

    /// Puts `snapshot` in force.
    pub(crate) fn publish(&self, snapshot: &Arc<Snapshot<Io>>, findings: Vec<Finding>) {
        self.findings.store(Arc::new(findings));
        self.renew(snapshot);
    }

    /// Puts the tables of endpoints in force that clusters of this Snapshot have now.
    pub(crate) fn renew(&self, snapshot: &Arc<Snapshot<Io>>) {
        for shard in &self.shards {
            shard.handle.store(Arc::new(Handle::new(snapshot, &shard.timers)));
        }
        self.number.store(next_number(), Ordering::Release);
    }
}

fn next_number() -> u64 {
    // From 1: 0 stands for nothing taken.
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

thread_local! {
    /// What this thread took last, and under which number. Weak, so that a thread without requests
    /// keeps no Snapshot.
    static LAST: RefCell<(u64, Weak<Handle>)> = const { RefCell::new((0, Weak::new())) };
}

impl Handle {
    fn new(snapshot: &Arc<Snapshot<Io>>, timers: &Arc<Timers>) -> Self {
        let pins = Pins::new(snapshot.positions());
        let grpc_pins = OnceLock::new();
        Self { snapshot: snapshot.clone(), pins, grpc_pins, timers: timers.clone() }
    }
}

impl Hold {
    /// The tables of a cluster of this Snapshot: those in force when they were first asked for, or
    /// later ones.
    #[inline(always)]
    pub(crate) fn tables(
        &self,
        cluster: ClusterIndex,
        state: &ClusterState<Io>,
        dialect: Dialect,
    ) -> &Arc<Tables<Io>> {
        let pins = match dialect {
            Dialect::Http => &self.0.pins,
            Dialect::Grpc => self.0.grpc_pins.get_or_init(|| Pins::new(self.positions())),
        };
        match pins.get(cluster) {
            Some(pinned) => pinned,
            None => pins.pin(cluster, state, dialect),
        }
    }

    /// Where the deadlines of its requests are noted.
    #[inline]
    pub(crate) fn timers(&self) -> &Arc<Timers> {
        &self.0.timers
    }
}

impl Deref for Hold {
    type Target = Snapshot<Io>;

    fn deref(&self) -> &Snapshot<Io> {
        &self.0.snapshot
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// Numbers threads as they come, so that neighbours get different shards.
fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    NUMBER.with(|number| {
        if number.get() == usize::MAX {
            number.set(NEXT.fetch_add(1, Ordering::Relaxed));
        }
        number.get()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime() -> tokio::runtime::Handle {
        tokio::runtime::Handle::current()
    }

    fn snapshot() -> Arc<Snapshot<Io>> {
        let runtime = tokio::runtime::Handle::current();
        let providers =
            crate::mesh::Providers::new(Default::default(), Default::default(), runtime.clone());
        let io = Io::new(runtime, providers.into());
        Arc::new(Snapshot::compile(&mesh_core::resource::Resources::new(), None, &io).0)
    }

    fn is(hold: &Hold, snapshot: &Arc<Snapshot<Io>>) -> bool {
        Arc::ptr_eq(&hold.0.snapshot, snapshot)
    }

    #[tokio::test]
    async fn takes_what_was_published_last_also_while_the_one_before_is_held() {
        let (first, second) = (snapshot(), snapshot());
        let published = Published::new(&first, Vec::new(), &runtime());
        let held = published.hold();
        assert!(is(&held, &first) && is(&published.hold(), &first));
        published.publish(&second, Vec::new());
        assert!(is(&published.hold(), &second) && is(&published.hold(), &second));
        assert!(is(&held, &first));
    }

    #[tokio::test]
    async fn keeps_meshes_apart_on_one_thread() {
        let (one, other) = (snapshot(), snapshot());
        let of_one = Published::new(&one, Vec::new(), &runtime());
        let of_other = Published::new(&other, Vec::new(), &runtime());
        for _ in 0..2 {
            assert!(is(&of_one.hold(), &one));
            assert!(is(&of_other.hold(), &other));
        }
    }

    #[tokio::test]
    async fn holds_no_snapshot_for_a_thread_without_requests() {
        let (first, second) = (snapshot(), snapshot());
        let published = Published::new(&first, Vec::new(), &runtime());
        drop(published.hold());
        published.publish(&second, Vec::new());
        assert_eq!(Arc::strong_count(&first), 1);
    }
}

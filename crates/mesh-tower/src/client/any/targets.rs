use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;

use super::client::Outside;
use super::target::Target;
use crate::error::Error;
use crate::mesh::Mesh;

/// Targets kept at once. Each is a subscription and a share of the control plane's memory; a
/// service calls some dozens, and a list of hosts that users can make longer must not.
const MAX_TARGETS: usize = 1024;

/// A target without requests for one whole round goes.
const ROUND: Duration = Duration::from_secs(300);

pub(super) type Inside = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// The targets in use.
pub(super) struct Targets {
    pub(super) mesh: Mesh,
    pub(super) outside: Outside,
    pub(super) inside: Option<Inside>,
    /// Read by every request and replaced when a target comes or goes.
    map: ArcSwap<Map>,
    /// Held by whoever replaces it. Whether the sweeper runs.
    sweeping: Mutex<bool>,
    round: AtomicU64,
    /// Where names outside the mesh are resolved.
    by_dns: OnceLock<Mesh>,
}

type Map = HashMap<Box<str>, Arc<Target>>;

impl Targets {
    pub(super) fn new(mesh: &Mesh, outside: Outside, inside: Option<Inside>) -> Arc<Self> {
        Arc::new(Self {
            mesh: mesh.clone(),
            outside,
            inside,
            map: ArcSwap::default(),
            sweeping: Mutex::new(false),
            round: AtomicU64::new(0),
            by_dns: OnceLock::new(),
        })
    }

    /// The target of that name, followed from now on.
    pub(super) fn get(self: &Arc<Self>, name: &str) -> Result<Arc<Target>, Error> {
        let known = self.map.load().get(name).cloned();
        let target = match known {
            Some(target) => target,
            None => self.add(name)?,
        };
        // Written once a round, so that the line is else only read.
        let round = self.round.load(Ordering::Relaxed);
        if target.used_in.load(Ordering::Relaxed) != round {
            target.used_in.store(round, Ordering::Relaxed);
        }
        Ok(target)
    }

    #[cold]
    fn add(self: &Arc<Self>, name: &str) -> Result<Arc<Target>, Error> {
        let mut sweeping = self.sweeping.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.map.load();
        if let Some(target) = current.get(name) {
            return Ok(target.clone());
        }
        let target = Arc::new(Target::new(self, name)?);
        let mut map = Map::clone(&current);
        if map.len() >= MAX_TARGETS {
            let oldest = map.iter().min_by_key(|one| one.1.used_in.load(Ordering::Relaxed));
            let oldest = oldest.map(|(name, _)| name.clone());
            map.remove(&oldest.unwrap_or_default());
        }
        map.insert(name.into(), target.clone());
        self.map.store(Arc::new(map));
        if !std::mem::replace(&mut *sweeping, true) {
            self.mesh.inner().runtime().spawn(sweep(Arc::downgrade(self)));
        }
        Ok(target)
    }

    /// Lets targets go that nobody used in the last round; whether any is left.
    pub(super) fn end_round(&self) -> bool {
        let mut sweeping = self.sweeping.lock().unwrap_or_else(PoisonError::into_inner);
        let last = self.round.fetch_add(1, Ordering::Relaxed);
        let current = self.map.load();
        let is_used = |target: &Target| target.used_in.load(Ordering::Relaxed) >= last;
        if current.values().any(|target| !is_used(target)) {
            let kept = current.iter().filter(|(_, target)| is_used(target));
            let kept: Map = kept.map(|(name, target)| (name.clone(), target.clone())).collect();
            self.map.store(Arc::new(kept));
        }
        *sweeping = !self.map.load().is_empty();
        *sweeping
    }

    pub(super) fn len(&self) -> usize {
        self.map.load().len()
    }

    #[cfg(test)]
    pub(super) fn is_kept(&self, name: &str) -> bool {
        self.map.load().contains_key(name)
    }

    pub(super) fn by_dns(&self) -> &Mesh {
        self.by_dns.get_or_init(|| {
            let runtime = self.mesh.inner().runtime().clone();
            Mesh::builder().disabled().runtime(runtime).build().expect("it has a runtime")
        })
    }
}

/// Ends with the last client, or with the last target.
async fn sweep(targets: Weak<Targets>) {
    loop {
        tokio::time::sleep(ROUND).await;
        if !targets.upgrade().is_some_and(|targets| targets.end_round()) {
            return;
        }
    }
}

//! Names of endpoints (`STRICT_DNS`, `LOGICAL_DNS`): looked up again and again, each cluster by a
//! task of its own.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use mesh_core::finding::{Failure, FailureKind};
use mesh_core::resource::{ClusterLoadAssignment, DnsCluster, Entry, Name};
use mesh_core::{ResourceId, ResourceType};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::resolver::Resolve;

/// How many names of one cluster are looked up at once: the system's resolver takes a thread for
/// each.
const LOOKUPS_AT_ONCE: usize = 16;
/// How long one look-up may take: four tries of a resolver's usual 5 s.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(20);

/// What is being looked up. Its drop ends that.
#[derive(Debug)]
pub(super) struct Names {
    resolver: Arc<dyn Resolve>,
    runtime: Handle,
    found: Arc<Found>,
    running: HashMap<Name, AbortHandle>,
}

/// What was found and not taken in yet: one entry for each key.
#[derive(Debug, Default)]
pub(super) struct Found {
    entries: Mutex<BTreeMap<Name, Entry<ClusterLoadAssignment>>>,
    changed: Notify,
}

impl Names {
    pub(super) fn new(resolver: Arc<dyn Resolve>, runtime: Handle) -> (Self, Arc<Found>) {
        let found = Arc::new(Found::default());
        let running = HashMap::new();
        (Self { resolver, runtime, found: found.clone(), running }, found)
    }

    /// Looks the names up, until it is stopped. One that is looked up already begins anew.
    pub(super) fn start(&mut self, dns: Arc<DnsCluster>) {
        let key = dns.key.clone();
        self.stop(&key);
        let following = Following::new(dns, self.resolver.clone(), self.found.clone());
        let task = self.runtime.spawn(following.run()).abort_handle();
        self.running.insert(key, task);
    }

    pub(super) fn stop(&mut self, key: &Name) {
        if let Some(task) = self.running.remove(key) {
            task.abort();
        }
        self.found.lock().remove(key);
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        self.running.values().for_each(AbortHandle::abort);
    }
}

impl Found {
    /// Waits until [`take`](Self::take) has something to give. Cancel safe.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    pub(super) fn take(&self) -> BTreeMap<Name, Entry<ClusterLoadAssignment>> {
        std::mem::take(&mut *self.lock())
    }

    fn put(&self, key: &Name, entry: Entry<ClusterLoadAssignment>) {
        self.lock().insert(key.clone(), entry);
        self.changed.notify_one();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Name, Entry<ClusterLoadAssignment>>> {
        // No code that can panic runs under the lock; a poisoned one is as good as any.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The names of one cluster.
struct Following {
    dns: Arc<DnsCluster>,
    resolver: Arc<dyn Resolve>,
    found: Arc<Found>,
    /// The last good addresses.
    known: HashMap<Name, Vec<IpAddr>>,
    /// How many rounds in a row failed.
    failed: u32,
    /// Whether they changed since they were told.
    is_changed: bool,
    /// The endpoints told last.
    value: Option<Arc<ClusterLoadAssignment>>,
    /// The failure told last, if anything was told.
    told: Option<Option<String>>,
}

impl Following {
    fn new(dns: Arc<DnsCluster>, resolver: Arc<dyn Resolve>, found: Arc<Found>) -> Self {
        let known = HashMap::new();
        let (is_changed, value, told) = (false, None, None);
        Self { dns, resolver, found, known, failed: 0, is_changed, value, told }
    }

    async fn run(mut self) {
        loop {
            let error = self.look_up().await;
            self.failed = if error.is_some() { self.failed.saturating_add(1) } else { 0 };
            let is_fixed = self.dns.hosts().iter().all(|host| host.parse::<IpAddr>().is_ok());
            self.tell(error);
            if is_fixed {
                return;
            }
            sleep(self.wait() + self.dns.jitter.mul_f64(fastrand::f64())).await;
        }
    }

    /// Looks every name up once. Returns the first failure.
    async fn look_up(&mut self) -> Option<String> {
        let resolver = &self.resolver;
        let lookups = stream::iter(self.dns.hosts()).map(|host| async move {
            let found = match host.parse() {
                Ok(address) => Ok(vec![address]),
                Err(_) => look_up(&**resolver, &host).await,
            };
            (host, found)
        });
        let mut rounds = lookups.buffer_unordered(LOOKUPS_AT_ONCE);
        let mut error = None;
        let mut found = Vec::new();
        while let Some((host, result)) = rounds.next().await {
            match result {
                Ok(addresses) => found.push((host, addresses)),
                Err(text) => error = error.or(Some(format!("cannot resolve {host:?}: {text}"))),
            }
        }
        drop(rounds);
        for (host, addresses) in found {
            // Resolvers turn their answers round: the same addresses in another order are no news.
            let before = self.known.get(&host);
            if before.is_none_or(|before| sorted(before) != sorted(&addresses)) {
                self.known.insert(host, addresses);
                self.is_changed = true;
            }
        }
        error
    }

    /// Tells what is known, unless that is no news.
    fn tell(&mut self, error: Option<String>) {
        if !self.is_changed && self.told.as_ref() == Some(&error) {
            return;
        }
        if std::mem::take(&mut self.is_changed) {
            let known = |host: &str| self.known.get(host).map(|addresses| &addresses[..]);
            self.value = Some(Arc::new(self.dns.resolve(known)));
        }
        let failure = error.as_ref().map(|text| {
            let id = ResourceId::new(ResourceType::ClusterLoadAssignment, self.dns.key.clone());
            let now = tokio::time::Instant::now().into_std();
            Arc::new(Failure::new(id, FailureKind::Dependency, text.as_str(), Some(now)))
        });
        self.found.put(&self.dns.key, Entry { value: self.value.clone(), failure });
        self.told = Some(error);
    }

    fn wait(&self) -> Duration {
        match self.dns.failure_refresh_rate {
            Some((base, max)) if self.failed > 0 => {
                base.saturating_mul(1 << (self.failed - 1).min(16)).min(max)
            }
            _ => self.dns.refresh_rate,
        }
    }
}

async fn look_up(resolver: &dyn Resolve, host: &Name) -> Result<Vec<IpAddr>, String> {
    match timeout(LOOKUP_TIMEOUT, resolver.resolve(host.clone())).await {
        Ok(Ok(addresses)) if addresses.is_empty() => Err("it has no address".to_owned()),
        Ok(found) => found.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {LOOKUP_TIMEOUT:?}")),
    }
}

fn sorted(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let mut sorted = addresses.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    sorted
}

#[cfg(test)]
mod tests;

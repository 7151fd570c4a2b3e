use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use mesh_core::finding::{Failure, FailureKind, ResourceId, ResourceType};
use mesh_core::resource::{
    Action, Cluster, ClusterLoadAssignment, ClusterSpecifier, Discovery, Entry, Forward,
    HttpConnectionManager, LbPolicy, Listener, Name, Root, Route, RouteConfiguration, RouteMatch,
    RouteSpecifier, Update, VirtualHost,
};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::error::{Error, ErrorKind};

/// How often a name is looked up again: the system resolver hides the record's own time.
const REFRESH: Duration = Duration::from_secs(30);

/// How soon after a failed look-up.
const RETRY: Duration = Duration::from_secs(1);

/// Resolves targets when the mesh is off, and makes configuration that passes requests through.
/// Its drop ends the mailbox.
#[derive(Debug)]
pub(super) struct Resolver {
    runtime: Handle,
    mailbox: Arc<Mailbox>,
    targets: Arc<Targets>,
}

/// Channels of one target share its resolving.
type Targets = Mutex<HashMap<Name, Weak<Resolving>>>;

/// What changed since the task last looked, merged by name.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    state: Mutex<Filled>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Filled {
    update: Update,
    is_closed: bool,
}

/// A target that is being resolved. Dropping it ends that.
#[derive(Debug)]
pub(super) struct Resolving {
    target: Name,
    task: AbortHandle,
    mailbox: Arc<Mailbox>,
    targets: Arc<Targets>,
}

impl Mailbox {
    fn put(&self, update: Update) {
        self.lock().update.merge(update);
        self.changed.notify_one();
    }

    fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_one();
    }

    /// What changed; waits until something has. `None` once the resolver is gone.
    pub(super) async fn next(&self) -> Option<Update> {
        loop {
            {
                let mut state = self.lock();
                if state.is_closed {
                    return None;
                }
                if !state.update.is_empty() {
                    return Some(std::mem::take(&mut state.update));
                }
            }
            self.changed.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Filled> {
        self.state.lock().expect("no panic while held")
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.mailbox.close();
    }
}

impl Drop for Resolving {
    fn drop(&mut self) {
        self.task.abort();
        let mut targets = self.targets.lock().expect("no panic while held");
        // A later channel may resolve the same target by now; what it finds must stay.
        if targets.get(&self.target).is_some_and(|later| later.strong_count() > 0) {
            return;
        }
        targets.remove(&self.target);
        let mut removal = Update::default();
        removal.roots.insert(self.target.clone(), None);
        removal.clusters.insert(self.target.clone(), None);
        self.mailbox.put(removal);
    }
}

impl Resolver {
    pub(super) fn new(runtime: Handle) -> (Self, Arc<Mailbox>) {
        let mailbox = Arc::new(Mailbox::default());
        (Self { runtime, mailbox: mailbox.clone(), targets: Arc::default() }, mailbox)
    }

    /// Follows `target`, `host:port` or a host of port 80.
    pub(super) fn resolve(&self, target: &Name) -> Result<Arc<Resolving>, Error> {
        let (host, port) = split(target).ok_or_else(|| {
            Error::new(ErrorKind::Config, format!("target {target:?} has no valid port"))
        })?;
        let mut targets = self.targets.lock().expect("no panic while held");
        if let Some(resolving) = targets.get(target).and_then(Weak::upgrade) {
            return Ok(resolving);
        }
        let follow = follow(host.to_owned(), port, target.clone(), self.mailbox.clone());
        let task = self.runtime.spawn(follow).abort_handle();
        let resolving = Arc::new(Resolving {
            target: target.clone(),
            task,
            mailbox: self.mailbox.clone(),
            targets: self.targets.clone(),
        });
        targets.insert(target.clone(), Arc::downgrade(&resolving));
        Ok(resolving)
    }
}

async fn follow(host: String, port: u16, target: Name, mailbox: Arc<Mailbox>) {
    let mut last: Option<Vec<SocketAddr>> = None;
    loop {
        let found = lookup(&host, port).await;
        let pause = if found.is_ok() { REFRESH } else { RETRY };
        match found {
            // The last good addresses stay when a later look-up fails.
            Err(_) if last.is_some() => {}
            Err(error) => mailbox.put(unresolved(&target, &error)),
            Ok(addresses) if last.as_ref() == Some(&addresses) => {}
            Ok(addresses) => {
                last = Some(addresses.clone());
                mailbox.put(pass_through(&target, addresses));
            }
        }
        tokio::time::sleep(pause).await;
    }
}

fn split(target: &str) -> Option<(&str, u16)> {
    match target.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(':') => {
            Some((host.trim_start_matches('[').trim_end_matches(']'), port.parse().ok()?))
        }
        _ => Some((target, 80)),
    }
}

async fn lookup(host: &str, port: u16) -> std::io::Result<Vec<SocketAddr>> {
    let mut addresses: Vec<_> = tokio::net::lookup_host((host, port)).await?.collect();
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.is_empty() {
        return Err(std::io::Error::other("no addresses"));
    }
    Ok(addresses)
}

/// Configuration that sends everything for `target` to `addresses`.
fn pass_through(target: &Name, addresses: Vec<SocketAddr>) -> Update {
    let mut forward = Forward::new(ClusterSpecifier::Cluster(target.clone()));
    forward.timeout = Some(Duration::ZERO);
    let route = Route::new(RouteMatch::prefix(""), Action::Forward(Arc::new(forward)));
    let host = VirtualHost::new(target.clone(), ["*"], vec![route.with_name("pass-through")]);
    let routes = Arc::new(RouteConfiguration::new(target.clone(), vec![host]));
    let manager = HttpConnectionManager::new(RouteSpecifier::Inline(routes.clone()));
    let root = Root {
        authority: target.clone(),
        listener: Entry::of(Listener::new(target.clone(), manager)),
        routes: Entry::of(routes),
    };
    let mut cluster = Cluster::new(target.clone());
    cluster.lb_policy = LbPolicy::RoundRobin;
    cluster.circuit_breakers.default.max_requests = u32::MAX;
    let assignment = ClusterLoadAssignment::of_addresses(target.clone(), addresses);
    cluster.discovery = Discovery::Static(Arc::new(assignment));
    Update {
        roots: HashMap::from([(target.clone(), Some(root))]),
        clusters: HashMap::from([(target.clone(), Some(Entry::of(cluster)))]),
        ..Update::default()
    }
}

fn unresolved(target: &Name, error: &std::io::Error) -> Update {
    let id = ResourceId::new(ResourceType::Listener, target.clone());
    let text = format!("name not resolved: {error}");
    let failure = Failure::new(id, FailureKind::Unreachable, text, Some(Instant::now()));
    let root = Root {
        authority: target.clone(),
        listener: Entry::failed(failure),
        routes: Entry::default(),
    };
    let roots = HashMap::from([(target.clone(), Some(root))]);
    Update { roots, ..Update::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roots(update: &Update) -> Vec<(&str, bool)> {
        update.roots.iter().map(|(name, root)| (&**name, root.is_some())).collect()
    }

    #[tokio::test]
    async fn target_is_removed_with_its_last_channel() {
        let (resolver, mailbox) = Resolver::new(Handle::current());
        let resolving = resolver.resolve(&"127.0.0.1:80".into()).unwrap();
        assert_eq!(roots(&mailbox.next().await.unwrap()), [("127.0.0.1:80", true)]);
        drop(resolving);
        assert_eq!(roots(&mailbox.next().await.unwrap()), [("127.0.0.1:80", false)]);
        assert!(resolver.targets.lock().unwrap().is_empty());
    }

    /// The drop of the earlier one may come last, on another thread.
    #[tokio::test]
    async fn target_resolved_again_outlives_the_drop_of_the_earlier_one() {
        let (resolver, mailbox) = Resolver::new(Handle::current());
        let target = Name::from("127.0.0.1:80");
        let earlier = resolver.resolve(&target).unwrap();
        resolver.targets.lock().unwrap().clear();
        let _later = resolver.resolve(&target).unwrap();
        assert_eq!(roots(&mailbox.next().await.unwrap()), [("127.0.0.1:80", true)]);
        drop(earlier);
        assert!(mailbox.lock().update.is_empty());
    }

    #[tokio::test]
    async fn mailbox_ends_with_the_resolver() {
        let (resolver, mailbox) = Resolver::new(Handle::current());
        drop(resolver);
        assert!(mailbox.next().await.is_none());
    }
}

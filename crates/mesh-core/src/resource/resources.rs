//! What configuration says at one moment, and how it changes.

use std::collections::HashMap;
use std::sync::Arc;

use super::{
    Cluster, ClusterLoadAssignment, Discovery, Listener, Locality, Name, RouteConfiguration,
    RouteSpecifier, Secret, ServerListener,
};
use crate::cluster::Home;
use crate::finding::{Failure, FailureKind, ResourceId, ResourceType};

/// One resource as it stands: a value, a failure, or a kept value with the reason it is old.
#[derive(Debug)]
pub struct Entry<T> {
    /// The last good value.
    pub value: Option<Arc<T>>,
    /// Why there is none, or why it could not be replaced.
    pub failure: Option<Arc<Failure>>,
}

impl<T> Entry<T> {
    /// A good value.
    pub fn of(value: impl Into<Arc<T>>) -> Self {
        Self { value: Some(value.into()), failure: None }
    }

    /// No value, and why.
    pub fn failed(failure: impl Into<Arc<Failure>>) -> Self {
        Self { value: None, failure: Some(failure.into()) }
    }

    /// Whether both stand for the very same value and failure.
    pub fn is_same(&self, other: &Self) -> bool {
        same(self.value.as_ref(), other.value.as_ref())
            && same(self.failure.as_ref(), other.failure.as_ref())
    }
}

fn same<T>(a: Option<&Arc<T>>, b: Option<&Arc<T>>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (None, None) => true,
        _ => false,
    }
}

impl<T> Clone for Entry<T> {
    fn clone(&self) -> Self {
        Self { value: self.value.clone(), failure: self.failure.clone() }
    }
}

impl<T> Default for Entry<T> {
    fn default() -> Self {
        Self { value: None, failure: None }
    }
}

/// A target's listener with the routes that were published for it.
///
/// The routes are held here and not looked up by name: two targets may share a
/// RouteConfiguration, and each takes a new version when all it needs is known.
#[derive(Clone, Debug, Default)]
pub struct Root {
    /// The target's authority (`Target::authority()`), which selects the virtual host in gRPC, and
    /// in HTTP when the request's own selects none.
    pub authority: Name,
    /// The listener.
    pub listener: Entry<Listener>,
    /// Its routes, inline or by RDS.
    pub routes: Entry<RouteConfiguration>,
}

impl Root {
    /// Whether both stand for the very same resources.
    pub fn is_same(&self, other: &Self) -> bool {
        self.authority == other.authority
            && self.listener.is_same(&other.listener)
            && self.routes.is_same(&other.routes)
    }
}

/// All resources in use. Changed by [`Update`]s; made by hand from [`Resource`]s.
#[derive(Clone, Debug, Default)]
pub struct Resources {
    pub(crate) roots: HashMap<Name, Root>,
    pub(crate) clusters: HashMap<Name, Entry<Cluster>>,
    pub(crate) endpoints: HashMap<Name, Entry<ClusterLoadAssignment>>,
    pub(crate) servers: HashMap<Name, Entry<ServerListener>>,
    secrets: HashMap<Name, Entry<Secret>>,
    local: Option<LocalCluster>,
    /// Those given by code that replaced others of their name.
    pub(super) given_twice: Vec<ResourceId>,
}

/// The cluster that the caller itself is an endpoint of, which zone-aware choice needs: Envoy's
/// bootstrap names it in `cluster_manager.local_cluster_name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalCluster {
    /// The cluster's name.
    pub name: Name,
    /// Where the caller is: its node's locality.
    pub locality: Locality,
}

impl Resources {
    /// No resources.
    pub fn new() -> Self {
        Self::default()
    }

    /// The roots by listener name.
    pub fn roots(&self) -> impl Iterator<Item = (&Name, &Root)> {
        self.roots.iter()
    }

    /// The clusters by name.
    pub fn clusters(&self) -> impl Iterator<Item = (&Name, &Entry<Cluster>)> {
        self.clusters.iter()
    }

    /// The endpoints by resource name.
    pub fn endpoints(&self) -> impl Iterator<Item = (&Name, &Entry<ClusterLoadAssignment>)> {
        self.endpoints.iter()
    }

    /// Servers' listeners by name.
    pub fn servers(&self) -> impl Iterator<Item = (&Name, &Entry<ServerListener>)> {
        self.servers.iter()
    }

    /// The certificates and authorities that TLS contexts refer to, by name.
    pub fn secrets(&self) -> impl Iterator<Item = (&Name, &Entry<Secret>)> {
        self.secrets.iter()
    }

    /// Says which cluster the caller belongs to, and where it is. Known or not, the cluster is one
    /// of the resources like any other.
    pub fn set_local_cluster(&mut self, local: LocalCluster) {
        self.local = Some(local);
    }

    /// The caller's own cluster, by its endpoints; `None` while they are not known.
    pub(crate) fn home(&self) -> Option<Home> {
        let local = self.local.as_ref()?;
        let cluster = self.clusters.get(&local.name)?.value.as_ref()?;
        let endpoints = match &cluster.discovery {
            Discovery::Static(assignment) => Some(assignment),
            other => self.endpoints.get(other.endpoints_name()?)?.value.as_ref(),
        };
        Some(Home::of(local, endpoints?))
    }

    /// Whether those are the endpoints of the caller's own cluster.
    pub(crate) fn are_home(&self, endpoints: &Name) -> bool {
        let cluster = self.local.as_ref().and_then(|local| self.clusters.get(&local.name));
        let discovery =
            cluster.and_then(|entry| entry.value.as_ref()).map(|value| &value.discovery);
        discovery.and_then(Discovery::endpoints_name) == Some(endpoints)
    }

    /// Takes in what changed.
    pub fn apply(&mut self, update: Update) {
        merge(&mut self.roots, update.roots);
        merge(&mut self.clusters, update.clusters);
        merge(&mut self.endpoints, update.endpoints);
        merge(&mut self.servers, update.servers);
        merge(&mut self.secrets, update.secrets);
    }

    /// The endpoints of a cluster, wherever they come from.
    pub(crate) fn endpoints_of(&self, cluster: &Cluster) -> Entry<ClusterLoadAssignment> {
        match &cluster.discovery {
            Discovery::Static(assignment) => Entry::of(assignment.clone()),
            Discovery::Eds { service_name: name } => self.endpoints_named(name),
            Discovery::Dns(dns) => self.endpoints_named(&dns.key),
            Discovery::Aggregate { clusters } => self.none_of(&cluster.name, clusters),
            Discovery::OriginalDestination => {
                let id = ResourceId::new(ResourceType::Cluster, cluster.name.clone());
                let text = "ORIGINAL_DST has no endpoints where no connection is caught";
                Entry::failed(Failure::new(id, FailureKind::Invalid, text, None))
            }
        }
    }

    fn endpoints_named(&self, name: &Name) -> Entry<ClusterLoadAssignment> {
        self.endpoints.get(name).cloned().unwrap_or_default()
    }

    /// Why an aggregate has nothing: none of its clusters exists.
    fn none_of(&self, name: &Name, clusters: &[Name]) -> Entry<ClusterLoadAssignment> {
        let mut entries = clusters.iter().filter_map(|name| self.clusters.get(name));
        if entries.clone().any(|entry| entry.value.is_some()) {
            return Entry::default();
        }
        let id = ResourceId::new(ResourceType::Cluster, name.clone());
        let text = "none of the clusters it stands for exists";
        let mut failure = Failure::new(id, FailureKind::Dependency, text, None);
        failure.cause = entries.find_map(|entry| entry.failure.clone());
        Entry::failed(failure)
    }
}

fn merge<T>(map: &mut HashMap<Name, T>, changes: HashMap<Name, Option<T>>) {
    for (name, change) in changes {
        match change {
            Some(value) => {
                map.insert(name, value);
            }
            None => {
                map.remove(&name);
            }
        }
    }
}

/// What changed since the last update. `None` removes.
#[derive(Clone, Debug, Default)]
pub struct Update {
    /// Roots by listener name.
    pub roots: HashMap<Name, Option<Root>>,
    /// Clusters by name.
    pub clusters: HashMap<Name, Option<Entry<Cluster>>>,
    /// Endpoints by resource name.
    pub endpoints: HashMap<Name, Option<Entry<ClusterLoadAssignment>>>,
    /// Servers' listeners by name. The roots of their chains come with them.
    pub servers: HashMap<Name, Option<Entry<ServerListener>>>,
    /// Certificates and authorities by name. They concern connections: nothing is compiled of them.
    pub secrets: HashMap<Name, Option<Entry<Secret>>>,
}

impl Update {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.endpoints.is_empty() && self.secrets.is_empty() && self.is_endpoints_only()
    }

    /// Whether only endpoints and secrets changed, so that no route has to be compiled.
    pub fn is_endpoints_only(&self) -> bool {
        self.roots.is_empty() && self.clusters.is_empty() && self.servers.is_empty()
    }

    /// Adds what changed later. The size stays bounded by the number of names.
    pub fn merge(&mut self, later: Self) {
        self.roots.extend(later.roots);
        self.clusters.extend(later.clusters);
        self.endpoints.extend(later.endpoints);
        self.servers.extend(later.servers);
        self.secrets.extend(later.secrets);
    }
}

/// A resource of any type, for configuration made by code.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Resource {
    /// A listener.
    Listener(Listener),
    /// Routes, referred to by listeners through their name.
    RouteConfiguration(RouteConfiguration),
    /// A cluster.
    Cluster(Cluster),
    /// The endpoints of a cluster.
    ClusterLoadAssignment(ClusterLoadAssignment),
    /// A server's listener.
    ServerListener(ServerListener),
    /// What TLS contexts refer to by that name.
    Secret(Name, Secret),
}

macro_rules! resource_from {
    ($($kind:ident),*) => {$(
        impl From<$kind> for Resource {
            fn from(value: $kind) -> Self {
                Self::$kind(value)
            }
        }
    )*};
}
resource_from!(Listener, RouteConfiguration, Cluster, ClusterLoadAssignment, ServerListener);

impl Resource {
    fn id(&self) -> ResourceId {
        let (kind, name) = match self {
            Self::Listener(it) => (ResourceType::Listener, &it.name),
            Self::RouteConfiguration(it) => (ResourceType::RouteConfiguration, &it.name),
            Self::Cluster(it) => (ResourceType::Cluster, &it.name),
            Self::ClusterLoadAssignment(it) => (ResourceType::ClusterLoadAssignment, &it.name),
            Self::ServerListener(it) => (ResourceType::Listener, &it.name),
            Self::Secret(name, _) => (ResourceType::Secret, name),
        };
        ResourceId::new(kind, name.clone())
    }
}

impl FromIterator<Resource> for Resources {
    /// Puts resources together by name. Of two with the same type and name the later one counts,
    /// and [`Resources::check`] tells of it.
    fn from_iter<I: IntoIterator<Item = Resource>>(resources: I) -> Self {
        let mut made = Self::new();
        let mut routes = HashMap::new();
        for resource in resources {
            let id = resource.id();
            let is_first = match resource {
                Resource::Listener(listener) => {
                    let root = Root {
                        authority: listener.name.clone(),
                        listener: Entry::of(listener.clone()),
                        routes: Entry::default(),
                    };
                    made.roots.insert(listener.name, root).is_none()
                }
                Resource::RouteConfiguration(value) => {
                    routes.insert(value.name.clone(), Arc::new(value)).is_none()
                }
                Resource::Cluster(value) => {
                    made.clusters.insert(value.name.clone(), Entry::of(value)).is_none()
                }
                Resource::ClusterLoadAssignment(value) => {
                    made.endpoints.insert(value.name.clone(), Entry::of(value)).is_none()
                }
                Resource::ServerListener(value) => {
                    for listener in value.roots() {
                        let root =
                            Root { listener: Entry::of(listener.clone()), ..Root::default() };
                        made.roots.insert(listener.name.clone(), root);
                    }
                    made.servers.insert(value.name.clone(), Entry::of(value)).is_none()
                }
                Resource::Secret(name, value) => {
                    made.secrets.insert(name, Entry::of(value)).is_none()
                }
            };
            if !is_first {
                made.given_twice.push(id);
            }
        }
        for root in made.roots.values_mut() {
            root.routes = root.listener.value.as_ref().map_or_else(Entry::default, |listener| {
                routes_of(&listener.api_listener.routes, &routes)
            });
        }
        made
    }
}

fn routes_of(
    specifier: &RouteSpecifier,
    routes: &HashMap<Name, Arc<RouteConfiguration>>,
) -> Entry<RouteConfiguration> {
    match specifier {
        RouteSpecifier::Inline(routes) => Entry::of(routes.clone()),
        RouteSpecifier::Rds(name) => match routes.get(name) {
            Some(found) => Entry::of(found.clone()),
            None => {
                let id = ResourceId::new(ResourceType::RouteConfiguration, name.clone());
                let text = "no such resource was given";
                Entry::failed(Failure::new(id, FailureKind::DoesNotExist, text, None))
            }
        },
    }
}

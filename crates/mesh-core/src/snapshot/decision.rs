use std::fmt;
use std::sync::Arc;

use super::view::TLS_REDIRECT;
use super::{Attach, ClusterIndex, RootIndex, RootProgram, RouteView, Snapshot};
use crate::dialect::Dialect;
use crate::finding::Failure;
use crate::head::Head;
use crate::resource::{
    Action, ClusterSpecifier, Forward, VirtualHost, WeightedClusters, WeightedRandom,
};
use crate::route::{
    Chosen, ClusterChoice, Forwarding, HashContext, RouteTable, RuleTarget, first_value, hash,
    needs_tls,
};

/// What is done with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decision {
    /// It is sent to a cluster.
    Forward {
        /// The route that says so.
        route: RouteRef,
        /// The cluster, which may not exist.
        cluster: ClusterIndex,
    },
    /// It is answered here; see [`RouteView::direct_response`] and [`RouteView::redirect`].
    Respond {
        /// The route that says so.
        route: RouteRef,
    },
    /// Nothing takes it.
    Fail(NoRoute),
}

impl Decision {
    /// The route that was chosen, whatever became of the request there.
    pub fn route(&self) -> Option<RouteRef> {
        match *self {
            Self::Forward { route, .. } | Self::Respond { route } => Some(route),
            Self::Fail(
                NoRoute::Cluster(route)
                | NoRoute::NonForwarding(route)
                | NoRoute::Unsupported(route),
            ) => Some(route),
            Self::Fail(NoRoute::Configuration | NoRoute::VirtualHost | NoRoute::Route) => None,
        }
    }
}

/// Why nothing takes a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoRoute {
    /// The listener or its routes are not known; see [`Snapshot::failure`].
    Configuration,
    /// No virtual host has the authority among its domains.
    VirtualHost,
    /// No route of the virtual host matches.
    Route,
    /// The route that matches leaves the cluster to a header, which is not there or names none.
    Cluster(RouteRef),
    /// The route that matches is for a server's own handlers.
    NonForwarding(RouteRef),
    /// The action of the route that matches is not honoured.
    Unsupported(RouteRef),
}

impl fmt::Display for NoRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Configuration => "configuration is not complete",
            Self::VirtualHost => "no virtual host has this authority",
            Self::Route => "no route matches",
            Self::Cluster(_) => "no cluster has the name that a header gives",
            Self::NonForwarding(_) => "the matching route does not forward",
            Self::Unsupported(_) => "the matching route has an action that is not supported",
        })
    }
}

/// A route in a Snapshot, by position. Only of use with the Snapshot that gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteRef {
    pub(super) root: RootIndex,
    pub(super) chosen: Chosen,
    /// What the route leads to, kept because a request asks for it several times.
    pub(super) target: u32,
    pub(super) weighted: Option<u32>,
}

impl RouteRef {
    /// Stands for the redirect that a virtual host asks for before any of its routes.
    const TLS_REDIRECT: u32 = u32::MAX;

    /// The positions of the virtual host, the route and the weighted choice.
    pub(super) fn place(self) -> (u32, u32, Option<u32>) {
        (self.chosen.host, self.chosen.route, self.weighted)
    }
}

impl<A: Attach> Snapshot<A> {
    /// What is done with a request for `root`.
    ///
    /// The virtual host is the one of the request's authority in HTTP, else and in gRPC that of
    /// the target. `random` decides weighted choices (`random % total`, as Envoy) and fractions.
    ///
    /// # Panics
    /// When `root` is of another Snapshot and out of range here.
    #[inline(always)]
    pub fn route(
        &self,
        root: RootIndex,
        head: &Head<'_>,
        dialect: Dialect,
        random: u64,
    ) -> Decision {
        let program = self.program(root);
        let Some(table) = &program.table else { return Decision::Fail(NoRoute::Configuration) };
        let Some(host) = program.select_host(head, dialect) else {
            return Decision::Fail(NoRoute::VirtualHost);
        };
        if needs_tls(table.configuration.virtual_hosts[host as usize].require_tls, head) {
            let target = RouteRef::TLS_REDIRECT;
            let chosen = Chosen { host, route: target };
            return Decision::Respond { route: RouteRef { root, chosen, target, weighted: None } };
        }
        let Some(chosen) = table.route(host, head, dialect, random) else {
            return Decision::Fail(NoRoute::Route);
        };
        let target = table.target_of(chosen);
        let mut route = RouteRef { root, chosen, target, weighted: None };
        match table.target(target) {
            Some(RuleTarget::Forward { clusters: ClusterChoice::One(cluster), .. }) => {
                Decision::Forward { route, cluster: *cluster }
            }
            Some(RuleTarget::Forward { clusters: ClusterChoice::Weighted(ends), .. }) => {
                let at = ClusterChoice::choose(ends, random);
                route.weighted = Some(at as u32);
                Decision::Forward { route, cluster: ends[at].1 }
            }
            Some(RuleTarget::Forward { clusters, .. }) => {
                self.forward_by_request(route, clusters, head, dialect, random)
            }
            Some(RuleTarget::Local) | None => self.local(route),
        }
    }

    fn local(&self, route: RouteRef) -> Decision {
        match &self.view(route).route.action {
            Action::DirectResponse(_) | Action::Redirect(_) => Decision::Respond { route },
            Action::NonForwarding => Decision::Fail(NoRoute::NonForwarding(route)),
            Action::Forward(_) | Action::Unsupported(_) => {
                Decision::Fail(NoRoute::Unsupported(route))
            }
        }
    }

    /// The cluster where a header names it, or the number that chooses is the request's.
    #[inline(never)]
    fn forward_by_request(
        &self,
        mut route: RouteRef,
        clusters: &ClusterChoice,
        head: &Head<'_>,
        dialect: Dialect,
        random: u64,
    ) -> Decision {
        let Action::Forward(forward) = &self.view(route).route.action else {
            return self.local(route);
        };
        let (known, header) = match (&forward.cluster, clusters) {
            (ClusterSpecifier::Weighted(list), ClusterChoice::WeightedByRequest(ends)) => {
                let random = weighted_random(forward, list, head, dialect, random);
                let at = ClusterChoice::choose(ends, random);
                route.weighted = Some(at as u32);
                (ends[at].1, list.clusters[at].cluster_header.as_ref())
            }
            (ClusterSpecifier::Header(header), _) => (None, Some(header)),
            _ => (None, None),
        };
        let named = header.and_then(|name| str::from_utf8(first_value(name, head)?).ok());
        let named = named.and_then(|name| self.clusters.find(name).map(ClusterIndex));
        match known.or(named) {
            Some(cluster) => Decision::Forward { route, cluster },
            None => Decision::Fail(NoRoute::Cluster(route)),
        }
    }

    /// The virtual host that a request falls to, whether or not one of its routes takes it.
    ///
    /// # Panics
    /// When `root` is of another Snapshot and out of range here.
    pub fn virtual_host(
        &self,
        root: RootIndex,
        head: &Head<'_>,
        dialect: Dialect,
    ) -> Option<&VirtualHost> {
        let program = self.program(root);
        let host = program.select_host(head, dialect)?;
        program.table.as_ref()?.configuration.virtual_hosts.get(host as usize)
    }

    /// What every request on a route that forwards asks of it; `None` for other routes. All else
    /// is in its [`view`](Self::view), which takes longer to look up.
    ///
    /// # Panics
    /// As [`view`](Self::view).
    #[inline(always)]
    pub fn forwarding(&self, route: RouteRef) -> Option<&Forwarding> {
        let table = self.program(route.root).table.as_ref();
        match table.expect("a route was chosen from this table").target(route.target)? {
            RuleTarget::Forward { forwarding, .. } => Some(forwarding),
            RuleTarget::Local => None,
        }
    }

    /// The details of a route that was chosen.
    ///
    /// # Panics
    /// When `route` is of another Snapshot and out of range here.
    pub fn view(&self, route: RouteRef) -> RouteView<'_> {
        let program = self.program(route.root);
        let table = program.table.as_ref().expect("a route was chosen from this table");
        let configuration = &table.configuration;
        let host = &configuration.virtual_hosts[route.chosen.host as usize];
        let chosen = match route.chosen.route {
            RouteRef::TLS_REDIRECT => &*TLS_REDIRECT,
            at => &host.routes[at as usize],
        };
        let target = table.target(route.target).unwrap_or(&RuleTarget::Local);
        RouteView {
            listener: &program.name,
            configuration,
            host,
            route: chosen,
            target,
            weighted: route.weighted,
            max_stream_duration: table.max_stream_duration,
        }
    }

    /// Whether the listener of a root and its routes are known.
    pub fn has_routes(&self, root: RootIndex) -> bool {
        self.program(root).table.is_some()
    }

    /// Why the configuration of a root is missing, or older than it should be.
    pub fn failure(&self, root: RootIndex) -> Option<&Arc<Failure>> {
        let root = &self.program(root).root;
        root.listener.failure.as_ref().or(root.routes.failure.as_ref())
    }

    /// Why a cluster does not exist, or is older than it should be.
    pub fn cluster_failure(&self, cluster: ClusterIndex) -> Option<&Arc<Failure>> {
        self.clusters.get(cluster.0)?.failure.as_ref()
    }

    /// The name a cluster's index stands for.
    pub fn cluster_name(&self, cluster: ClusterIndex) -> &str {
        self.clusters.name(cluster.0).map_or("", |name| name)
    }

    #[inline]
    pub(super) fn program(&self, root: RootIndex) -> &RootProgram {
        self.roots.get(root.0).expect("the index came from this Snapshot")
    }
}

impl RootProgram {
    #[inline(always)]
    pub(super) fn select_host(&self, head: &Head<'_>, dialect: Dialect) -> Option<u32> {
        let table = self.table.as_ref()?;
        if dialect == Dialect::Grpc {
            return self.host_of_target(table, head);
        }
        if let Some(header) = &table.configuration.vhost_header {
            // Where there is one host for all names, nobody asks for any (Envoy).
            if let Some(host) = table.only_host() {
                return Some(host);
            }
            return table.host(head.headers.get(header)?.to_str().ok()?);
        }
        // The target's own authority is what most requests carry, and its host is known.
        let own = match head.authority {
            "" => None,
            authority if authority == &*self.root.authority => self.host,
            authority => table.host(authority),
        };
        own.or_else(|| self.host_of_target(table, head))
    }

    /// Two targets may share a listener, which is known for the authority of one of them.
    #[inline(always)]
    fn host_of_target(&self, table: &RouteTable, head: &Head<'_>) -> Option<u32> {
        if head.target.is_empty() || head.target == &*self.root.authority {
            return self.host;
        }
        table.host(head.target)
    }
}

/// The number that chooses among weighted clusters.
fn weighted_random(
    forward: &Forward,
    list: &WeightedClusters,
    head: &Head<'_>,
    dialect: Dialect,
    random: u64,
) -> u64 {
    let given = match &list.random {
        WeightedRandom::Drawn => None,
        WeightedRandom::Header(name) => {
            let mut values = head.headers.get_all(name).iter();
            let only = values.next().filter(|_| values.next().is_none());
            only.and_then(|value| value.to_str().ok()?.trim().parse().ok())
        }
        WeightedRandom::HashPolicy => {
            let context = HashContext { dialect, channel: random, random };
            hash(&forward.hash_policy, head, &context, |_| {})
        }
    };
    given.unwrap_or(random)
}

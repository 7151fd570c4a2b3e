use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::{Attach, ClusterIndex, RootIndex, RootProgram, Snapshot};
use crate::dialect::Dialect;
use crate::finding::Failure;
use crate::head::Head;
use crate::resource::{
    Action, ClusterSpecifier, Forward, HeaderMutation, RetryPolicy, Route, RouteConfiguration,
    VirtualHost, WeightedCluster,
};
use crate::route::{Chosen, Forwarding, RuleTarget};

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
    /// It is answered here; see [`RouteView::direct_response`].
    Respond {
        /// The route that says so.
        route: RouteRef,
    },
    /// Nothing takes it.
    Fail(NoRoute),
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
            Self::NonForwarding(_) => "the matching route does not forward",
            Self::Unsupported(_) => "the matching route has an action that is not supported",
        })
    }
}

/// A route in a Snapshot, by position. Only of use with the Snapshot that gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteRef {
    root: RootIndex,
    chosen: Chosen,
    weighted: Option<u32>,
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
        let Some(chosen) = table.route(host, head, dialect, random) else {
            return Decision::Fail(NoRoute::Route);
        };
        let mut route = RouteRef { root, chosen, weighted: None };
        match table.target(chosen) {
            RuleTarget::Forward { clusters, .. } => {
                let (cluster, weighted) = clusters.choose(random);
                route.weighted = weighted;
                Decision::Forward { route, cluster }
            }
            RuleTarget::Local => match &self.view(route).route.action {
                Action::DirectResponse { .. } => Decision::Respond { route },
                Action::NonForwarding => Decision::Fail(NoRoute::NonForwarding(route)),
                Action::Forward(_) | Action::Unsupported(_) => {
                    Decision::Fail(NoRoute::Unsupported(route))
                }
            },
        }
    }

    /// What every request on a route that forwards asks of it; `None` for other routes. All else
    /// is in its [`view`](Self::view), which takes longer to look up.
    ///
    /// # Panics
    /// As [`view`](Self::view).
    #[inline]
    pub fn forwarding(&self, route: RouteRef) -> Option<&Forwarding> {
        let table = self.program(route.root).table.as_ref();
        match table.expect("a route was chosen from this table").target(route.chosen) {
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
        let chosen = &host.routes[route.chosen.route as usize];
        let target = table.target(route.chosen);
        RouteView {
            listener: &program.name,
            configuration,
            host,
            route: chosen,
            target,
            weighted: route.weighted,
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
    #[inline]
    pub(super) fn select_host(&self, head: &Head<'_>, dialect: Dialect) -> Option<u32> {
        // The target's own authority is what most requests carry, and its host is known.
        let of_target = dialect == Dialect::Grpc
            || head.authority.is_empty()
            || head.authority == &*self.root.authority;
        if of_target {
            return self.host;
        }
        self.table.as_ref().and_then(|table| table.host(head.host())).or(self.host)
    }
}

/// A route that was chosen, with what surrounds it.
#[derive(Clone, Copy, Debug)]
pub struct RouteView<'s> {
    /// The listener's name.
    pub listener: &'s str,
    /// The route configuration.
    pub configuration: &'s RouteConfiguration,
    /// The virtual host.
    pub host: &'s VirtualHost,
    /// The route.
    pub route: &'s Route,
    target: &'s RuleTarget,
    weighted: Option<u32>,
}

impl<'s> RouteView<'s> {
    fn forward(&self) -> Option<&'s Forward> {
        match &self.route.action {
            Action::Forward(forward) => Some(forward),
            _ => None,
        }
    }

    fn weighted(&self) -> Option<&'s WeightedCluster> {
        match (&self.forward()?.cluster, self.weighted) {
            (ClusterSpecifier::Weighted(list), Some(at)) => list.get(at as usize),
            _ => None,
        }
    }

    /// The weight of the cluster that was chosen, and the sum of all.
    pub(super) fn weight(&self) -> Option<(u32, u64)> {
        let ClusterSpecifier::Weighted(list) = &self.forward()?.cluster else { return None };
        let total = list.iter().map(|cluster| u64::from(cluster.weight)).sum();
        self.weighted().map(|cluster| (cluster.weight, total))
    }

    fn forwarding(&self) -> Option<&'s Forwarding> {
        match self.target {
            RuleTarget::Forward { forwarding, .. } => Some(forwarding),
            RuleTarget::Local => None,
        }
    }

    /// The longest time a request may take on this route.
    pub fn timeout(&self, dialect: Dialect) -> Option<Duration> {
        self.forwarding()?.timeout(dialect)
    }

    /// The retry policy: the route's, else the virtual host's.
    pub fn retry_policy(&self) -> Option<&'s RetryPolicy> {
        self.forwarding()?.retry_policy()
    }

    /// The authority to send upstream instead of the request's.
    pub fn host_rewrite(&self) -> Option<&'s HeaderValue> {
        let weighted = self.weighted().and_then(|cluster| cluster.host_rewrite.as_ref());
        weighted.or(self.forward()?.host_rewrite.as_ref())
    }

    /// The answer of a [`Decision::Respond`].
    pub fn direct_response(&self) -> Option<(StatusCode, &'s Bytes)> {
        match &self.route.action {
            Action::DirectResponse { status, body } => Some((*status, body)),
            _ => None,
        }
    }

    /// Makes the configured changes of request headers: weighted cluster, route, virtual host,
    /// route configuration, so that the last one wins where they overwrite (Envoy).
    pub fn change_request_headers(&self, headers: &mut HeaderMap) {
        let weighted = self.weighted().map(|cluster| &cluster.request_headers);
        let levels = [
            weighted,
            Some(&self.route.request_headers),
            Some(&self.host.request_headers),
            Some(&self.configuration.request_headers),
        ];
        apply(levels, headers);
    }

    /// Makes the configured changes of response headers, in the same order.
    pub fn change_response_headers(&self, headers: &mut HeaderMap) {
        let weighted = self.weighted().map(|cluster| &cluster.response_headers);
        let levels = [
            weighted,
            Some(&self.route.response_headers),
            Some(&self.host.response_headers),
            Some(&self.configuration.response_headers),
        ];
        apply(levels, headers);
    }

    /// Whether headers of requests or responses are changed at any level.
    pub fn changes_headers(&self) -> bool {
        self.forwarding().is_some_and(Forwarding::changes_headers)
    }
}

fn apply(levels: [Option<&HeaderMutation>; 4], headers: &mut HeaderMap) {
    for level in levels.into_iter().flatten() {
        level.apply(headers);
    }
}

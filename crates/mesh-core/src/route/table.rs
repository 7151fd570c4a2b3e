use std::sync::Arc;
use std::time::Duration;

use super::compile::Compiler;
use super::conditions::{conditions_mismatch, path_matches};
use super::hosts::{HostIndex, without_port};
use super::paths::PathIndex;
use super::tree::walk;
use crate::dialect::Dialect;
use crate::head::Head;
use crate::resource::{
    HttpConnectionManager, Name, RetryPolicy, RouteConfiguration, RouteMatch, RoutingPriority,
    TlsRequirement,
};
use crate::snapshot::ClusterIndex;

/// A RouteConfiguration, compiled.
#[derive(Debug)]
pub(crate) struct RouteTable {
    pub(crate) configuration: Arc<RouteConfiguration>,
    hosts: HostIndex,
    pub(super) programs: Box<[HostProgram]>,
    /// What routes lead to, each once: thousands of routes may do the same.
    targets: Box<[RuleTarget]>,
    /// Every cluster that is referred to, once.
    pub(crate) clusters: Vec<(Name, ClusterIndex)>,
    /// The listener's.
    pub(crate) max_stream_duration: Option<Duration>,
}

#[derive(Debug)]
pub(super) struct HostProgram {
    /// Whether nothing comes before the routes: no tree, no redirect to TLS.
    pub(super) direct: bool,
    pub(super) paths: PathIndex,
    /// By route, the position of what it leads to.
    pub(super) rules: Box<[u32]>,
}

/// What a route leads to.
#[derive(Debug)]
pub(crate) enum RuleTarget {
    /// A cluster.
    Forward { clusters: ClusterChoice, forwarding: Forwarding },
    /// An answer, or a failure, made here.
    Local,
}

/// What every forwarded request asks of its route, worked out beforehand.
#[derive(Debug)]
pub struct Forwarding {
    pub(super) timeouts: [Option<Duration>; 2],
    pub(super) retry_policy: Option<Arc<RetryPolicy>>,
    pub(super) priority: RoutingPriority,
    pub(super) changes_headers: bool,
    pub(super) rewrites_host: bool,
    pub(super) rewrites_path: bool,
    pub(super) mirrors: bool,
    pub(super) hashes: bool,
    pub(super) reads_grpc_timeout: bool,
    pub(super) redirects: bool,
    pub(super) auto_host_rewrite: bool,
    pub(super) hedges: bool,
    pub(super) plain: bool,
    pub(super) limited: bool,
    pub(super) idle_timeout: Option<Duration>,
}

impl Forwarding {
    /// Whether nothing is made of a request, and nothing of it counts but its route, its priority,
    /// its timeout and its retry policy.
    #[inline]
    pub fn is_plain(&self) -> bool {
        self.plain
    }

    /// Whether a request in plain HTTP, or an attempt at one, may have a limit of time on this route.
    #[inline]
    pub fn is_limited(&self) -> bool {
        self.limited
    }

    /// The longest time a request may take on this route.
    #[inline]
    pub fn timeout(&self, dialect: Dialect) -> Option<Duration> {
        self.timeouts[dialect as usize]
    }

    /// The retry policy: the route's, else the virtual host's.
    #[inline]
    pub fn retry_policy(&self) -> Option<&RetryPolicy> {
        self.retry_policy.as_deref()
    }

    /// The limits of the cluster that requests count against.
    #[inline]
    pub fn priority(&self) -> RoutingPriority {
        self.priority
    }

    /// Whether headers of requests or responses are changed at any level.
    #[inline]
    pub fn changes_headers(&self) -> bool {
        self.changes_headers
    }

    /// Whether anything is made of a request's head or of its answer's.
    #[inline]
    pub fn changes(&self) -> bool {
        self.changes_headers || self.rewrites_host || self.rewrites_path
    }

    /// Whether redirects of the upstream may be followed here.
    #[inline]
    pub fn redirects(&self) -> bool {
        self.redirects
    }

    /// Whether the authority is rewritten, by the route or by one of its clusters.
    #[inline]
    pub fn rewrites_host(&self) -> bool {
        self.rewrites_host
    }

    /// Whether the path is rewritten.
    #[inline]
    pub fn rewrites_path(&self) -> bool {
        self.rewrites_path
    }

    /// Whether requests may be copied: see
    /// [`RouteView::mirrors`](crate::snapshot::RouteView::mirrors).
    #[inline]
    pub fn mirrors(&self) -> bool {
        self.mirrors
    }

    /// Whether requests may have a hash: see
    /// [`RouteView::hash`](crate::snapshot::RouteView::hash).
    #[inline]
    pub fn hashes(&self) -> bool {
        self.hashes
    }

    /// Whether the authority becomes the name of the endpoint.
    #[inline]
    pub fn auto_host_rewrite(&self) -> bool {
        self.auto_host_rewrite
    }

    /// How long nothing may move: the route's `idle_timeout`, else the listener's
    /// `stream_idle_timeout`; `None` for no limit.
    #[inline]
    pub fn idle_timeout(&self) -> Option<Duration> {
        self.idle_timeout
    }

    /// Whether an attempt that takes longer than its time goes on while another one begins, in plain
    /// HTTP.
    #[inline]
    pub fn hedges(&self) -> bool {
        self.hedges
    }

    /// Whether something is made of a request once its endpoint is known, in plain HTTP.
    #[inline]
    pub fn is_late(&self) -> bool {
        self.auto_host_rewrite || self.idle_timeout.is_some()
    }

    /// Whether the limits of plain HTTP depend on the request's `grpc-timeout`: see
    /// [`RouteView::timeouts`](crate::snapshot::RouteView::timeouts).
    #[inline]
    pub fn reads_grpc_timeout(&self) -> bool {
        self.reads_grpc_timeout
    }
}

/// One cluster, a choice, or what only the request can say.
#[derive(Debug)]
pub(crate) enum ClusterChoice {
    One(ClusterIndex),
    /// Ends of the intervals in list order, and whose they are.
    Weighted(Box<[(u64, ClusterIndex)]>),
    /// As [`Weighted`](Self::Weighted), where headers or hashes have a say; clusters that headers
    /// name have no index.
    WeightedByRequest(Box<[(u64, Option<ClusterIndex>)]>),
    /// A header names it.
    Header,
}

/// A route that was chosen, by position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chosen {
    pub(crate) host: u32,
    pub(crate) route: u32,
}

impl RouteTable {
    pub(crate) fn compile(
        configuration: Arc<RouteConfiguration>,
        manager: &HttpConnectionManager,
        index_of: impl FnMut(&Name) -> ClusterIndex,
    ) -> Self {
        let mut compiler = Compiler::new(manager, index_of);
        let hosts = configuration.virtual_hosts.iter();
        let programs = hosts.map(|host| HostProgram {
            direct: host.matcher.is_none() && host.require_tls == TlsRequirement::None,
            // The routes of a tree's actions are each looked at on their own.
            paths: match host.matcher {
                Some(_) => PathIndex::Scan,
                None => PathIndex::new(&host.routes),
            },
            rules: compiler.rules(&configuration, host),
        });
        let programs = programs.collect();
        let hosts = HostIndex::new(&configuration.virtual_hosts);
        let (targets, clusters) = compiler.finish();
        let max_stream_duration = manager.max_stream_duration;
        Self { configuration, hosts, programs, targets, clusters, max_stream_duration }
    }

    /// The host of all names, where no other has one.
    pub(crate) fn only_host(&self) -> Option<u32> {
        self.hosts.only()
    }

    /// The virtual host of `authority`.
    pub(crate) fn host(&self, authority: &str) -> Option<u32> {
        let ignore_port = self.configuration.ignore_port_in_host_matching;
        self.hosts.find(if ignore_port { without_port(authority) } else { authority })
    }

    /// The first route of `host` that takes the request.
    #[inline(always)]
    pub(crate) fn route(
        &self,
        host: u32,
        head: &Head<'_>,
        dialect: Dialect,
        random: u64,
    ) -> Option<Chosen> {
        let virtual_host = &self.configuration.virtual_hosts[host as usize];
        if self.configuration.is_unusual() || virtual_host.matcher.is_some() {
            return self.route_unusual(host, head, dialect, random);
        }
        let holds =
            |matcher: &RouteMatch| conditions_mismatch(matcher, head, dialect, random).is_none();
        let paths = &self.programs[host as usize].paths;
        let route = paths.first(&virtual_host.routes, head.path(), holds)?;
        Some(Chosen { host, route })
    }

    /// As [`route`](Self::route), where the path is not matched as it is, or a tree comes before
    /// the routes.
    #[inline(never)]
    fn route_unusual(
        &self,
        host: u32,
        head: &Head<'_>,
        dialect: Dialect,
        random: u64,
    ) -> Option<Chosen> {
        let virtual_host = &self.configuration.virtual_hosts[host as usize];
        let holds =
            |matcher: &RouteMatch| conditions_mismatch(matcher, head, dialect, random).is_none();
        let path = self.configuration.matched_path(head.path());
        let route = match &virtual_host.matcher {
            Some(tree) => {
                let mut range = walk(tree, head, dialect)?;
                range.find(|route| {
                    let matcher = &virtual_host.routes[*route as usize].matcher;
                    path_matches(matcher, &path) && holds(matcher)
                })?
            }
            None => {
                let paths = &self.programs[host as usize].paths;
                paths.first(&virtual_host.routes, &path, holds)?
            }
        };
        Some(Chosen { host, route })
    }

    /// The position of what a route leads to.
    #[inline(always)]
    pub(crate) fn target_of(&self, chosen: Chosen) -> u32 {
        self.programs[chosen.host as usize].rules[chosen.route as usize]
    }

    #[inline(always)]
    pub(crate) fn target(&self, position: u32) -> Option<&RuleTarget> {
        self.targets.get(position as usize)
    }
}

impl ClusterChoice {
    /// The same, and whose it is.
    #[inline(always)]
    pub(crate) fn choose_first(
        ends: &[(u64, ClusterIndex)],
        random: u64,
    ) -> Option<(u32, ClusterIndex)> {
        let point = random % ends.last()?.0.max(1);
        for (at, (end, cluster)) in (0..).zip(ends) {
            if point < *end {
                return Some((at, *cluster));
            }
        }
        None
    }

    /// Which interval of a weighted choice: `random % total`, as Envoy.
    #[inline(always)]
    pub(crate) fn choose<C>(ends: &[(u64, C)], random: u64) -> usize {
        let total = ends.last().map_or(1, |(end, _)| *end);
        let point = random % total;
        // In order and not by halves: lists are short, and the first is often the longest share.
        // What has no share at the end is never reached.
        ends.iter().position(|(end, _)| point < *end).unwrap_or_default()
    }
}

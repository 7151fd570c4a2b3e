use std::sync::Arc;
use std::time::Duration;

use super::conditions::conditions_mismatch;
use super::hosts::HostIndex;
use super::paths::PathIndex;
use crate::dialect::Dialect;
use crate::head::Head;
use crate::resilience;
use crate::resource::{
    Action, ClusterSpecifier, Forward, HeaderMutation, HttpConnectionManager, Name, RetryPolicy,
    Route, RouteConfiguration, RouteMatch, VirtualHost,
};
use crate::snapshot::ClusterIndex;

/// A RouteConfiguration, compiled.
#[derive(Debug)]
pub(crate) struct RouteTable {
    pub(crate) configuration: Arc<RouteConfiguration>,
    hosts: HostIndex,
    programs: Box<[HostProgram]>,
    /// Every cluster that is referred to, once.
    pub(crate) clusters: Vec<(Name, ClusterIndex)>,
}

#[derive(Debug)]
struct HostProgram {
    paths: PathIndex,
    rules: Box<[RuleTarget]>,
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
    timeouts: [Option<Duration>; 2],
    retry_policy: Option<Arc<RetryPolicy>>,
    changes_headers: bool,
    rewrites_host: bool,
}

impl Forwarding {
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

    /// Whether headers of requests or responses are changed at any level.
    #[inline]
    pub fn changes_headers(&self) -> bool {
        self.changes_headers
    }

    /// Whether the authority is rewritten, by the route or by one of its clusters.
    #[inline]
    pub fn rewrites_host(&self) -> bool {
        self.rewrites_host
    }
}

/// One cluster or a weighted choice.
#[derive(Debug)]
pub(crate) enum ClusterChoice {
    One(ClusterIndex),
    /// Ends of the intervals in list order, and whose they are.
    Weighted(Box<[(u64, ClusterIndex)]>),
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
        mut index_of: impl FnMut(&Name) -> ClusterIndex,
    ) -> Self {
        let mut clusters: Vec<(Name, ClusterIndex)> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        let mut note = |name: &Name| {
            let index = index_of(name);
            if seen.insert(index) {
                clusters.push((name.clone(), index));
            }
            index
        };
        let hosts = configuration.virtual_hosts.iter().map(|host| HostProgram {
            paths: PathIndex::new(&host.routes),
            rules: rules(&configuration, host, manager, &mut note),
        });
        let programs = hosts.collect();
        let hosts = HostIndex::new(&configuration.virtual_hosts);
        Self { configuration, hosts, programs, clusters }
    }

    /// The virtual host of `authority`.
    pub(crate) fn host(&self, authority: &str) -> Option<u32> {
        self.hosts.find(authority)
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
        let program = &self.programs[host as usize];
        let routes = &self.configuration.virtual_hosts[host as usize].routes;
        let holds =
            |matcher: &RouteMatch| conditions_mismatch(matcher, head, dialect, random).is_none();
        let route = program.paths.first(routes, head.path(), holds)?;
        Some(Chosen { host, route })
    }

    #[inline]
    pub(crate) fn target(&self, chosen: Chosen) -> &RuleTarget {
        &self.programs[chosen.host as usize].rules[chosen.route as usize]
    }
}

impl ClusterChoice {
    /// The cluster and, of a weighted choice, which of the list: `random % total`, as Envoy.
    #[inline]
    pub(crate) fn choose(&self, random: u64) -> (ClusterIndex, Option<u32>) {
        match self {
            Self::One(cluster) => (*cluster, None),
            Self::Weighted(ends) => {
                let total = ends.last().map_or(1, |(end, _)| *end);
                let point = random % total;
                let at = ends.partition_point(|(end, _)| *end <= point);
                (ends[at].1, Some(at as u32))
            }
        }
    }
}

fn rules(
    configuration: &RouteConfiguration,
    host: &VirtualHost,
    manager: &HttpConnectionManager,
    index_of: &mut impl FnMut(&Name) -> ClusterIndex,
) -> Box<[RuleTarget]> {
    let above = changes(&configuration.request_headers, &configuration.response_headers)
        || changes(&host.request_headers, &host.response_headers);
    let rule = |route: &Route| {
        let changes = above || changes(&route.request_headers, &route.response_headers);
        target(&route.action, host, manager, changes, index_of)
    };
    host.routes.iter().map(rule).collect()
}

fn changes(request: &HeaderMutation, response: &HeaderMutation) -> bool {
    !request.is_empty() || !response.is_empty()
}

fn target(
    action: &Action,
    host: &VirtualHost,
    manager: &HttpConnectionManager,
    mut changes_headers: bool,
    index_of: &mut impl FnMut(&Name) -> ClusterIndex,
) -> RuleTarget {
    let Action::Forward(forward) = action else { return RuleTarget::Local };
    let mut rewrites_host = forward.host_rewrite.is_some();
    let clusters = match &forward.cluster {
        ClusterSpecifier::Cluster(name) => ClusterChoice::One(index_of(name)),
        ClusterSpecifier::Weighted(list) => {
            let mut end = 0;
            let ends = list.iter().map(|cluster| {
                end += u64::from(cluster.weight);
                changes_headers |= changes(&cluster.request_headers, &cluster.response_headers);
                rewrites_host |= cluster.host_rewrite.is_some();
                (end, index_of(&cluster.name))
            });
            let ends: Box<[_]> = ends.collect();
            // Decoding refuses a sum of 0; by code it can still be made, and means no route.
            if ends.last().is_none_or(|(total, _)| *total == 0) {
                return RuleTarget::Local;
            }
            ClusterChoice::Weighted(ends)
        }
    };
    let timeouts = timeouts(forward, manager);
    let retry_policy = forward.retry_policy.as_ref().or(host.retry_policy.as_ref()).cloned();
    let forwarding = Forwarding { timeouts, retry_policy, changes_headers, rewrites_host };
    RuleTarget::Forward { clusters, forwarding }
}

fn timeouts(forward: &Forward, manager: &HttpConnectionManager) -> [Option<Duration>; 2] {
    [Dialect::Http, Dialect::Grpc]
        .map(|dialect| resilience::route_timeout(forward, manager.max_stream_duration, dialect))
}

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use foldhash::fast::FixedState;

use super::table::{ClusterChoice, Forwarding, RuleTarget};
use crate::dialect::Dialect;
use crate::resilience;
use crate::resource::{
    Action, ClusterSpecifier, Forward, HeaderMutation, HostRewrite, HttpConnectionManager, Name,
    Route, RouteConfiguration, VirtualHost, WeightedClusters, WeightedRandom,
};
use crate::snapshot::ClusterIndex;

/// Works out what routes lead to, each target once.
pub(super) struct Compiler<'c, F> {
    manager: &'c HttpConnectionManager,
    index_of: F,
    targets: Vec<RuleTarget>,
    known: HashMap<Key, u32, FixedState>,
    clusters: Vec<(Name, ClusterIndex)>,
    seen: HashSet<ClusterIndex, FixedState>,
}

/// What makes two routes lead to the same: the action, by its address, and what the levels above
/// add to it.
#[derive(PartialEq, Eq, Hash)]
struct Key {
    forward: usize,
    host_policy: usize,
    changes_headers: bool,
    mirrors: bool,
    host_hedges: bool,
}

/// The position of the target of routes that do not forward.
const LOCAL: u32 = 0;

impl<'c, F: FnMut(&Name) -> ClusterIndex> Compiler<'c, F> {
    pub(super) fn new(manager: &'c HttpConnectionManager, index_of: F) -> Self {
        Self {
            manager,
            index_of,
            targets: vec![RuleTarget::Local],
            known: HashMap::default(),
            clusters: Vec::new(),
            seen: HashSet::default(),
        }
    }

    pub(super) fn rules(
        &mut self,
        configuration: &RouteConfiguration,
        host: &VirtualHost,
    ) -> Box<[u32]> {
        let changes = changes(&configuration.request_headers, &configuration.response_headers)
            || changes(&host.request_headers, &host.response_headers)
            || host.include_request_attempt_count
            || host.include_attempt_count_in_response;
        let mirrors = !configuration.request_mirror_policies.is_empty()
            || !host.request_mirror_policies.is_empty();
        let rule = |route: &Route| {
            let changes =
                changes || route.request_headers.is_some() || route.response_headers.is_some();
            self.rule(&route.action, host, changes, mirrors)
        };
        host.routes.iter().map(rule).collect()
    }

    fn rule(&mut self, action: &Action, host: &VirtualHost, changes: bool, mirrors: bool) -> u32 {
        let Action::Forward(forward) = action else { return LOCAL };
        let key = Key {
            forward: Arc::as_ptr(forward) as usize,
            host_policy: host
                .retry_policy
                .as_ref()
                .map_or(0, |policy| Arc::as_ptr(policy) as usize),
            changes_headers: changes,
            mirrors,
            host_hedges: host.hedge_on_per_try_timeout,
        };
        if let Some(known) = self.known.get(&key) {
            return *known;
        }
        let number = match self.target(forward, host, changes, mirrors) {
            Some(target) => {
                self.targets.push(target);
                (self.targets.len() - 1) as u32
            }
            None => LOCAL,
        };
        self.known.insert(key, number);
        number
    }

    /// `None` when no weight is left to choose by.
    fn target(
        &mut self,
        forward: &Forward,
        host: &VirtualHost,
        changes: bool,
        mirrors: bool,
    ) -> Option<RuleTarget> {
        let mut changes_headers = changes;
        let mut rewrites_host = forward.host_rewrite.is_some() || forward.append_x_forwarded_host;
        let clusters = match &forward.cluster {
            ClusterSpecifier::Cluster(name) => ClusterChoice::One(self.note(name)),
            ClusterSpecifier::Header(_) => ClusterChoice::Header,
            ClusterSpecifier::Weighted(weighted) => {
                for cluster in &weighted.clusters {
                    changes_headers |=
                        self::changes(&cluster.request_headers, &cluster.response_headers);
                    rewrites_host |= cluster.host_rewrite.is_some();
                }
                self.weighted(weighted)?
            }
        };
        let timeouts = [Dialect::Http, Dialect::Grpc].map(|dialect| {
            resilience::route_timeout(forward, self.manager.max_stream_duration, dialect)
        });
        let idle = forward.idle_timeout.or(self.manager.stream_idle_timeout);
        let mut forwarding = Forwarding {
            timeouts,
            retry_policy: forward.retry_policy.as_ref().or(host.retry_policy.as_ref()).cloned(),
            priority: forward.priority,
            changes_headers,
            rewrites_host,
            rewrites_path: forward.path_rewrite.is_some(),
            mirrors: mirrors || !forward.request_mirror_policies.is_empty(),
            hashes: !forward.hash_policy.is_empty(),
            reads_grpc_timeout: forward.max_grpc_timeout.is_some()
                || forward.max_stream_duration.grpc_timeout_header_max.is_some(),
            redirects: forward.internal_redirect.is_some(),
            auto_host_rewrite: matches!(forward.host_rewrite, Some(HostRewrite::Endpoint)),
            hedges: forward.hedge_on_per_try_timeout.unwrap_or(host.hedge_on_per_try_timeout),
            plain: false,
            limited: false,
            idle_timeout: idle.filter(|idle| !idle.is_zero()),
        };
        forwarding.limited =
            forwarding.timeout(Dialect::Http).is_some() || forwarding.retry_policy.is_some();
        forwarding.plain = !(forwarding.changes()
            || forwarding.redirects
            || forwarding.mirrors
            || forwarding.is_late()
            || forwarding.hedges
            || forwarding.hashes
            || forwarding.reads_grpc_timeout);
        Some(RuleTarget::Forward { clusters, forwarding })
    }

    fn weighted(&mut self, weighted: &WeightedClusters) -> Option<ClusterChoice> {
        let mut end = 0;
        let ends = weighted.clusters.iter().map(|cluster| {
            end += u64::from(cluster.weight);
            let is_named = cluster.cluster_header.is_none();
            (end, is_named.then(|| self.note(&cluster.name)))
        });
        let ends: Box<[_]> = ends.collect();
        // Decoding refuses a sum of 0; by code it can still be made, and means no route.
        if end == 0 {
            return None;
        }
        let named: Option<Box<[_]>> =
            ends.iter().map(|(end, cluster)| Some((*end, (*cluster)?))).collect();
        Some(match (named, &weighted.random) {
            (Some(ends), WeightedRandom::Drawn) => ClusterChoice::Weighted(ends),
            _ => ClusterChoice::WeightedByRequest(ends),
        })
    }

    fn note(&mut self, name: &Name) -> ClusterIndex {
        let index = (self.index_of)(name);
        if self.seen.insert(index) {
            self.clusters.push((name.clone(), index));
        }
        index
    }

    pub(super) fn finish(self) -> (Box<[RuleTarget]>, Vec<(Name, ClusterIndex)>) {
        (self.targets.into(), self.clusters)
    }
}

fn changes(request: &HeaderMutation, response: &HeaderMutation) -> bool {
    !request.is_empty() || !response.is_empty()
}

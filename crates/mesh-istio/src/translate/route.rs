//! RDS: a target's virtual host and its routes.

use mesh_pb::envoy::config::route::v3 as xds;
use mesh_pb::envoy::config::route::v3::route::Action;
use mesh_pb::envoy::config::route::v3::route_action::{
    ClusterSpecifier, HashPolicy, HostRewriteSpecifier, MaxStreamDuration,
};
use mesh_pb::envoy::config::route::v3::weighted_cluster::{
    ClusterWeight, cluster_weight::HostRewriteSpecifier as ClusterHostRewrite,
};

use super::answer::answer;
use super::headers::Changes;
use super::matcher::{is_catch_all, route_match};
use super::metadata::{config_path, istio, string};
use super::name::ClusterName;
use super::policy::Policies;
use super::retry::retry_policy;
use super::target::{Target, virtual_service};
use super::{duration, selection, traffic, uint32};
use crate::host::resolve;
use crate::kind::{
    Destination, Duration, HttpMatch, HttpRoute, HttpRouteDestination, VirtualService, is_claim,
    selects,
};
use crate::model::{Model, Rule, Service};
use crate::node::{Mode, Node};

pub(super) fn route_configuration(
    model: &Model,
    node: &Node,
    name: &str,
    parsed: &ClusterName<'_>,
) -> Option<xds::RouteConfiguration> {
    let target = Target::named(model, node, parsed)?;
    let domains = domains(model, node, &target);
    Some(xds::RouteConfiguration {
        name: name.to_owned(),
        virtual_hosts: vec![virtual_host(model, node, &target, domains)?],
        ..Default::default()
    })
}

/// A target's, for requests to `domains`; none for a rule alone that has no route for this client.
pub(super) fn virtual_host(
    model: &Model,
    node: &Node,
    target: &Target<'_>,
    domains: Vec<String>,
) -> Option<xds::VirtualHost> {
    let ruled = virtual_service(model, node, &target.host)
        .map(|rule| Router { model, node, target, rule }.routes());
    // A rule without a route for this client and port is as good as none.
    let routes = match ruled.filter(|routes| !routes.is_empty()) {
        Some(routes) => routes,
        None => target.service.map(|_| vec![default_route(model, target, node)])?,
    };
    let name = format!("{}:{}", target.host, target.port);
    Some(xds::VirtualHost { name, domains, routes, ..Default::default() })
}

/// The names by which clients of this namespace call the target, each with and without the port.
fn domains(model: &Model, node: &Node, target: &Target<'_>) -> Vec<String> {
    let names = names(model, node, target);
    let mut domains = Vec::with_capacity(names.len() * 2);
    for name in names {
        for domain in [format!("{name}:{}", target.port), name] {
            // A virtual host that repeats a domain is refused.
            if !domains.contains(&domain) {
                domains.push(domain);
            }
        }
    }
    domains
}

/// The names by which clients of this namespace call the target.
pub(super) fn names(model: &Model, node: &Node, target: &Target<'_>) -> Vec<String> {
    let host = target.host.as_str();
    let mut names = vec![host.to_owned()];
    if !host.starts_with('*') && host.parse::<std::net::IpAddr>().is_err() {
        names.push(format!("{host}."));
    }
    let suffix = format!(".svc.{}", model.options().domain);
    if let Some((name, namespace)) = host.strip_suffix(&suffix).and_then(|s| s.split_once('.')) {
        if namespace == node.namespace {
            names.push(name.to_owned());
        }
        names.push(format!("{name}.{namespace}"));
        names.push(format!("{name}.{namespace}.svc"));
    }
    let addresses = target.service.iter().flat_map(|service| &service.addresses);
    names.extend(addresses.map(|address| match address.contains(':') {
        true => format!("[{address}]"),
        false => address.clone(),
    }));
    names
}

/// Without a rule: everything to the service itself, on Istio's defaults.
fn default_route(model: &Model, target: &Target<'_>, node: &Node) -> xds::Route {
    let host = target.service.map_or(target.host.as_str(), |service| service.host.as_str());
    let cluster = ClusterName { port: target.port, subset: "", host }.to_string();
    let service = target.service.map(|service| &**service);
    let hash_policy = service.and_then(|service| hashed_by(model, node, service, target.port, ""));
    let hash_policy: Vec<_> = hash_policy.into_iter().collect();
    let mut action = xds::RouteAction {
        cluster_specifier: Some(ClusterSpecifier::Cluster(cluster)),
        retry_policy: retry_policy(None, !hash_policy.is_empty()),
        hash_policy,
        ..Default::default()
    };
    set_timeout(&mut action, None, node);
    xds::Route {
        name: DEFAULT_NAME.to_owned(),
        r#match: Some(route_match(None)),
        action: Some(Action::Route(action)),
        ..Default::default()
    }
}

struct Router<'a> {
    model: &'a Model,
    node: &'a Node,
    target: &'a Target<'a>,
    rule: &'a Rule<VirtualService>,
}

impl Router<'_> {
    /// The rule's routes in order, one for each match, up to one that every request takes.
    fn routes(&self) -> Vec<xds::Route> {
        let mut routes = Vec::new();
        for http in &self.rule.spec.http {
            let matches: Vec<Option<&HttpMatch>> = if http.r#match.is_empty() {
                vec![None]
            } else {
                http.r#match.iter().filter(|rule| self.concerns(rule)).map(Some).collect()
            };
            for rule in matches {
                let Some(route) = self.route(http, rule) else { continue };
                let last = route.r#match.as_ref().is_some_and(is_catch_all);
                routes.push(route);
                if last {
                    return routes;
                }
            }
        }
        routes
    }

    /// Whether a match can hold for this client on this port; these parts are no part of a request.
    fn concerns(&self, rule: &HttpMatch) -> bool {
        let port = rule.port == 0 || rule.port == u32::from(self.target.port);
        // Nobody checks tokens yet, so no request has the claim asked for.
        if !port || rule.headers.keys().any(|name| is_claim(name)) {
            return false;
        }
        if !rule.gateways.is_empty() {
            // Istio looks at the source only when no gateways are named.
            return rule.gateways.iter().any(|gateway| gateway == "mesh");
        }
        let namespace = &rule.source_namespace;
        (namespace.is_empty() || *namespace == self.node.namespace)
            && selects(&rule.source_labels, &self.node.labels)
    }

    /// None for a route that only delegates: that is not yet honoured, and as with a delegate that
    /// is not there, the request goes on to the next route.
    fn route(&self, http: &HttpRoute, rule: Option<&HttpMatch>) -> Option<xds::Route> {
        let mut changes = Changes::new(&http.headers);
        let action = match answer(http, self.target.port) {
            Some(action) => action,
            None => Action::Route(self.forward(http, &mut changes)?),
        };
        let path = config_path("virtual-service", &self.rule.namespace, &self.rule.name);
        Some(xds::Route {
            name: route_name(&http.name, rule.map(|rule| rule.name.as_str())),
            r#match: Some(route_match(rule)),
            metadata: Some(istio([("config", string(path))])),
            request_headers_to_add: changes.request_add,
            request_headers_to_remove: changes.request_remove,
            response_headers_to_add: changes.response_add,
            response_headers_to_remove: changes.response_remove,
            action: Some(action),
            typed_per_filter_config: traffic::filters(http, self.node.mode),
            ..Default::default()
        })
    }

    /// To the destinations; `changes` are then those of the route and of its only destination.
    fn forward(&self, http: &HttpRoute, changes: &mut Changes) -> Option<xds::RouteAction> {
        if let Some(rewrite) = http.rewrite.as_ref().filter(|it| !it.authority.is_empty()) {
            changes.host_rewrite = Some(rewrite.authority.clone());
        }
        let specifier = match http.route.as_slice() {
            [] => return None,
            [only] => {
                changes.then(Changes::new(&only.headers));
                ClusterSpecifier::Cluster(self.cluster(only.destination.as_ref()?))
            }
            several => ClusterSpecifier::WeightedClusters(self.weighted(several)),
        };
        let hash_policy = self.hash_policies(http);
        let mut action = xds::RouteAction {
            cluster_specifier: Some(specifier),
            retry_policy: retry_policy(http.retries.as_ref(), !hash_policy.is_empty()),
            hash_policy,
            request_mirror_policies: traffic::mirrors(http, |to| self.cluster(to)),
            host_rewrite_specifier: changes
                .host_rewrite
                .take()
                .map(HostRewriteSpecifier::HostRewriteLiteral),
            ..Default::default()
        };
        if let Some(rewrite) = &http.rewrite {
            traffic::rewrite(rewrite, &mut action);
        }
        set_timeout(&mut action, http.timeout, self.node);
        Some(action)
    }

    /// What the policies of the destinations hash, each once.
    fn hash_policies(&self, http: &HttpRoute) -> Vec<HashPolicy> {
        let mut policies = Vec::new();
        for destination in http.route.iter().filter_map(|entry| entry.destination.as_ref()) {
            let (_, service, port) = self.resolved(destination);
            let hashed = |service: &Service| {
                hashed_by(self.model, self.node, service, port, &destination.subset)
            };
            let policy = service.and_then(hashed);
            policies.extend(policy.filter(|policy| !policies.contains(policy)));
        }
        policies
    }

    fn weighted(&self, entries: &[HttpRouteDestination]) -> xds::WeightedCluster {
        let clusters = entries.iter().filter_map(|entry| {
            // Weights were checked not to be negative; one of 0 takes no part.
            let weight = u32::try_from(entry.weight).ok().filter(|weight| *weight > 0)?;
            let changes = Changes::new(&entry.headers);
            Some(ClusterWeight {
                name: self.cluster(entry.destination.as_ref()?),
                weight: uint32(weight),
                request_headers_to_add: changes.request_add,
                request_headers_to_remove: changes.request_remove,
                response_headers_to_add: changes.response_add,
                response_headers_to_remove: changes.response_remove,
                host_rewrite_specifier: changes
                    .host_rewrite
                    .map(ClusterHostRewrite::HostRewriteLiteral),
                ..Default::default()
            })
        });
        xds::WeightedCluster { clusters: clusters.collect(), ..Default::default() }
    }

    fn cluster(&self, destination: &Destination) -> String {
        let (host, service, port) = self.resolved(destination);
        let host = service.map_or(host.as_str(), |service| service.host.as_str());
        ClusterName { port, subset: &destination.subset, host }.to_string()
    }

    /// The host, its service, and the port: the one named, else the service's only one, else the
    /// one the client dialled.
    fn resolved(&self, destination: &Destination) -> (String, Option<&Service>, u16) {
        let domain = &self.model.options().domain;
        let host = resolve(&destination.host, &self.rule.namespace, domain);
        let service = self.model.registry().lookup(&host, &self.node.namespace);
        let service = service.map(|service| &**service);
        let explicit = destination.port.and_then(|port| u16::try_from(port.number).ok());
        let port = explicit.or_else(|| service.and_then(only_port));
        let port = port.unwrap_or(self.target.port);
        (host, service, port)
    }
}

/// What requests to a subset of a service are hashed by, if they are.
fn hashed_by(
    model: &Model,
    node: &Node,
    service: &Service,
    port: u16,
    subset: &str,
) -> Option<HashPolicy> {
    let policies = Policies::lookup(model, node, service);
    let subset = policies.subset(subset);
    let balancer = policies.effective(port, subset).load_balancer?;
    selection::hash_policy(balancer.consistent_hash.as_ref()?)
}

fn only_port(service: &Service) -> Option<u16> {
    match service.ports.as_slice() {
        [only] => Some(only.number),
        _ => None,
    }
}

fn route_name(route: &str, rule: Option<&str>) -> String {
    match (route, rule.unwrap_or_default()) {
        ("", "") => DEFAULT_NAME.to_owned(),
        (route, "") => route.to_owned(),
        ("", rule) => rule.to_owned(),
        (route, rule) => format!("{route}.{rule}"),
    }
}

/// No timeout unless one is set. gRPC reads `max_stream_duration` alone. Envoy lets `timeout` count
/// only where that one is not set, and then caps the deadline of gRPC calls by `max_grpc_timeout`,
/// which is what Istio sends.
#[allow(deprecated, reason = "what took its place would switch `timeout` off")]
fn set_timeout(action: &mut xds::RouteAction, timeout: Option<Duration>, node: &Node) {
    let timeout = duration(timeout.map(|timeout| timeout.0).unwrap_or_default());
    action.timeout = Some(timeout);
    let unlimited = timeout == mesh_pb::google::protobuf::Duration::default();
    if node.mode == Mode::Grpc || unlimited {
        let max_stream_duration = Some(timeout);
        let stream = MaxStreamDuration { max_stream_duration, ..Default::default() };
        action.max_stream_duration = Some(stream);
    } else {
        action.max_grpc_timeout = Some(timeout);
    }
}

/// Istio's name for a route without one.
const DEFAULT_NAME: &str = "default";

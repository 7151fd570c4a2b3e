//! CDS: a service's port, or one subset of it.

use mesh_pb::envoy::config::cluster::v3::circuit_breakers::{Thresholds, thresholds};
use mesh_pb::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, DiscoveryType, DnsLookupFamily, EdsClusterConfig, LbPolicy,
};
use mesh_pb::envoy::config::cluster::v3::{CircuitBreakers, Cluster};
use mesh_pb::envoy::config::core::v3::Metadata;
use mesh_pb::envoy::r#type::v3::Percent;

use super::listener::ads;
use super::metadata::{config_path, istio, list, object, string};
use super::name::ClusterName;
use super::policy::{Effective, Policies};
use super::{connections, duration, endpoints, selection, tls, uint32};
use crate::kind::{RetryBudget, SimpleLoadBalancer};
use crate::model::{AppProtocol, Lookup, Model, Service};
use crate::node::{Mode, Node};

pub(super) fn cluster(
    model: &Model,
    node: &Node,
    name: &str,
    parsed: &ClusterName<'_>,
) -> Option<Cluster> {
    let service = model.registry().lookup(parsed.host, &node.namespace)?;
    let port = service.ports.get(service.port_index(parsed.port)?)?;
    if service.host != parsed.host {
        return None;
    }
    let policies = Policies::lookup(model, node, service);
    let subset = match parsed.subset {
        "" => None,
        name => Some(policies.subset(name)?),
    };
    let policy = policies.effective(parsed.port, subset);
    let tcp = policy.connection_pool.and_then(|pool| pool.tcp.as_ref());
    let timeout = tcp.and_then(|tcp| tcp.connect_timeout).map(|timeout| timeout.0);
    let http2 = port.protocol == AppProtocol::Http2;
    let mut made = Cluster {
        name: name.to_owned(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into())),
        eds_cluster_config: Some(EdsClusterConfig {
            eds_config: Some(ads()),
            service_name: name.to_owned(),
        }),
        connect_timeout: Some(duration(timeout.unwrap_or(CONNECT_TIMEOUT))),
        lb_policy: lb_policy(&policy, node.mode).into(),
        circuit_breakers: circuit_breakers(&policy, node.mode),
        transport_socket: policy.tls.map(|it| tls::socket(model, node.mode, it, service, parsed)),
        metadata: Some(metadata(service, &policies, parsed.subset)),
        ..Default::default()
    };
    connections::options(policy.connection_pool, http2, node.mode, &mut made);
    if endpoints::is_looked_up(service, node) {
        dns(model, node, (service, name, parsed), &mut made);
    }
    if let Some(balancer) = policy.load_balancer {
        match &balancer.consistent_hash {
            Some(hash) => selection::hashing(hash, &mut made),
            None if node.mode != Mode::Grpc => selection::slow_start(balancer, &mut made),
            None => {}
        }
    }
    // As istiod: a client of gRPC's own gets neither.
    if node.mode != Mode::Grpc {
        selection::outliers(&policy, &mut made);
    }
    Some(made)
}

/// The endpoints are found by the client, by the names that it is told.
#[allow(deprecated, reason = "istiod still says it this way")]
fn dns(
    model: &Model,
    node: &Node,
    (service, name, parsed): (&Service, &str, &ClusterName<'_>),
    made: &mut Cluster,
) {
    let assignment = endpoints::assignment(model, node, name, parsed);
    let groups = assignment.iter().flat_map(|assignment| &assignment.endpoints);
    let count: usize = groups.map(|group| group.lb_endpoints.len()).sum();
    // gRPC knows no other (A37), and with any other number of endpoints it is refused.
    let is_logical = (service.lookup == Lookup::One || node.mode == Mode::Grpc) && count == 1;
    let kind = if is_logical { DiscoveryType::LogicalDns } else { DiscoveryType::StrictDns };
    made.cluster_discovery_type = Some(ClusterDiscoveryType::Type(kind.into()));
    made.eds_cluster_config = None;
    made.load_assignment = assignment;
    made.dns_refresh_rate = Some(duration(DNS_REFRESH_RATE));
    // A service that listens on one family alone is found by names that stand for both.
    made.set_dns_lookup_family(DnsLookupFamily::V4Preferred);
    made.respect_dns_ttl = node.mode == Mode::Envoy;
}

fn lb_policy(policy: &Effective<'_>, mode: Mode) -> LbPolicy {
    match policy.load_balancer.and_then(|balancer| balancer.simple) {
        Some(SimpleLoadBalancer::Random) => LbPolicy::Random,
        Some(SimpleLoadBalancer::RoundRobin) => LbPolicy::RoundRobin,
        Some(SimpleLoadBalancer::LeastRequest | SimpleLoadBalancer::LeastConn) => {
            LbPolicy::LeastRequest
        }
        None | Some(SimpleLoadBalancer::Unspecified | SimpleLoadBalancer::Passthrough) => {
            match mode {
                Mode::Native | Mode::Envoy => LbPolicy::LeastRequest,
                Mode::Grpc => LbPolicy::RoundRobin,
            }
        }
    }
}

/// Istio lifts Envoy's limits (1,024, and 3 retries) unless a rule sets them. To gRPC clients it
/// sends the limit on requests only, and only if there is one.
fn circuit_breakers(policy: &Effective<'_>, mode: Mode) -> Option<CircuitBreakers> {
    let pool = policy.connection_pool;
    let tcp = pool.and_then(|pool| pool.tcp.as_ref());
    let http = pool.and_then(|pool| pool.http.as_ref());
    let limit = |value: Option<i32>| {
        value.and_then(|value| u32::try_from(value).ok()).filter(|value| *value > 0)
    };
    let requests = limit(http.map(|http| http.http2_max_requests));
    let thresholds = match mode {
        Mode::Grpc => Thresholds { max_requests: uint32(requests?), ..Default::default() },
        Mode::Native | Mode::Envoy => {
            let or_none = |value: Option<i32>| uint32(limit(value).unwrap_or(u32::MAX));
            Thresholds {
                max_connections: or_none(tcp.map(|tcp| tcp.max_connections)),
                max_pending_requests: or_none(http.map(|http| http.http1_max_pending_requests)),
                max_requests: uint32(requests.unwrap_or(u32::MAX)),
                max_retries: or_none(http.map(|http| http.max_retries)),
                retry_budget: policy.retry_budget.map(retry_budget),
                ..Default::default()
            }
        }
    };
    Some(CircuitBreakers { thresholds: vec![thresholds], ..Default::default() })
}

/// Istio's defaults are Envoy's.
fn retry_budget(budget: &RetryBudget) -> thresholds::RetryBudget {
    thresholds::RetryBudget {
        budget_percent: budget.percent.map(|value| Percent { value }),
        min_retry_concurrency: budget.min_retry_concurrency.and_then(uint32),
        ..Default::default()
    }
}

fn metadata(service: &Service, policies: &Policies<'_>, subset: &str) -> Metadata {
    let described = object([
        ("host", string(&service.host)),
        ("name", string(&service.name)),
        ("namespace", string(&service.namespace)),
    ]);
    let mut metadata = istio([("services", list(vec![described]))]);
    let istio = metadata.filter_metadata.values_mut().next().expect("made with one entry");
    if let Some(rule) = policies.rule() {
        let path = config_path("destination-rule", &rule.namespace, &rule.name);
        istio.fields.insert("config".to_owned(), string(path));
    }
    if !subset.is_empty() {
        istio.fields.insert("subset".to_owned(), string(subset));
    }
    metadata
}

/// Istio's mesh default.
pub(super) const CONNECT_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);
/// Istio's mesh default (`dnsRefreshRate`).
const DNS_REFRESH_RATE: std::time::Duration = std::time::Duration::from_secs(60);

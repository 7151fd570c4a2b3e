use std::net::{Ipv4Addr, SocketAddr};

use mesh_pb::envoy::config::cluster::v3::circuit_breakers::Thresholds;
use mesh_pb::envoy::config::cluster::v3::circuit_breakers::thresholds::RetryBudget;
use mesh_pb::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, DiscoveryType, EdsClusterConfig, LbPolicy,
};
use mesh_pb::envoy::config::cluster::v3::{CircuitBreakers, Cluster, OutlierDetection};
use mesh_pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use mesh_pb::envoy::config::core::v3::socket_address::PortSpecifier;
use mesh_pb::envoy::config::core::v3::{
    Address, AggregatedConfigSource, ConfigSource, Locality, SocketAddress, address,
};
use mesh_pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use mesh_pb::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints,
};
use mesh_pb::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use mesh_pb::envoy::extensions::upstreams::http::v3::http_protocol_options::explicit_http_config::ProtocolConfig;
use mesh_pb::envoy::extensions::upstreams::http::v3::http_protocol_options::{
    ExplicitHttpConfig, UpstreamProtocolOptions,
};
use mesh_pb::envoy::r#type::v3::Percent;
use mesh_pb::google::protobuf::{Any, Duration, UInt32Value};
use mesh_pb::type_url;

use super::any;

/// Where a cluster's endpoints are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Addresses<'a> {
    /// This many that nothing connects to.
    Invented(u16),
    /// These.
    Given(&'a [SocketAddr]),
}

impl Addresses<'_> {
    fn list(self) -> Vec<SocketAddr> {
        // Above the ports of services; 10,000 of them fit below 65,536.
        const FIRST: u16 = 9_000;
        match self {
            Self::Invented(count) => {
                (0..count).map(|at| (Ipv4Addr::LOCALHOST, FIRST + at).into()).collect()
            }
            Self::Given(addresses) => addresses.to_vec(),
        }
    }
}

/// A cluster whose endpoints come by EDS.
pub(crate) fn cluster(name: &str) -> Any {
    let source = ConfigSourceSpecifier::Ads(AggregatedConfigSource {});
    let source = ConfigSource { config_source_specifier: Some(source), ..Default::default() };
    let eds = EdsClusterConfig { eds_config: Some(source), service_name: String::new() };
    let cluster = Cluster { eds_cluster_config: Some(eds), ..of_type(name, DiscoveryType::Eds) };
    any(type_url::CLUSTER, &cluster)
}

/// A cluster with its endpoints in it, which speak HTTP/2 or HTTP/1.1.
pub(crate) fn fixed_cluster(name: &str, addresses: Addresses<'_>, is_http2: bool) -> Cluster {
    let mut cluster = Cluster {
        load_assignment: Some(load_assignment(name, addresses)),
        ..of_type(name, DiscoveryType::Static)
    };
    if is_http2 {
        let explicit = ExplicitHttpConfig {
            protocol_config: Some(ProtocolConfig::Http2ProtocolOptions(Default::default())),
        };
        let options = HttpProtocolOptions {
            upstream_protocol_options: Some(UpstreamProtocolOptions::ExplicitHttpConfig(explicit)),
            ..Default::default()
        };
        // Envoy looks them up under the message's name.
        let key = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions".to_owned();
        let options = any(type_url::HTTP_PROTOCOL_OPTIONS, &options);
        cluster.typed_extension_protocol_options.insert(key, options);
    }
    cluster
}

fn of_type(name: &str, discovery: DiscoveryType) -> Cluster {
    let thresholds = Thresholds {
        // More than any load here has in flight: the breaker counts and never opens.
        max_requests: Some(UInt32Value { value: 100_000 }),
        // A fifth of the requests in flight, three at least.
        retry_budget: Some(RetryBudget {
            budget_percent: Some(Percent { value: 20.0 }),
            min_retry_concurrency: Some(UInt32Value { value: 3 }),
            ..Default::default()
        }),
        ..Default::default()
    };
    Cluster {
        name: name.to_owned(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(discovery.into())),
        connect_timeout: Some(Duration { seconds: 5, nanos: 0 }),
        lb_policy: LbPolicy::LeastRequest.into(),
        circuit_breakers: Some(CircuitBreakers {
            thresholds: vec![thresholds],
            ..Default::default()
        }),
        // Five failures in a row eject: counted for every answer, and here none fails.
        outlier_detection: Some(OutlierDetection {
            consecutive_5xx: Some(UInt32Value { value: 5 }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// The endpoints of a cluster.
pub(crate) fn assignment(name: &str, addresses: Addresses<'_>) -> Any {
    any(type_url::CLUSTER_LOAD_ASSIGNMENT, &load_assignment(name, addresses))
}

fn load_assignment(name: &str, addresses: Addresses<'_>) -> ClusterLoadAssignment {
    let locality = LocalityLbEndpoints {
        locality: Some(Locality { region: "here".to_owned(), ..Default::default() }),
        lb_endpoints: addresses.list().into_iter().map(endpoint).collect(),
        load_balancing_weight: Some(UInt32Value { value: 1 }),
        ..Default::default()
    };
    ClusterLoadAssignment {
        cluster_name: name.to_owned(),
        endpoints: vec![locality],
        ..Default::default()
    }
}

fn endpoint(at: SocketAddr) -> LbEndpoint {
    let endpoint = Endpoint { address: Some(address(at)), ..Default::default() };
    LbEndpoint { host_identifier: Some(HostIdentifier::Endpoint(endpoint)), ..Default::default() }
}

/// A socket address.
pub(super) fn address(at: SocketAddr) -> Address {
    let socket = SocketAddress {
        address: at.ip().to_string(),
        port_specifier: Some(PortSpecifier::PortValue(at.port().into())),
        ..Default::default()
    };
    Address { address: Some(address::Address::SocketAddress(socket)) }
}

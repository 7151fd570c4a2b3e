//! Clusters that are of no service.

use mesh_pb::envoy::config::cluster::v3::circuit_breakers::Thresholds;
use mesh_pb::envoy::config::cluster::v3::cluster::{ClusterDiscoveryType, DiscoveryType, LbPolicy};
use mesh_pb::envoy::config::cluster::v3::{CircuitBreakers, Cluster};
use mesh_pb::envoy::config::core::v3::{Http1ProtocolOptions, Http2ProtocolOptions};
use mesh_pb::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use mesh_pb::envoy::extensions::upstreams::http::v3::http_protocol_options::{
    UpstreamProtocolOptions, UseDownstreamHttpConfig,
};
use mesh_pb::type_url;

use super::super::cluster::CONNECT_TIMEOUT;
use super::super::connections::HTTP_PROTOCOL_OPTIONS_KEY;
use super::super::{any, duration, uint32};
use super::{BLACK_HOLE, PASSTHROUGH};

/// The cluster of this name, if it is one of these.
pub(in super::super) fn cluster(name: &str) -> Option<Cluster> {
    let kind = match name {
        PASSTHROUGH => DiscoveryType::OriginalDst,
        _ if super::inbound::is_cluster(name) => DiscoveryType::OriginalDst,
        BLACK_HOLE => DiscoveryType::Static,
        _ => return None,
    };
    let cluster = Cluster {
        name: name.to_owned(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(kind.into())),
        connect_timeout: Some(duration(CONNECT_TIMEOUT)),
        ..Default::default()
    };
    if name == BLACK_HOLE {
        return Some(cluster);
    }
    let limits = Thresholds {
        max_connections: uint32(u32::MAX),
        max_pending_requests: uint32(u32::MAX),
        max_requests: uint32(u32::MAX),
        max_retries: uint32(u32::MAX),
        ..Default::default()
    };
    // As it came in, so it goes on: of who is there nothing is known.
    let options = HttpProtocolOptions {
        upstream_protocol_options: Some(UpstreamProtocolOptions::UseDownstreamProtocolConfig(
            UseDownstreamHttpConfig {
                http_protocol_options: Some(Http1ProtocolOptions::default()),
                http2_protocol_options: Some(Http2ProtocolOptions::default()),
                ..Default::default()
            },
        )),
        ..Default::default()
    };
    let options = any(type_url::HTTP_PROTOCOL_OPTIONS, &options);
    Some(Cluster {
        lb_policy: LbPolicy::ClusterProvided.into(),
        circuit_breakers: Some(CircuitBreakers { thresholds: vec![limits], ..Default::default() }),
        typed_extension_protocol_options: [(HTTP_PROTOCOL_OPTIONS_KEY.to_owned(), options)].into(),
        ..cluster
    })
}

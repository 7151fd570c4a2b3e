//! Cluster.

use std::sync::Arc;

use mesh_core::resource::{Cluster, Discovery, Name};
use mesh_pb::envoy::config::cluster::v3 as pb;
use mesh_pb::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, CustomClusterType, DiscoveryType,
};
use mesh_pb::envoy::extensions::clusters::aggregate::v3::ClusterConfig;
use prost::{Message, Name as _};

use super::at::{At, Invalid, not_honoured};
use super::{breakers, common, endpoints, lb_policy, outlier, protocol, tls};

pub(super) fn cluster(at: At<'_>, name: &Name, proto: pb::Cluster) -> Result<Cluster, Invalid> {
    let mut made = Cluster::new(name.clone());
    tls::transport_sockets(at, &proto, &mut made)?;
    (made.lb_policy, made.balancing) = lb_policy::policy(at, &proto)?;
    made.protocol = protocol::protocol(at, &proto)?;
    if let Some(timeout) = &proto.connect_timeout {
        made.connect_timeout = common::positive_duration(at.field("connect_timeout"), timeout)?;
    }
    if let Some(proto) = &proto.circuit_breakers {
        made.circuit_breakers = breakers::circuit_breakers(at.field("circuit_breakers"), proto)?;
    }
    if let Some(proto) = &proto.outlier_detection {
        let at = at.field("outlier_detection");
        made.outlier_detection = Some(Arc::new(outlier::outlier_detection(at, proto)?));
    }
    if !proto.filters.is_empty() {
        return Err(at.field("filters").invalid("is not supported"));
    }
    if let Some(server) = &proto.lrs_server {
        common::ads(at.field("lrs_server"), Some(server))?;
        at.field("lrs_server").finding("is not honoured: load is not reported");
    }
    report(at, &proto);
    made.discovery = discovery(at, name, proto)?;
    made.balancing.refused_by_grpc = made.balancing.refused_by_grpc.or(at.grpc_refusal());
    Ok(made)
}

fn discovery(at: At<'_>, name: &Name, proto: pb::Cluster) -> Result<Discovery, Invalid> {
    let kind = match &proto.cluster_discovery_type {
        Some(ClusterDiscoveryType::Type(kind)) => DiscoveryType::try_from(*kind).ok(),
        Some(ClusterDiscoveryType::ClusterType(custom)) => {
            return aggregate(at.field("cluster_type"), custom);
        }
        None => Some(DiscoveryType::Static),
    };
    match kind {
        Some(DiscoveryType::Eds) => {
            let at = at.field("eds_cluster_config");
            let config = proto.eds_cluster_config.ok_or_else(|| at.invalid("is missing"))?;
            common::ads(at.field("eds_config"), config.eds_config.as_ref())?;
            let service_name = match config.service_name.as_str() {
                "" if name.starts_with("xdstp:") => {
                    return Err(at.field("service_name").invalid("is required by an xdstp name"));
                }
                "" => name.clone(),
                service_name => service_name.into(),
            };
            Ok(Discovery::Eds { service_name })
        }
        Some(DiscoveryType::Static) => {
            let at = at.field("load_assignment");
            let assignment = proto.load_assignment.ok_or_else(|| at.invalid("is missing"))?;
            Ok(Discovery::Static(Arc::new(endpoints::assignment(at, name, assignment)?)))
        }
        Some(kind) => {
            Err(at.field("type").invalid(format!("{} is not supported", kind.as_str_name())))
        }
        None => Err(at.field("type").invalid("unknown value")),
    }
}

/// A cluster of clusters, the one custom type there is (gRFC A37).
fn aggregate(at: At<'_>, custom: &CustomClusterType) -> Result<Discovery, Invalid> {
    let config = custom.typed_config.as_ref();
    let message = config.map_or("", |any| any.type_url.rsplit('/').next().unwrap_or_default());
    if message != ClusterConfig::full_name() {
        return Err(at.invalid(format!("{:?} is not supported", custom.name)));
    }
    let at = at.field("typed_config");
    let bytes = config.map_or(&[][..], |any| &any.value);
    let config = ClusterConfig::decode(bytes)
        .map_err(|error| at.invalid(format!("cannot be read: {error}")))?;
    if config.clusters.is_empty() {
        return Err(at.field("clusters").invalid("is empty"));
    }
    if let Some(empty) = config.clusters.iter().position(String::is_empty) {
        return Err(at.index("clusters", empty).invalid("is empty"));
    }
    let clusters = config.clusters.iter().map(|name| Name::from(name.as_str())).collect();
    Ok(Discovery::Aggregate { clusters })
}

/// Whether it is one, which has a policy of its own.
pub(super) fn is_aggregate(proto: &pb::Cluster) -> bool {
    matches!(proto.cluster_discovery_type, Some(ClusterDiscoveryType::ClusterType(_)))
}

#[allow(deprecated, reason = "older fields are reported as well")]
fn report(at: At<'_>, proto: &pb::Cluster) {
    not_honoured!(
        at,
        proto,
        [
            per_connection_buffer_limit_bytes,
            health_checks,
            max_requests_per_connection,
            upstream_bind_config,
            upstream_connection_options,
            close_connections_on_host_health_failure,
            ignore_health_on_host_removal,
            lrs_report_endpoint_metrics,
            upstream_config,
            preconnect_policy,
            connection_pool_per_downstream_connection,
            queuing_policies,
        ]
    );
}

//! Where a cluster's endpoints come from.

use std::sync::Arc;

use mesh_core::resource::{Discovery, Name};
use mesh_pb::envoy::config::cluster::v3 as pb;
use mesh_pb::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, CustomClusterType, DiscoveryType,
};
use mesh_pb::envoy::extensions::clusters::aggregate::v3::ClusterConfig;
use mesh_pb::envoy::extensions::clusters::dns::v3::DnsCluster;

use super::at::{At, Invalid};
use super::{common, dns, endpoints};

pub(super) fn discovery(
    at: At<'_>,
    name: &Name,
    proto: &pb::Cluster,
) -> Result<Discovery, Invalid> {
    let kind = match &proto.cluster_discovery_type {
        Some(ClusterDiscoveryType::Type(kind)) => DiscoveryType::try_from(*kind).ok(),
        Some(ClusterDiscoveryType::ClusterType(custom)) => {
            return extension(at, name, custom, proto);
        }
        None => Some(DiscoveryType::Static),
    };
    match kind {
        Some(DiscoveryType::Eds) => eds(at.field("eds_cluster_config"), name, proto),
        Some(DiscoveryType::Static) => {
            at.refused_by_grpc("its type is STATIC");
            let at = at.field("load_assignment");
            let assignment = proto.load_assignment.as_ref();
            let assignment = assignment.ok_or_else(|| at.invalid("is missing"))?;
            Ok(Discovery::Static(Arc::new(endpoints::assignment(at, name, assignment)?)))
        }
        Some(DiscoveryType::StrictDns) => {
            at.field("type").refused_by_grpc("its type is STRICT_DNS");
            dns::strict(at, name, proto)
        }
        Some(DiscoveryType::LogicalDns) => dns::logical(at, name, proto),
        Some(DiscoveryType::OriginalDst) => {
            let at = at.field("type");
            at.finding("ORIGINAL_DST has no endpoints where no connection is caught");
            at.refused_by_grpc("its type is ORIGINAL_DST");
            Ok(Discovery::OriginalDestination)
        }
        None => Err(at.field("type").invalid("unknown value")),
    }
}

fn eds(at: At<'_>, name: &Name, proto: &pb::Cluster) -> Result<Discovery, Invalid> {
    let config = proto.eds_cluster_config.as_ref().ok_or_else(|| at.invalid("is missing"))?;
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

/// The custom types there are: a cluster of clusters (gRFC A37), and DNS as Envoy tells it of late.
fn extension(
    at: At<'_>,
    name: &Name,
    custom: &CustomClusterType,
    proto: &pb::Cluster,
) -> Result<Discovery, Invalid> {
    let at_type = at.field("cluster_type");
    let at_config = at_type.field("typed_config");
    match &custom.typed_config {
        Some(any) if common::is_of::<ClusterConfig>(any) => {
            aggregate(at_config, &common::any_of(at_config, any)?)
        }
        Some(any) if common::is_of::<DnsCluster>(any) => {
            at_type.refused_by_grpc("its type is an extension that gRPC lacks");
            dns::extension(at, at_config, name, (&common::any_of(at_config, any)?, proto))
        }
        _ => Err(at_type.invalid(format!("{:?} is not supported", custom.name))),
    }
}

fn aggregate(at: At<'_>, config: &ClusterConfig) -> Result<Discovery, Invalid> {
    if config.clusters.is_empty() {
        return Err(at.field("clusters").invalid("is empty"));
    }
    if let Some(empty) = config.clusters.iter().position(String::is_empty) {
        return Err(at.index("clusters", empty).invalid("is empty"));
    }
    let clusters = config.clusters.iter().map(|name| Name::from(name.as_str())).collect();
    Ok(Discovery::Aggregate { clusters })
}

/// Whether it is a cluster of clusters, which pick by policies of their own.
pub(super) fn is_aggregate(proto: &pb::Cluster) -> bool {
    match &proto.cluster_discovery_type {
        Some(ClusterDiscoveryType::ClusterType(custom)) => {
            !custom.typed_config.as_ref().is_some_and(common::is_of::<DnsCluster>)
        }
        _ => false,
    }
}

/// Whether it has a policy of its own.
pub(super) fn provides_policy(proto: &pb::Cluster) -> bool {
    let original = ClusterDiscoveryType::Type(DiscoveryType::OriginalDst as i32);
    is_aggregate(proto) || proto.cluster_discovery_type == Some(original)
}

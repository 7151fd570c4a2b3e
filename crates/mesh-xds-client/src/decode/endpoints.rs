//! ClusterLoadAssignment.

use std::collections::HashSet;
use std::net::SocketAddr;

use mesh_core::resource::{
    ClusterLoadAssignment, DropOverload, Endpoint, HealthStatus, Locality, LocalityLbEndpoints,
    Name, TRANSPORT_SOCKET_MATCH,
};
use mesh_pb::envoy::config::core::v3::{
    HealthStatus as ProtoHealth, Locality as ProtoLocality, Metadata,
};
use mesh_pb::envoy::config::endpoint::v3 as pb;
use mesh_pb::envoy::config::endpoint::v3::cluster_load_assignment::Policy;
use mesh_pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use mesh_pb::google::protobuf::value::Kind;

use super::address::socket_address;
use super::at::{At, Invalid, not_honoured};
use super::common;
use super::route;

pub(super) fn assignment(
    at: At<'_>,
    name: &Name,
    proto: pb::ClusterLoadAssignment,
) -> Result<ClusterLoadAssignment, Invalid> {
    let mut addresses = HashSet::new();
    let mut places = HashSet::new();
    let mut localities = Vec::with_capacity(proto.endpoints.len());
    for (index, proto) in proto.endpoints.iter().enumerate() {
        let at = at.index("endpoints", index);
        let made = locality(at, proto, &mut addresses)?;
        if !places.insert((made.priority, made.locality.clone())) {
            return Err(at.invalid("repeats a locality of the same priority"));
        }
        localities.push(made);
    }
    check_priorities(at, &localities)?;
    let mut made = ClusterLoadAssignment::new(name.clone(), localities);
    if let Some(policy) = &proto.policy {
        self::policy(at.field("policy"), policy, &mut made)?;
    }
    Ok(made)
}

fn locality(
    at: At<'_>,
    proto: &pb::LocalityLbEndpoints,
    addresses: &mut HashSet<SocketAddr>,
) -> Result<LocalityLbEndpoints, Invalid> {
    if proto.lb_config.is_some() {
        return Err(at.field("lb_config").invalid("is not supported"));
    }
    let place = proto.locality.as_ref().map(locality_name).unwrap_or_default();
    let mut endpoints = Vec::with_capacity(proto.lb_endpoints.len());
    let mut sum = 0_u32;
    for (index, proto) in proto.lb_endpoints.iter().enumerate() {
        let at = at.index("lb_endpoints", index);
        let made = endpoint(at, proto)?;
        if !addresses.insert(made.address) {
            return Err(at.invalid(format!("repeats address {}", made.address)));
        }
        sum = sum.checked_add(made.weight).ok_or_else(|| {
            at.invalid("endpoint weights of the locality add up to over 2^32 - 1")
        })?;
        endpoints.push(made);
    }
    let mut made = LocalityLbEndpoints::new(place, endpoints);
    made.priority = proto.priority;
    made.weight = proto.load_balancing_weight.as_ref().map(|weight| weight.value);
    Ok(made)
}

fn locality_name(proto: &ProtoLocality) -> Locality {
    let name = |text: &str| text.into();
    Locality {
        region: name(&proto.region),
        zone: name(&proto.zone),
        sub_zone: name(&proto.sub_zone),
    }
}

fn endpoint(at: At<'_>, proto: &pb::LbEndpoint) -> Result<Endpoint, Invalid> {
    let host = match &proto.host_identifier {
        Some(HostIdentifier::Endpoint(host)) => host,
        Some(HostIdentifier::EndpointName(_)) => {
            return Err(at.field("endpoint_name").invalid("is not supported"));
        }
        None => return Err(at.field("endpoint").invalid("is missing")),
    };
    let at_host = at.field("endpoint");
    not_honoured!(at_host, host, [health_check_config, additional_addresses]);
    let address = socket_address(at_host.field("address"), host.address.as_ref())?;
    let mut made = Endpoint::new(address);
    made.health = health(proto.health_status);
    made.hostname = host.hostname.as_str().into();
    made.hash_key = proto.metadata.as_ref().and_then(hash_key);
    made.metadata = route::metadata(proto.metadata.as_ref())
        .filter(|metadata| KEPT.iter().any(|key| metadata.fields.contains_key(*key)));
    if let Some(weight) = &proto.load_balancing_weight {
        if weight.value == 0 {
            return Err(at.field("load_balancing_weight").invalid("must be at least 1"));
        }
        made.weight = weight.value;
    }
    Ok(made)
}

/// A value that is not known is no promise of health.
fn health(value: i32) -> HealthStatus {
    match ProtoHealth::try_from(value) {
        Ok(ProtoHealth::Unknown) => HealthStatus::Unknown,
        Ok(ProtoHealth::Healthy) => HealthStatus::Healthy,
        Ok(ProtoHealth::Draining) => HealthStatus::Draining,
        Ok(ProtoHealth::Timeout) => HealthStatus::Timeout,
        Ok(ProtoHealth::Degraded) => HealthStatus::Degraded,
        Ok(ProtoHealth::Unhealthy) | Err(_) => HealthStatus::Unhealthy,
    }
}

/// Priorities go from 0 without a gap, and the weights of each fit together (gRFC A27).
fn check_priorities(at: At<'_>, localities: &[LocalityLbEndpoints]) -> Result<(), Invalid> {
    let mut by_priority: Vec<(u32, u32)> =
        localities.iter().map(|l| (l.priority, l.weight.unwrap_or(0))).collect();
    by_priority.sort_unstable();
    let mut expected = 0;
    let mut sum = 0_u32;
    for (index, (priority, weight)) in by_priority.iter().enumerate() {
        if index > 0 && *priority == expected + 1 {
            expected = *priority;
            sum = 0;
        }
        if *priority != expected {
            let missing = if index == 0 { 0 } else { expected + 1 };
            return Err(at.field("endpoints").invalid(format!("priority {missing} is missing")));
        }
        sum = sum.checked_add(*weight).ok_or_else(|| {
            let text = format!("weights of priority {priority} add up to over 2^32 - 1");
            at.field("endpoints").invalid(text)
        })?;
    }
    Ok(())
}

fn policy(at: At<'_>, proto: &Policy, made: &mut ClusterLoadAssignment) -> Result<(), Invalid> {
    for (index, overload) in proto.drop_overloads.iter().enumerate() {
        let at = at.index("drop_overloads", index);
        if overload.category.is_empty() {
            return Err(at.field("category").invalid("is empty"));
        }
        let percentage = overload.drop_percentage.unwrap_or_default();
        let per_million = common::per_million(at.field("drop_percentage"), &percentage)?;
        let category = overload.category.as_str().into();
        made.drop_overloads.push(DropOverload { category, per_million });
    }
    if let Some(factor) = &proto.overprovisioning_factor {
        if factor.value == 0 {
            return Err(at.field("overprovisioning_factor").invalid("must be at least 1"));
        }
        made.overprovisioning_factor = factor.value;
    }
    if let Some(after) = &proto.endpoint_stale_after {
        common::positive_duration(at.field("endpoint_stale_after"), after)?;
    }
    made.weighted_priority_health = proto.weighted_priority_health;
    not_honoured!(at, proto, [endpoint_stale_after]);
    Ok(())
}

/// The metadata that balancing and retries look at.
const BALANCER: &str = "envoy.lb";
/// All metadata that anybody looks at.
const KEPT: [&str; 2] = [BALANCER, TRANSPORT_SOCKET_MATCH];

/// Metadata `envoy.lb`, `hash_key`: what hashing policies take in place of the address (gRFC A76).
fn hash_key(metadata: &Metadata) -> Option<Name> {
    let fields = metadata.filter_metadata.get(BALANCER)?;
    match fields.fields.get("hash_key")?.kind.as_ref()? {
        Kind::StringValue(key) if !key.is_empty() => Some(key.as_str().into()),
        _ => None,
    }
}

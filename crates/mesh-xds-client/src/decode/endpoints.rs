//! ClusterLoadAssignment.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;

use mesh_core::resource as core;
use mesh_core::resource::{
    ClusterLoadAssignment, DropOverload, Endpoint, HealthStatus, Locality, LocalityLbEndpoints,
    Name, TRANSPORT_SOCKET_MATCH,
};
use mesh_pb::envoy::config::core::v3::address::Address;
use mesh_pb::envoy::config::core::v3::{
    HealthStatus as ProtoHealth, Locality as ProtoLocality, Metadata, Pipe,
};
use mesh_pb::envoy::config::endpoint::v3 as pb;
use mesh_pb::envoy::config::endpoint::v3::cluster_load_assignment::Policy;
use mesh_pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use mesh_pb::google::protobuf::value::Kind;

use prost::Message;

use super::address::socket_address;
use super::addresses::{self, Before, Kept};
use super::at::{At, Invalid, not_honoured};
use super::split::{self, Split};
use super::{common, route};

/// An assignment as it came before: its bytes, and what was made of them.
#[derive(Clone, Copy)]
pub(super) struct Previous<'p> {
    pub(super) bytes: &'p [u8],
    pub(super) value: &'p ClusterLoadAssignment,
}

/// An assignment that is part of a cluster.
pub(super) fn assignment(
    at: At<'_>,
    name: &Name,
    proto: &pb::ClusterLoadAssignment,
) -> Result<ClusterLoadAssignment, Invalid> {
    assignment_of(at, name, &proto.encode_to_vec(), None)
}

/// An assignment from its bytes. Endpoints that were told by the same bytes before are the same.
pub(super) fn assignment_of(
    at: At<'_>,
    name: &Name,
    bytes: &[u8],
    previous: Option<Previous<'_>>,
) -> Result<ClusterLoadAssignment, Invalid> {
    let Split { rest, endpoints } =
        split::split(bytes).map_err(|error| at.invalid(format!("cannot be read: {error}")))?;
    let before = previous.and_then(Before::of);
    let mut reader = Reader::default();
    let mut places = HashSet::new();
    let mut localities = Vec::with_capacity(endpoints.len());
    for (index, (proto, own)) in rest.endpoints.iter().zip(endpoints).enumerate() {
        let at = at.index("endpoints", index);
        let before = before.as_ref().and_then(|before| before.locality(index));
        let made = locality(at, proto, &own, before, &mut reader)?;
        if !places.insert((made.priority, made.locality.clone())) {
            return Err(at.invalid("repeats a locality of the same priority"));
        }
        localities.push(made);
    }
    addresses::check_repetitions(at, &localities, &reader.fresh)?;
    check_priorities(at, &localities)?;
    let mut made = ClusterLoadAssignment::new(name.clone(), localities);
    if let Some(policy) = &rest.policy {
        self::policy(at.field("policy"), policy, &mut made)?;
    }
    Ok(made)
}

fn locality(
    at: At<'_>,
    proto: &pb::LocalityLbEndpoints,
    endpoints: &[&[u8]],
    before: Option<Kept<'_>>,
    reader: &mut Reader,
) -> Result<LocalityLbEndpoints, Invalid> {
    if proto.lb_config.is_some() {
        return Err(at.field("lb_config").invalid("is not supported"));
    }
    // Envoy looks there where an endpoint says nothing, and what is passed over may ask for TLS.
    let metadata = proto.metadata.as_ref();
    if metadata.is_some_and(|it| it.filter_metadata.contains_key(TRANSPORT_SOCKET_MATCH)) {
        let at = at.field("metadata");
        let at = at.key("filter_metadata", TRANSPORT_SOCKET_MATCH);
        return Err(at.invalid("is not supported"));
    }
    let place = proto.locality.as_ref().map(locality_name).unwrap_or_default();
    let place = at.context().occurring().localities.share(&Arc::new(place));
    let mut made = LocalityLbEndpoints::new(place, Vec::with_capacity(endpoints.len()));
    let mut before = before;
    let mut sum = 0_u32;
    for (index, bytes) in endpoints.iter().enumerate() {
        let kept = before.as_mut().and_then(|before| before.take(bytes, endpoints.get(index + 1)));
        let endpoint = match kept {
            Some(endpoint) => endpoint.clone(),
            None => reader.endpoint(at.index("lb_endpoints", index), bytes)?,
        };
        sum = sum.checked_add(endpoint.weight).ok_or_else(|| {
            let text = "endpoint weights of the locality add up to over 2^32 - 1";
            at.index("lb_endpoints", index).invalid(text)
        })?;
        made.endpoints.push(endpoint);
    }
    made.priority = proto.priority;
    made.weight = proto.load_balancing_weight.as_ref().map(|weight| weight.value);
    Ok(made)
}

/// Reads endpoints one after the other.
#[derive(Default)]
struct Reader {
    /// The addresses of those that were read.
    fresh: Vec<SocketAddr>,
    /// The metadata read last: endpoints of a service often have the same.
    metadata: Option<(Metadata, Option<Arc<core::Metadata>>)>,
}

impl Reader {
    fn endpoint(&mut self, at: At<'_>, bytes: &[u8]) -> Result<Endpoint, Invalid> {
        let proto = pb::LbEndpoint::decode(bytes)
            .map_err(|error| at.invalid(format!("cannot be read: {error}")))?;
        let mut made = endpoint(at, &proto)?;
        if let Some(proto) = proto.metadata {
            if let Some(key) = hash_key(&proto) {
                made.further_mut().hash_key = Some(key);
            }
            made.metadata = self.metadata(proto);
        }
        self.fresh.push(made.address());
        Ok(made)
    }

    fn metadata(&mut self, proto: Metadata) -> Option<Arc<core::Metadata>> {
        if let Some((known, made)) = &self.metadata
            && *known == proto
        {
            return made.clone();
        }
        let made = route::metadata(Some(&proto))
            .filter(|metadata| KEPT.iter().any(|key| metadata.fields.contains_key(*key)));
        self.metadata = Some((proto, made.clone()));
        made
    }
}

fn locality_name(proto: &ProtoLocality) -> Locality {
    // Without room of its own where it is empty, as most are.
    let name = |text: &str| if text.is_empty() { Name::default() } else { text.into() };
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
    not_honoured!(at_host, host, [health_check_config]);
    let mut made = match host.address.as_ref().and_then(|address| address.address.as_ref()) {
        Some(Address::Pipe(pipe)) => at_pipe(at_host.field("address").field("pipe"), pipe)?,
        _ => Endpoint::new(socket_address(at_host.field("address"), host.address.as_ref())?),
    };
    let others = host.additional_addresses.iter().enumerate().map(|(index, other)| {
        let at = at_host.index("additional_addresses", index);
        socket_address(at.field("address"), other.address.as_ref())
    });
    let others = others.collect::<Result<Box<[_]>, _>>()?;
    if !others.is_empty() {
        made.further_mut().additional_addresses = others;
    }
    made.health = health(proto.health_status);
    if !host.hostname.is_empty() {
        made.further_mut().hostname = host.hostname.as_str().into();
    }
    if let Some(weight) = &proto.load_balancing_weight {
        if weight.value == 0 {
            return Err(at.field("load_balancing_weight").invalid("must be at least 1"));
        }
        made.weight = weight.value;
    }
    Ok(made)
}

/// Its mode is for who makes it.
fn at_pipe(at: At<'_>, pipe: &Pipe) -> Result<Endpoint, Invalid> {
    if pipe.path.is_empty() {
        return Err(at.field("path").invalid("is empty"));
    }
    if pipe.path.contains('\0') {
        return Err(at.field("path").invalid("holds a zero"));
    }
    Ok(Endpoint::at_pipe(&pipe.path))
}

/// A value that is not known is no promise of health.
pub(super) fn health(value: i32) -> HealthStatus {
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

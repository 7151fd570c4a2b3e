//! Clusters whose endpoints are told by name.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use mesh_core::resource::{
    ClusterLoadAssignment, Discovery, DnsCluster, DnsEndpoint, DnsKind, DnsLookupFamily, Name,
};
use mesh_pb::envoy::config::cluster::v3 as pb;
use mesh_pb::envoy::config::core::v3::address::Address;
use mesh_pb::envoy::config::core::v3::socket_address::PortSpecifier;
use mesh_pb::envoy::config::endpoint::v3 as endpoint_pb;
use mesh_pb::envoy::extensions::clusters::common::dns::v3::DnsLookupFamily as NewFamily;
use mesh_pb::envoy::extensions::clusters::dns::v3 as extension_pb;
use mesh_pb::google::protobuf::Duration as Proto;
use pb::cluster::DnsLookupFamily as Family;
use prost::Message;

use super::at::{At, Invalid, not_honoured};
use super::{common, endpoints};

/// The shortest time between two look-ups of a name, so that no configuration makes a client look
/// up names all the time. Envoy asks for more than 1 ms.
const SHORTEST_REFRESH: Duration = Duration::from_millis(100);

/// The settings of a cluster's look-ups, however they are told.
struct Settings<'p> {
    refresh_rate: Option<&'p Proto>,
    failure: Option<(Option<&'p Proto>, Option<&'p Proto>)>,
    jitter: Option<&'p Proto>,
    family: DnsLookupFamily,
}

pub(super) fn strict(at: At<'_>, name: &Name, proto: &pb::Cluster) -> Result<Discovery, Invalid> {
    cluster(at, at, name, (DnsKind::Strict, proto), &of_cluster(at, proto)?)
}

pub(super) fn logical(at: At<'_>, name: &Name, proto: &pb::Cluster) -> Result<Discovery, Invalid> {
    cluster(at, at, name, (DnsKind::Logical, proto), &of_cluster(at, proto)?)
}

/// `envoy.extensions.clusters.dns.v3.DnsCluster`.
pub(super) fn extension(
    at: At<'_>,
    at_config: At<'_>,
    name: &Name,
    (config, proto): (&extension_pb::DnsCluster, &pb::Cluster),
) -> Result<Discovery, Invalid> {
    let kind = match config.all_addresses_in_single_endpoint {
        true => DnsKind::Logical,
        false => DnsKind::Strict,
    };
    let family = match NewFamily::try_from(config.dns_lookup_family) {
        Ok(NewFamily::Unspecified | NewFamily::Auto) => DnsLookupFamily::Auto,
        Ok(NewFamily::V4Only) => DnsLookupFamily::V4Only,
        Ok(NewFamily::V6Only) => DnsLookupFamily::V6Only,
        Ok(NewFamily::V4Preferred) => DnsLookupFamily::V4Preferred,
        Ok(NewFamily::All) => DnsLookupFamily::All,
        Err(_) => return Err(at_config.field("dns_lookup_family").invalid("unknown value")),
    };
    let failure = config.dns_failure_refresh_rate.as_ref();
    let settings = Settings {
        refresh_rate: config.dns_refresh_rate.as_ref(),
        failure: failure.map(|rate| (rate.base_interval.as_ref(), rate.max_interval.as_ref())),
        jitter: config.dns_jitter.as_ref(),
        family,
    };
    not_honoured!(
        at_config,
        config,
        [respect_dns_ttl, typed_dns_resolver_config, dns_min_refresh_rate]
    );
    cluster(at, at_config, name, (kind, proto), &settings)
}

#[allow(deprecated, reason = "control planes still send these")]
fn of_cluster<'p>(at: At<'_>, proto: &'p pb::Cluster) -> Result<Settings<'p>, Invalid> {
    let family = match Family::try_from(proto.dns_lookup_family) {
        Ok(Family::Auto) => DnsLookupFamily::Auto,
        Ok(Family::V4Only) => DnsLookupFamily::V4Only,
        Ok(Family::V6Only) => DnsLookupFamily::V6Only,
        Ok(Family::V4Preferred) => DnsLookupFamily::V4Preferred,
        Ok(Family::All) => DnsLookupFamily::All,
        Err(_) => return Err(at.field("dns_lookup_family").invalid("unknown value")),
    };
    // The system's resolver tells no times, and is the one there is.
    not_honoured!(
        at,
        proto,
        [
            respect_dns_ttl,
            dns_resolvers,
            use_tcp_for_dns_lookups,
            dns_resolution_config,
            typed_dns_resolver_config,
        ]
    );
    let failure = proto.dns_failure_refresh_rate.as_ref();
    Ok(Settings {
        refresh_rate: proto.dns_refresh_rate.as_ref(),
        failure: failure.map(|rate| (rate.base_interval.as_ref(), rate.max_interval.as_ref())),
        jitter: proto.dns_jitter.as_ref(),
        family,
    })
}

fn cluster(
    at: At<'_>,
    at_settings: At<'_>,
    name: &Name,
    (kind, proto): (DnsKind, &pb::Cluster),
    settings: &Settings<'_>,
) -> Result<Discovery, Invalid> {
    let at_assignment = at.field("load_assignment");
    let assignment = proto.load_assignment.as_ref();
    let assignment = assignment.ok_or_else(|| at_assignment.invalid("is missing"))?;
    let mut made = DnsCluster::of_host(name.clone(), kind, "", 0);
    made.endpoints.clear();
    (made.assignment, made.endpoints) = endpoints(at_assignment, name, kind, assignment)?;
    if let Some(rate) = settings.refresh_rate {
        made.refresh_rate = interval(at_settings.field("dns_refresh_rate"), rate)?;
    }
    if let Some((base, max)) = settings.failure {
        let at = at_settings.field("dns_failure_refresh_rate");
        let at_base = at.field("base_interval");
        let base = interval(at_base, base.ok_or_else(|| at_base.invalid("is missing"))?)?;
        let at = at.field("max_interval");
        let max = max.map(|max| interval(at, max)).transpose()?;
        let max = max.unwrap_or_else(|| base.saturating_mul(10));
        if max < base {
            return Err(at.invalid("is shorter than base_interval"));
        }
        made.failure_refresh_rate = Some((base, max));
    }
    let jitter = common::optional_duration(at_settings.field("dns_jitter"), settings.jitter)?;
    made.jitter = jitter.unwrap_or_default();
    made.lookup_family = settings.family;
    made.key = key(name, assignment, &made);
    made.assignment.name = made.key.clone();
    Ok(Discovery::Dns(Arc::new(made)))
}

fn interval(at: At<'_>, proto: &Proto) -> Result<Duration, Invalid> {
    let interval = common::positive_duration(at, proto)?;
    if interval < SHORTEST_REFRESH {
        at.finding(format!("is not honoured: {SHORTEST_REFRESH:?} is the shortest"));
    }
    Ok(interval.max(SHORTEST_REFRESH))
}

/// The settings in short, after the cluster's name.
fn key(name: &Name, assignment: &endpoint_pb::ClusterLoadAssignment, made: &DnsCluster) -> Name {
    let mut hasher = DefaultHasher::new();
    assignment.encode_to_vec().hash(&mut hasher);
    (made.kind, made.lookup_family, made.refresh_rate).hash(&mut hasher);
    (made.failure_refresh_rate, made.jitter).hash(&mut hasher);
    format!("dns:{name}#{:016x}", hasher.finish()).into()
}

type Named = (ClusterLoadAssignment, Vec<(usize, DnsEndpoint)>);

/// The assignment without its endpoints, and these.
fn endpoints(
    at: At<'_>,
    name: &Name,
    kind: DnsKind,
    proto: &endpoint_pb::ClusterLoadAssignment,
) -> Result<Named, Invalid> {
    let mut hosts = Vec::new();
    let mut bare = proto.clone();
    for (index, locality) in bare.endpoints.iter_mut().enumerate() {
        let at = at.index("endpoints", index);
        for (position, proto) in locality.lb_endpoints.iter_mut().enumerate() {
            let at = at.index("lb_endpoints", position);
            // Told apart by made-up addresses, so that all other rules are those of EDS.
            let placeholder = IpAddr::V6(Ipv6Addr::from_bits(hosts.len() as u128));
            hosts.push(take_host(at, proto, placeholder)?);
        }
    }
    if kind == DnsKind::Logical && (proto.endpoints.len() != 1 || hosts.len() != 1) {
        return Err(at.invalid("must have one locality with one endpoint"));
    }
    let mut assignment = endpoints::assignment(at, name, &bare)?;
    let mut hosts = hosts.into_iter();
    let mut named = Vec::with_capacity(hosts.len());
    for (index, locality) in assignment.localities.iter_mut().enumerate() {
        let endpoints = std::mem::take(&mut locality.endpoints);
        for (mut endpoint, host) in endpoints.into_iter().zip(&mut hosts) {
            if endpoint.hostname().is_empty() {
                endpoint.further_mut().hostname = host.clone();
            }
            named.push((index, DnsEndpoint { host, endpoint }));
        }
    }
    Ok((assignment, named))
}

/// Takes the name out of an endpoint, and puts an address in.
fn take_host(
    at: At<'_>,
    proto: &mut endpoint_pb::LbEndpoint,
    placeholder: IpAddr,
) -> Result<Name, Invalid> {
    use endpoint_pb::lb_endpoint::HostIdentifier;
    let at = at.field("endpoint");
    let Some(HostIdentifier::Endpoint(host)) = &mut proto.host_identifier else {
        return Err(at.invalid("is missing"));
    };
    let at = at.field("address");
    let address = host.address.as_mut().and_then(|address| address.address.as_mut());
    let Some(Address::SocketAddress(socket)) = address else {
        return Err(at.invalid("must be a socket_address"));
    };
    let at = at.field("socket_address");
    if !socket.resolver_name.is_empty() {
        return Err(at.field("resolver_name").invalid("is not supported"));
    }
    common::non_empty_line(at.field("address"), &socket.address)?;
    if !matches!(socket.port_specifier, Some(PortSpecifier::PortValue(_))) {
        return Err(at.invalid("has no port"));
    }
    let name = Name::from(socket.address.as_str());
    socket.address = placeholder.to_string();
    Ok(name)
}

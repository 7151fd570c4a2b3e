//! EDS: where a cluster is answered.

use std::collections::BTreeMap;

use mesh_pb::envoy::config::core::v3::{
    Address, HealthStatus, Locality, Metadata, SocketAddress, address,
    socket_address::PortSpecifier,
};
use mesh_pb::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint as XdsEndpoint, LbEndpoint, LocalityLbEndpoints,
    lb_endpoint::HostIdentifier,
};

use super::metadata::{istio, string, structure};
use super::name::ClusterName;
use super::policy::Policies;
use super::uint32;
use crate::kind::selects;
use crate::model::{Endpoint, Host, Lookup, Model, Service};
use crate::node::{Mode, Node};

/// Whether the clusters of a service hold their endpoints, which the client looks up by name.
///
/// gRPC's own clients look up one name and no more (A37); where there are more, they get what has an
/// address.
pub(super) fn is_looked_up(service: &Service, node: &Node) -> bool {
    let is_name = |endpoint: &Endpoint| matches!(endpoint.address, Host::Name(_));
    let is_one = service.lookup == Lookup::One || node.mode != Mode::Grpc;
    service.endpoints.iter().any(is_name) && (is_one || service.endpoints.len() == 1)
}

/// Of a cluster that does not hold its endpoints itself.
pub(super) fn load_assignment(
    model: &Model,
    node: &Node,
    name: &str,
    parsed: &ClusterName<'_>,
) -> Option<ClusterLoadAssignment> {
    let service = model.registry().lookup(parsed.host, &node.namespace)?;
    if is_looked_up(service, node) {
        return None;
    }
    assignment(model, node, name, parsed)
}

/// By locality, in order; a cluster without endpoints has an assignment without localities.
pub(super) fn assignment(
    model: &Model,
    node: &Node,
    name: &str,
    parsed: &ClusterName<'_>,
) -> Option<ClusterLoadAssignment> {
    let service = model.registry().lookup(parsed.host, &node.namespace)?;
    let port_index = service.port_index(parsed.port)?;
    if service.host != parsed.host {
        return None;
    }
    let subset = match parsed.subset {
        "" => None,
        name => Some(Policies::lookup(model, node, service).subset(name)?),
    };
    let by_name = is_looked_up(service, node);
    let mut localities: BTreeMap<&str, Group<'_>> = BTreeMap::new();
    for endpoint in &service.endpoints {
        let chosen = subset.is_none_or(|subset| selects(&subset.labels, &endpoint.labels))
            && (by_name || matches!(endpoint.address, Host::Ip(_)));
        if let Some(port) = endpoint.ports[port_index].filter(|_| chosen) {
            // One address twice in a cluster is refused by clients; the older object keeps it.
            localities
                .entry(&endpoint.locality)
                .or_default()
                .entry((&endpoint.address, port))
                .or_insert(endpoint);
        }
    }
    deduplicate(&mut localities);
    Some(ClusterLoadAssignment {
        cluster_name: name.to_owned(),
        endpoints: localities.into_iter().map(|(name, group)| locality(name, &group)).collect(),
        ..Default::default()
    })
}

type Group<'a> = BTreeMap<(&'a Host, u16), &'a Endpoint>;

fn deduplicate(localities: &mut BTreeMap<&str, Group<'_>>) {
    let mut seen = std::collections::HashSet::new();
    for group in localities.values_mut() {
        group.retain(|address, _| seen.insert(*address));
    }
    localities.retain(|_, group| !group.is_empty());
}

fn locality(name: &str, group: &Group<'_>) -> LocalityLbEndpoints {
    let mut parts = name.split('/').map(str::to_owned);
    let mut part = || parts.next().unwrap_or_default();
    let weight = group.values().map(|endpoint| u64::from(endpoint.weight)).sum::<u64>();
    LocalityLbEndpoints {
        locality: Some(Locality { region: part(), zone: part(), sub_zone: part() }),
        lb_endpoints: group.iter().map(|(&(host, port), e)| lb_endpoint(host, port, e)).collect(),
        // A locality without a weight is not used by gRPC.
        load_balancing_weight: uint32(u32::try_from(weight).unwrap_or(u32::MAX)),
        ..Default::default()
    }
}

fn lb_endpoint(host: &Host, port: u16, endpoint: &Endpoint) -> LbEndpoint {
    let socket = SocketAddress {
        address: host.to_string(),
        port_specifier: Some(PortSpecifier::PortValue(port.into())),
        ..Default::default()
    };
    LbEndpoint {
        host_identifier: Some(HostIdentifier::Endpoint(XdsEndpoint {
            address: Some(Address { address: Some(address::Address::SocketAddress(socket)) }),
            ..Default::default()
        })),
        health_status: HealthStatus::Healthy.into(),
        metadata: Some(metadata(endpoint)),
        load_balancing_weight: uint32(endpoint.weight),
    }
}

/// `workload;namespace;canonical name;canonical revision;cluster`, from which telemetry names the
/// peer, and the TLS mode the endpoint's own label announces.
fn metadata(endpoint: &Endpoint) -> Metadata {
    let label = |keys: &[&str]| keys.iter().find_map(|key| endpoint.labels.get(*key));
    let name = label(&["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"]);
    let revision =
        label(&["service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"]);
    let workload = format!(
        "{};{};{};{};",
        endpoint.workload,
        endpoint.namespace,
        name.unwrap_or(&endpoint.workload),
        revision.map_or("", |revision| if revision == "latest" { "" } else { revision }),
    );
    let mut metadata = istio([("workload", string(workload))]);
    if let Some(mode) = label(&["security.istio.io/tlsMode"]) {
        let tls = structure([("tlsMode", string(mode))]);
        metadata.filter_metadata.insert("envoy.transport_socket_match".to_owned(), tls);
    }
    metadata
}

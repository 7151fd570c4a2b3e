use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use mesh_core::cluster::ClusterState;
use mesh_core::resource::{ClusterLoadAssignment, Resource};
use mesh_core::{Dialect, ResourceId, ResourceType, Snapshot};
use mesh_pb::envoy::config::cluster::v3::Cluster as ClusterProto;
use mesh_pb::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, DiscoveryType, EdsClusterConfig,
};
use mesh_pb::envoy::config::core::v3::address::Address;
use mesh_pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use mesh_pb::envoy::config::core::v3::socket_address::PortSpecifier;
use mesh_pb::envoy::config::core::v3::{AggregatedConfigSource, ConfigSource, HealthStatus};
use mesh_pb::envoy::config::endpoint::v3::ClusterLoadAssignment as AssignmentProto;
use mesh_pb::envoy::config::endpoint::v3::LbEndpoint;
use mesh_pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use mesh_pb::json;
use mesh_xds_client::decode::{self, Value as Decoded};
use serde::Deserialize;
use serde_json::Value;

/// One line of input, with its endpoints decoded.
#[derive(Debug)]
pub(super) struct Record {
    cluster: ClusterProto,
    endpoints: AssignmentProto,
    sample: Sample,
    dialect: Dialect,
    priorities: HashMap<SocketAddr, u32>,
    unknown: Vec<String>,
}

/// What is to be picked.
#[derive(Debug)]
pub(super) enum Sample {
    /// An endpoint for each of these.
    Keys(Vec<String>),
    /// That many endpoints, at random.
    Draws { draws: u64, seed: u64 },
}

/// A record as it is written.
#[derive(Debug, Deserialize)]
struct Line {
    cluster: Value,
    /// A ClusterLoadAssignment; the cluster's own when left out.
    endpoints: Option<Value>,
    #[serde(default)]
    unhealthy: Vec<SocketAddr>,
    keys: Option<Vec<String>>,
    draws: Option<u64>,
    #[serde(default)]
    seed: u64,
    #[serde(default)]
    grpc: bool,
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

/// The most endpoints that are drawn for a record: some seconds of work.
const DRAWS_LIMIT: u64 = 100_000_000;

impl Record {
    pub(super) fn read(json: Value) -> Result<Self, String> {
        let line: Line = crate::lines::fields(json)?;
        let sample = match (line.keys, line.draws) {
            (Some(keys), None) => Sample::Keys(keys),
            (None, Some(draws)) if draws <= DRAWS_LIMIT => Sample::Draws { draws, seed: line.seed },
            (None, Some(_)) => return Err(format!("draws: more than {DRAWS_LIMIT}")),
            _ => return Err("one of keys and draws is needed".to_owned()),
        };
        let (mut cluster, mut unknown) = read::<ClusterProto>("cluster", &line.cluster)?;
        unknown.extend(line.others.into_keys().filter(|name| name != "id"));
        let mut endpoints = cluster.load_assignment.take().unwrap_or_default();
        if let Some(given) = &line.endpoints {
            let more;
            (endpoints, more) = read::<AssignmentProto>("endpoints", given)?;
            unknown.extend(more);
        }
        let unhealthy: HashSet<SocketAddr> = line.unhealthy.into_iter().collect();
        let mut priorities = HashMap::new();
        for locality in &mut endpoints.endpoints {
            for endpoint in &mut locality.lb_endpoints {
                let Some(address) = address(endpoint) else { continue };
                priorities.insert(address, locality.priority);
                if unhealthy.contains(&address) {
                    endpoint.health_status = HealthStatus::Unhealthy as i32;
                }
            }
        }
        if let Some(unknown) = unhealthy.iter().find(|address| !priorities.contains_key(address)) {
            return Err(format!("unhealthy: {unknown} is no endpoint"));
        }
        let dialect = if line.grpc { Dialect::Grpc } else { Dialect::Http };
        Ok(Self { cluster, endpoints, sample, dialect, priorities, unknown })
    }

    pub(super) fn sample(&self) -> &Sample {
        &self.sample
    }

    pub(super) fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The priority of one of its endpoints.
    pub(super) fn priority(&self, address: &SocketAddr) -> u32 {
        self.priorities.get(address).copied().unwrap_or_default()
    }

    /// The cluster at work, as the control plane would have sent it, and what is ignored.
    ///
    /// Wherever the cluster has its endpoints from, here it has them by EDS.
    pub(super) fn cluster(&self) -> Result<(Arc<ClusterState<()>>, Vec<String>), String> {
        let mut proto = self.cluster.clone();
        proto.name = NAME.to_owned();
        proto.cluster_discovery_type = Some(ClusterDiscoveryType::Type(DiscoveryType::Eds as i32));
        let ads = ConfigSourceSpecifier::Ads(AggregatedConfigSource::default());
        let source = ConfigSource { config_source_specifier: Some(ads), ..ConfigSource::default() };
        proto.eds_cluster_config =
            Some(EdsClusterConfig { eds_config: Some(source), service_name: String::new() });
        let Decoded::Cluster(cluster) = decoded("cluster", ResourceType::Cluster, &proto)? else {
            return Err("cluster: decoded to another type".to_owned());
        };
        let kind = ResourceType::ClusterLoadAssignment;
        let Decoded::ClusterLoadAssignment(endpoints) =
            decoded("endpoints", kind, &self.endpoints)?
        else {
            return Err("endpoints: decoded to another type".to_owned());
        };
        let mut ignored = self.unknown.clone();
        let findings = cluster.findings.iter().chain(&endpoints.findings);
        ignored.extend(findings.map(|finding| format!("{}: {}", finding.field, finding.text)));
        let endpoints: ClusterLoadAssignment = (*endpoints).clone();
        let resources = [Resource::from((*cluster).clone()), endpoints.into()];
        let (snapshot, _) = Snapshot::compile(&resources.into_iter().collect(), None, &());
        let state = snapshot.cluster_named(NAME).cloned();
        Ok((state.ok_or("the cluster was not compiled")?, ignored))
    }
}

/// The name of every record's cluster.
const NAME: &str = "check-balance";

fn read<M: prost::Message + prost::Name + Default>(
    field: &str,
    json: &Value,
) -> Result<(M, Vec<String>), String> {
    let (message, unknown) = json::decode(json).map_err(|error| match error.path() {
        "" => format!("{field}: {}", error.text()),
        path => format!("{field}.{path}: {}", error.text()),
    })?;
    Ok((message, unknown.into_iter().map(|path| format!("{field}.{path}")).collect()))
}

/// What the record's field means. Its error says which field of it is wrong: the record's own words,
/// for the resource has no name there.
fn decoded(
    field: &str,
    kind: ResourceType,
    proto: &impl prost::Message,
) -> Result<Decoded, String> {
    let decoded = decode::decode(&ResourceId::new(kind, NAME), &proto.encode_to_vec());
    decoded.map_err(|refusal| format!("{field}.{}", refusal.reason()))
}

fn address(endpoint: &LbEndpoint) -> Option<SocketAddr> {
    let Some(HostIdentifier::Endpoint(host)) = &endpoint.host_identifier else { return None };
    let Some(Address::SocketAddress(socket)) = &host.address.as_ref()?.address else { return None };
    let Some(PortSpecifier::PortValue(port)) = socket.port_specifier else { return None };
    Some(SocketAddr::new(socket.address.parse().ok()?, u16::try_from(port).ok()?))
}

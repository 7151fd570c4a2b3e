//! Listeners, clusters, endpoints and secrets of any bytes.

use std::net::IpAddr;

use mesh_core::cluster::Choice;
use mesh_core::resource::{
    Cluster, ClusterLoadAssignment, Discovery, Entry, Name, Resources, Update,
};
use mesh_core::{Dialect, ResourceId, ResourceType, Snapshot};
use mesh_xds_client::decode::{Context, Refusal, Value, decode, decode_after};

/// Decodes a listener. A server's keeps its promises.
pub fn listener(bytes: &[u8]) {
    match decoded(ResourceType::Listener, bytes) {
        Some(Value::ServerListener(made)) => {
            assert!(!made.filter_chains.is_empty() || made.default_filter_chain.is_some());
            let chains = made.filter_chains.iter().chain(&made.default_filter_chain);
            for tls in chains.filter_map(|chain| chain.tls.as_ref()) {
                assert!(!tls.common.identities.is_empty());
                assert!(!tls.require_client_certificate || tls.common.validation.is_some());
            }
        }
        Some(Value::Listener(_)) | None => {}
        Some(other) => panic!("decoded to {other:?}"),
    }
}

/// Decodes a cluster, compiles it with endpoints, and picks one.
pub fn cluster(bytes: &[u8]) {
    let made = match decoded(ResourceType::Cluster, bytes) {
        Some(Value::Cluster(made)) => made,
        Some(other) => panic!("decoded to {other:?}"),
        None => return,
    };
    let mut update = Update::default();
    if let Some(name) = made.discovery.endpoints_name() {
        let found = [IpAddr::from([10, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])];
        let endpoints = match &made.discovery {
            Discovery::Dns(dns) => dns.resolve(|_| Some(&found)),
            _ => ClusterLoadAssignment::of_addresses(name.clone(), [([10, 0, 0, 1], 1).into()]),
        };
        update.endpoints.insert(name.clone(), Some(Entry::of(endpoints)));
    }
    let name = made.name.clone();
    update.clusters.insert(name.clone(), Some(Entry::of(made)));
    let mut resources = Resources::new();
    resources.apply(update);
    let snapshot = Snapshot::compile(&resources, None, &()).0;
    pick(&snapshot, &name);
}

/// Decodes endpoints after others: the same comes out as without these, and live tables take it.
pub fn endpoints(bytes: &[u8]) {
    let Some((length, rest)) = bytes.split_first_chunk() else { return };
    let cut = usize::from(u16::from_be_bytes(*length)).min(rest.len());
    let (before, now) = rest.split_at(cut);
    let id = ResourceId::new(ResourceType::ClusterLoadAssignment, "x");
    let known = decode(&id, before).ok();
    let previous = known.as_ref().map(|value| (before, value));
    let made = decode_after(&Context::default(), &id, now, previous);
    assert_eq!(text(&made), text(&decode(&id, now)));
    let mut update = Update::default();
    let name: Name = "x".into();
    update.clusters.insert(name.clone(), Some(Entry::of(Cluster::new("x"))));
    update.endpoints.insert(name.clone(), known.and_then(entry));
    let mut resources = Resources::new();
    resources.apply(update);
    let snapshot = Snapshot::compile(&resources, None, &()).0;
    pick(&snapshot, &name);
    let mut update = Update::default();
    update.endpoints.insert(name.clone(), made.ok().and_then(entry));
    resources.apply(update);
    snapshot.update_endpoints(&resources, [&name], &());
    pick(&snapshot, &name);
}

fn text(decoded: &Result<Value, Refusal>) -> String {
    match decoded {
        Ok(value) => format!("{value:?}"),
        Err(refusal) => refusal.to_string(),
    }
}

fn entry(value: Value) -> Option<Entry<ClusterLoadAssignment>> {
    match value {
        Value::ClusterLoadAssignment(made) => Some(Entry::of(made)),
        other => panic!("decoded to {other:?}"),
    }
}

/// Draws from a cluster's live tables, in both dialects.
fn pick(snapshot: &Snapshot<()>, name: &Name) {
    let Some(cluster) = snapshot.cluster_named(name) else { return };
    for dialect in [Dialect::Http, Dialect::Grpc] {
        for random in [0, 1, u64::MAX] {
            // Whether there is one to be had is configuration's business.
            let _picked = cluster.pick(&Choice::new(dialect), random);
        }
    }
}

/// Decodes a secret.
pub fn secret(bytes: &[u8]) {
    match decoded(ResourceType::Secret, bytes) {
        Some(Value::Secret(..)) | None => {}
        Some(other) => panic!("decoded to {other:?}"),
    }
}

fn decoded(kind: ResourceType, bytes: &[u8]) -> Option<Value> {
    match decode(&ResourceId::new(kind, "x"), bytes) {
        Ok(value) => Some(value),
        Err(refusal) => {
            assert!(!refusal.reason().contains("by a fault"), "{refusal}");
            None
        }
    }
}

//! Endpoints that follow others: read where they differ, and the same as if all were read.

use std::sync::Arc;

use mesh_core::ResourceId;
use mesh_core::ResourceType::ClusterLoadAssignment;
use mesh_core::resource as core;
use mesh_pb::envoy::config::endpoint::v3 as pb;
use proptest::collection::vec;
use proptest::prelude::{prop_assert_eq, proptest};
use prost::Message;

use super::super::{Context, Refusal, Value, decode, decode_after};

/// An assignment of localities with endpoints of those ports.
fn bytes(localities: &[Vec<u32>]) -> Vec<u8> {
    let mut made = pb::ClusterLoadAssignment { cluster_name: "x".to_owned(), ..Default::default() };
    for (index, ports) in localities.iter().enumerate() {
        let one = crate::sample::endpoints("x", ports).value;
        let mut one = pb::ClusterLoadAssignment::decode(&*one).unwrap();
        if let Some(locality) = &mut one.endpoints[0].locality {
            locality.zone = index.to_string();
        }
        made.endpoints.append(&mut one.endpoints);
    }
    made.encode_to_vec()
}

fn id() -> ResourceId {
    ResourceId::new(ClusterLoadAssignment, "x")
}

fn assignment(value: Value) -> Arc<core::ClusterLoadAssignment> {
    let Value::ClusterLoadAssignment(made) = value else { panic!("no endpoints") };
    made
}

fn endpoints(decoded: Result<Value, Refusal>) -> Result<Vec<Vec<core::Endpoint>>, String> {
    let made = assignment(decoded.map_err(|refusal| refusal.to_string())?);
    Ok(made.localities.iter().map(|locality| locality.endpoints.clone()).collect())
}

fn after(before: &[u8], now: &[u8]) -> Result<Value, Refusal> {
    let value = decode(&id(), before).unwrap();
    decode_after(&Context::default(), &id(), now, Some((before, &value)))
}

proptest! {
    #[test]
    fn as_if_all_were_read(
        before in vec(vec(1_u32..12, 0..8), 0..3),
        now in vec(vec(1_u32..12, 0..12), 0..3),
    ) {
        let mut before = before;
        let mut seen = std::collections::HashSet::new();
        before.iter_mut().for_each(|ports| ports.retain(|port| seen.insert(*port)));
        let (before, now) = (bytes(&before), bytes(&now));
        prop_assert_eq!(endpoints(after(&before, &now)), endpoints(decode(&id(), &now)));
    }
}

#[test]
fn endpoints_that_are_told_alike_are_kept() {
    let hostname = |port: u32| format!("h{port}");
    let named = |ports: &[u32]| {
        let mut made = pb::ClusterLoadAssignment::decode(&*bytes(&[ports.to_vec()])).unwrap();
        for (endpoint, port) in made.endpoints[0].lb_endpoints.iter_mut().zip(ports) {
            let Some(pb::lb_endpoint::HostIdentifier::Endpoint(host)) =
                &mut endpoint.host_identifier
            else {
                panic!("no endpoint")
            };
            host.hostname = hostname(*port);
        }
        made.encode_to_vec()
    };
    let first = named(&[1, 2, 3, 4, 5]);
    let before = decode(&id(), &first).unwrap();
    // The second goes, the fourth changes, and one comes in between.
    let second = named(&[1, 3, 9, 5, 8]);
    let now = decode_after(&Context::default(), &id(), &second, Some((&first, &before))).unwrap();
    let (before, now) = (assignment(before), assignment(now));
    let kept: Vec<bool> = now.localities[0]
        .endpoints
        .iter()
        .map(|endpoint| {
            let old = &before.localities[0].endpoints;
            old.iter().any(|old| std::ptr::eq(old.hostname(), endpoint.hostname()))
        })
        .collect();
    assert_eq!(kept, [true, true, false, true, false]);
}

#[test]
fn address_that_an_endpoint_kept_has_is_refused() {
    let before = bytes(&[vec![1, 2, 3]]);
    let refusal = after(&before, &bytes(&[vec![1, 2, 3, 2]])).unwrap_err();
    assert_eq!(refusal.field(), "endpoints[0].lb_endpoints[3]");
    let many: Vec<u32> = (1..50).chain([7]).collect();
    let refusal = after(&before, &bytes(&[many])).unwrap_err();
    assert_eq!(refusal.field(), "endpoints[0].lb_endpoints[49]");
}

/// Findings are not kept with endpoints, and must not get lost.
#[test]
fn findings_stay() {
    let with = |extra: u32| {
        let mut made = pb::ClusterLoadAssignment::decode(&*bytes(&[vec![1, extra]])).unwrap();
        let Some(pb::lb_endpoint::HostIdentifier::Endpoint(host)) =
            &mut made.endpoints[0].lb_endpoints[0].host_identifier
        else {
            panic!("no endpoint")
        };
        host.health_check_config = Some(Default::default());
        made.encode_to_vec()
    };
    let found = after(&with(2), &with(3)).unwrap();
    assert_eq!(found.findings().len(), 1);
}

#[test]
fn metadata_that_is_told_alike_is_one() {
    use mesh_pb::envoy::config::core::v3::Metadata;
    let mut made = pb::ClusterLoadAssignment::decode(&*bytes(&[vec![1, 2]])).unwrap();
    for endpoint in &mut made.endpoints[0].lb_endpoints {
        let fields = [("envoy.lb".to_owned(), Default::default())].into();
        endpoint.metadata = Some(Metadata { filter_metadata: fields, ..Default::default() });
    }
    let made = assignment(decode(&id(), &made.encode_to_vec()).unwrap());
    let [a, b] = &made.localities[0].endpoints[..] else { panic!("not two") };
    assert!(Arc::ptr_eq(a.metadata.as_ref().unwrap(), b.metadata.as_ref().unwrap()));
}

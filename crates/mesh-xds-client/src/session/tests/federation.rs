//! Authorities with servers of their own (gRFC A47).

use mesh_core::ResourceType::{Cluster, Listener};
use mesh_core::finding::FailureKind::{Invalid, Unreachable};

use mesh_pb::envoy::config::cluster::v3 as pb;
use mesh_pb::google::protobuf::Any;

use super::{Driver, ResourceState, failed, good};
use crate::bootstrap::ServerFeatures;
use crate::sample::{ads, any, cluster_message};
use crate::session::{Directory, ServerIndex};

const NEAR: &str = "xdstp://near/envoy.config.cluster.v3.Cluster/c";
const FAR: &str = "xdstp://far/envoy.config.cluster.v3.Cluster/c";

/// A cluster whose endpoints have a name of their own, as one of an authority must.
fn cluster(name: &str) -> Any {
    let eds = pb::cluster::EdsClusterConfig { eds_config: ads(), service_name: "e".to_owned() };
    any(&pb::Cluster { eds_cluster_config: Some(eds), ..cluster_message(name) })
}

/// The top level and `near` share a server, `far` has its own.
fn federated() -> (Driver, [ServerIndex; 2]) {
    let mut directory = Directory::default();
    let ours = directory.add_server(ServerFeatures::default());
    let theirs = directory.add_server(ServerFeatures::default());
    directory.set_default(vec![ours]);
    directory.set_authority("near", vec![ours]);
    directory.set_authority("far", vec![theirs]);
    (Driver::with_directory(directory), [ours, theirs])
}

#[test]
fn each_name_is_asked_of_the_servers_of_its_authority() {
    let (mut driver, [ours, theirs]) = federated();
    driver.subscribe(Cluster, &["old", NEAR, FAR]);
    assert_eq!(driver.in_use(), [0, 1]);
    driver.at(ours).up();
    assert_eq!(driver.send_one().resource_names, ["old", NEAR]);
    driver.at(theirs).up();
    let request = driver.send_one();
    assert_eq!(request.resource_names, [FAR]);
    assert!(request.node.is_some());
    driver.receive(Cluster, "1", vec![cluster(FAR)]);
    assert_eq!(driver.told(), [good(Cluster, FAR)]);
}

#[test]
fn server_of_an_authority_is_in_use_for_as_long_as_a_name_of_it_is_wanted() {
    let (mut driver, [ours, theirs]) = federated();
    assert_eq!(driver.in_use(), [0], "the top level is connected from the start");
    driver.subscribe(Cluster, &[FAR]);
    driver.subscribe(Listener, &["xdstp://far/envoy.config.listener.v3.Listener/l"]);
    driver.at(theirs).up();
    driver.send();
    driver.session.unsubscribe(Cluster, FAR);
    assert_eq!(driver.in_use(), [0, 1]);
    driver.session.unsubscribe(Listener, "xdstp://far/envoy.config.listener.v3.Listener/l");
    assert_eq!(driver.in_use(), [0]);
    driver.subscribe(Cluster, &[NEAR]);
    assert_eq!(driver.in_use(), [0]);
    driver.at(ours).up();
    driver.send();
    driver.session.unsubscribe(Cluster, NEAR);
    assert_eq!(driver.in_use(), [0]);
    assert!(driver.send_one().resource_names.is_empty());
}

#[test]
fn absence_deletes_within_the_authorities_of_the_server_only() {
    let (mut driver, [ours, theirs]) = federated();
    driver.subscribe(Cluster, &["old", FAR]);
    driver.at(theirs).up();
    driver.receive(Cluster, "1", vec![cluster(FAR)]);
    driver.at(ours).up();
    driver.receive(Cluster, "1", vec![cluster("old")]);
    driver.receive(Cluster, "2", Vec::new());
    assert_eq!(driver.state("old"), ResourceState::DoesNotExist);
    assert_eq!(driver.state(FAR), ResourceState::Acked);
}

#[test]
fn outage_of_one_authority_does_not_touch_another() {
    let (mut driver, [ours, theirs]) = federated();
    driver.subscribe(Cluster, &["old", FAR]);
    driver.at(ours).up();
    driver.at(theirs).down("refused");
    assert_eq!(driver.told(), [failed(Cluster, FAR, Unreachable)]);
}

#[test]
fn name_of_an_unknown_authority_fails_alone() {
    let (mut driver, _) = federated();
    let name = "xdstp://nobody/envoy.config.cluster.v3.Cluster/c";
    driver.subscribe(Cluster, &[name, "old"]);
    assert_eq!(driver.told(), [failed(Cluster, name, Invalid)]);
    assert!(driver.failure_text(name).contains("authority is not configured"));
    driver.up();
    assert_eq!(driver.send_one().resource_names, ["old"]);
    driver.session.unsubscribe(Cluster, name);
    assert_eq!(driver.session.resources().count(), 1);
}

#[test]
fn name_of_another_type_fails_alone() {
    let (mut driver, _) = federated();
    driver.subscribe(Listener, &[NEAR]);
    assert_eq!(driver.told(), [failed(Listener, NEAR, Invalid)]);
    driver.up();
    assert!(driver.send().is_empty());
}

#[test]
fn unknown_authority_in_a_received_name_is_passed_over() {
    let (mut driver, _) = federated();
    driver.subscribe(Cluster, &["old"]);
    driver.up();
    driver.send();
    let made = vec![cluster("old"), cluster("xdstp://nobody/envoy.config.cluster.v3.Cluster/c")];
    driver.receive(Cluster, "1", made);
    assert_eq!(driver.told(), [good(Cluster, "old")]);
    assert!(driver.send_one().error_detail.is_none());
}

/// Nobody may speak for another authority.
#[test]
fn server_says_nothing_of_names_that_are_not_its_own() {
    let (mut driver, [ours, theirs]) = federated();
    driver.subscribe(Cluster, &["old", FAR]);
    driver.at(ours).up();
    driver.at(theirs).up();
    driver.send();
    driver.receive(Cluster, "1", vec![cluster("old"), cluster(NEAR)]);
    assert!(driver.told().is_empty());
    assert!(driver.send_one().error_detail.is_none());
    assert_eq!(driver.session.values().count(), 0);
    driver.at(ours).receive(Cluster, "1", vec![cluster("old"), cluster(FAR)]);
    assert_eq!(driver.told(), [good(Cluster, "old")]);
}

#[test]
fn names_that_are_none_are_asked_of_nobody() {
    let (mut driver, _) = federated();
    driver.subscribe(Cluster, &["", "*"]);
    assert_eq!(driver.told(), [failed(Cluster, "", Invalid), failed(Cluster, "*", Invalid)]);
    driver.up();
    assert!(driver.send().is_empty());
}

#[test]
fn order_of_context_parameters_does_not_matter() {
    let (mut driver, _) = federated();
    let path = "xdstp://near/envoy.config.cluster.v3.Cluster/c";
    let (ordered, other) = (format!("{path}?a=1&b=2"), format!("{path}?b=2&a=1"));
    driver.subscribe(Cluster, &[&ordered, &other]);
    driver.up();
    assert_eq!(driver.send_one().resource_names.concat(), ordered);
    driver.receive(Cluster, "1", vec![cluster(&other)]);
    assert_eq!(driver.told(), [good(Cluster, &ordered), good(Cluster, &other)]);
    driver.session.unsubscribe(Cluster, &ordered);
    driver.receive(Cluster, "2", Vec::new());
    assert_eq!(driver.told().len(), 1);
    driver.session.unsubscribe(Cluster, &other);
    assert_eq!(driver.session.resources().count(), 0);
}

#[test]
fn wildcard_is_of_the_top_level_alone() {
    let (mut driver, [ours, theirs]) = federated();
    driver.session.subscribe_all(Cluster, driver.now);
    driver.subscribe(Cluster, &["old", NEAR, FAR]);
    driver.at(ours).up();
    assert_eq!(driver.send_one().resource_names, ["*", NEAR]);
    driver.at(theirs).up();
    assert_eq!(driver.send_one().resource_names, [FAR]);
}

#[test]
fn wildcard_of_the_top_level_hides_no_end_of_interest_in_another_authority() {
    let (mut driver, [_, theirs]) = federated();
    let other = "xdstp://far/envoy.config.cluster.v3.Cluster/d";
    driver.session.subscribe_all(Cluster, driver.now);
    driver.subscribe(Cluster, &[FAR, other]);
    driver.at(theirs).up();
    driver.send();
    driver.session.unsubscribe(Cluster, FAR);
    assert_eq!(driver.send_one().resource_names, [other]);
}

#[test]
fn authority_that_goes_by_reachability_falls_back_with_nothing_missing() {
    let mut directory = Directory::default();
    let servers: Vec<ServerIndex> =
        (0..3).map(|_| directory.add_server(ServerFeatures::default())).collect();
    directory.set_default(vec![servers[0]]);
    directory.set_authority("far", servers[1..].to_vec());
    directory.set_reachability_only("far");
    let mut driver = Driver::with_directory(directory);
    driver.subscribe(Cluster, &[FAR]);
    driver.at(servers[1]).up();
    driver.send();
    driver.receive(Cluster, "1", vec![cluster(FAR)]);
    driver.down("closed");
    driver.down("refused");
    assert_eq!(driver.in_use(), [0, 1, 2]);
}

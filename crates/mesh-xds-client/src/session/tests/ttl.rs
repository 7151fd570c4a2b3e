//! Times to live, and heartbeats that renew them.

use mesh_core::ResourceType::{Cluster, Listener};
use mesh_core::finding::FailureKind::{Deleted, DoesNotExist};
use mesh_pb::envoy::service::discovery::v3::{DeltaDiscoveryResponse, Resource};
use mesh_pb::google::protobuf::{self, Any};

use super::{Driver, failed, good, type_url};
use crate::sample::{any, bad_cluster, cluster, listener};

/// What a server sends of `name`: with a time to live if there is one, a heartbeat without a
/// resource.
fn wrapped(name: &str, version: &str, seconds: Option<i64>, resource: Option<Any>) -> Resource {
    Resource {
        name: name.to_owned(),
        version: version.to_owned(),
        ttl: seconds.map(|seconds| protobuf::Duration { seconds, nanos: 0 }),
        resource,
        ..Resource::default()
    }
}

fn change(driver: &mut Driver, resource: Resource) {
    let response = DeltaDiscoveryResponse {
        type_url: type_url(Cluster).to_owned(),
        nonce: "n".to_owned(),
        resources: vec![resource],
        ..DeltaDiscoveryResponse::default()
    };
    driver.session.receive(driver.server, response, driver.now);
}

/// One that has that cluster for 10 s, by delta.
fn with_cluster() -> Driver {
    let mut driver = Driver::delta();
    driver.subscribe(Cluster, &["a"]);
    driver.send_delta();
    change(&mut driver, wrapped("a", "1", Some(10), Some(cluster("a"))));
    driver.send_delta();
    assert_eq!(driver.told(), [good(Cluster, "a")]);
    driver
}

/// The reason why the last response was refused.
fn refusal(driver: &mut Driver) -> Option<String> {
    driver.send_one_delta().error_detail.map(|status| status.message)
}

#[test]
fn resource_ends_with_its_time_unless_that_is_renewed() {
    let mut driver = with_cluster();
    driver.pass(8);
    change(&mut driver, wrapped("a", "1", Some(10), None));
    assert_eq!(refusal(&mut driver), None);
    driver.pass(9);
    assert!(driver.told().is_empty());
    // The same again, whole.
    change(&mut driver, wrapped("a", "1", Some(10), Some(cluster("a"))));
    driver.pass(9);
    assert!(driver.told().is_empty());
    assert_eq!(
        driver.session.next_deadline(),
        Some(driver.now + std::time::Duration::from_secs(1))
    );
    driver.pass(1);
    assert_eq!(driver.told(), [failed(Cluster, "a", Deleted)]);
    assert!(driver.failure_text("a").contains("time to live"), "{}", driver.failure_text("a"));
    assert_eq!(driver.session.next_deadline(), None);
    // A heartbeat brings nothing back, the resource does.
    driver.send_delta();
    change(&mut driver, wrapped("a", "1", Some(10), None));
    assert!(refusal(&mut driver).is_some_and(|text| text.contains("no such version is known")));
    change(&mut driver, wrapped("a", "1", Some(10), Some(cluster("a"))));
    assert_eq!(driver.told(), [good(Cluster, "a")]);
}

#[test]
fn resource_ends_while_its_server_is_gone_and_is_not_claimed_to_be_known() {
    let mut driver = with_cluster();
    driver.down("gone");
    driver.told();
    driver.pass(10);
    assert_eq!(driver.told(), [failed(Cluster, "a", Deleted)]);
    driver.up();
    assert!(driver.send_one_delta().initial_resource_versions.is_empty());
}

#[test]
fn resource_without_a_time_stays_also_after_it_had_one() {
    for resource in [None, Some(cluster("a"))] {
        let mut driver = with_cluster();
        change(&mut driver, wrapped("a", "1", None, resource));
        assert_eq!(refusal(&mut driver), None);
        assert_eq!(driver.session.next_deadline(), None);
        driver.pass(100);
        assert!(driver.told().is_empty());
    }
}

#[test]
fn heartbeat_of_another_version_or_of_no_time_is_refused_and_renews_nothing() {
    let mut driver = with_cluster();
    driver.pass(5);
    change(&mut driver, wrapped("a", "2", Some(10), None));
    assert!(refusal(&mut driver).is_some_and(|text| text.contains("Cluster \"a\"")));
    for seconds in [0, -1] {
        change(&mut driver, wrapped("a", "1", Some(seconds), None));
        let text = refusal(&mut driver).unwrap();
        assert!(text.contains("ttl: must be a time above zero"), "{text}");
    }
    // Nor does what is refused for another reason.
    change(&mut driver, wrapped("a", "2", Some(10), Some(bad_cluster("a"))));
    assert!(refusal(&mut driver).is_some());
    driver.told();
    driver.pass(5);
    assert!(driver.told().contains(&failed(Cluster, "a", Deleted)));
}

#[test]
fn state_of_the_world_has_times_and_heartbeats_which_delete_nothing() {
    let mut driver = Driver::new();
    driver.subscribe(Listener, &["a", "b"]);
    driver.send();
    let made = |seconds, resource| any(&wrapped("a", "", Some(seconds), resource));
    let all = vec![made(10, Some(listener("a", "r"))), listener("b", "r")];
    driver.receive(Listener, "1", all);
    assert_eq!(driver.told(), [good(Listener, "a"), good(Listener, "b")]);
    driver.send();
    driver.pass(9);
    driver.receive(Listener, "1", vec![made(10, None)]);
    assert!(driver.send_one().error_detail.is_none());
    driver.pass(9);
    assert!(driver.told().is_empty(), "b is as it was");
    driver.pass(1);
    assert_eq!(driver.told(), [failed(Listener, "a", Deleted)]);
}

#[test]
fn names_that_come_and_go_with_long_lives_are_not_kept() {
    let mut driver = Driver::delta();
    for number in 0..1000 {
        let name = format!("c{number}");
        driver.subscribe(Cluster, &[&name]);
        driver.send_delta();
        change(&mut driver, wrapped(&name, "1", Some(1_000_000), Some(cluster(&name))));
        driver.session.unsubscribe(Cluster, &name);
        driver.send_delta();
        driver.pass(1);
    }
    driver.told();
    let kept = format!("{:?}", driver.session.store.lifetimes);
    assert!(kept.matches("ResourceId").count() < 300);
    driver.subscribe(Cluster, &["c1"]);
    driver.send_delta();
    driver.pass(15);
    assert_eq!(driver.told(), [failed(Cluster, "c1", DoesNotExist)]);
}

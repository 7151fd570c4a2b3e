//! All resources of a type, asked for at once.

use mesh_core::ResourceType::{Cluster, ClusterLoadAssignment, Listener};
use mesh_core::finding::FailureKind::{Deleted, DoesNotExist, Invalid};

use super::{Driver, ambient, failed, good, type_url};
use crate::sample::{bad_cluster, cluster, endpoints, listener};

fn with_all_clusters(mut driver: Driver, names: &[&str]) -> Driver {
    driver.session.subscribe_all(Cluster, driver.now);
    match driver.session.poll_request(driver.server).unwrap() {
        crate::session::Request::StateOfTheWorld(_) => {
            driver.receive(Cluster, "1", names.iter().map(|name| cluster(name)).collect());
            driver.send();
        }
        crate::session::Request::Delta(_) => {
            let made = names.iter().map(|name| (*name, cluster(name))).collect();
            driver.change(Cluster, "1", made, &[]);
            driver.send_delta();
        }
    }
    driver.told();
    driver
}

#[test]
fn wildcard_is_a_first_request_without_names() {
    let mut driver = Driver::new();
    driver.session.subscribe_all(Listener, driver.now);
    driver.session.subscribe_all(Cluster, driver.now);
    let requests = driver.send();
    assert_eq!(requests.len(), 2);
    assert!(requests.iter().all(|request| request.resource_names.is_empty()));
    driver.receive(Listener, "1", vec![listener("a", "r"), listener("b", "r")]);
    assert_eq!(driver.told(), [good(Listener, "a"), good(Listener, "b")]);
    let ack = driver.send_one();
    assert_eq!((&*ack.version_info, ack.resource_names.len()), ("1", 0));
    assert_eq!(driver.session.resources().count(), 2);
}

#[test]
fn wildcard_by_delta_is_a_first_request_without_names() {
    let mut driver = Driver::delta();
    driver.session.subscribe_all(Cluster, driver.now);
    let request = driver.send_one_delta();
    assert!(request.resource_names_subscribe.is_empty() && request.node.is_some());
    driver.change(Cluster, "1", vec![("a", cluster("a")), ("b", cluster("b"))], &[]);
    assert_eq!(driver.told(), [good(Cluster, "a"), good(Cluster, "b")]);
    assert_eq!(driver.send_one_delta().response_nonce, "n1");
    driver.change(Cluster, "2", Vec::new(), &["a"]);
    assert_eq!(driver.told(), [failed(Cluster, "a", Deleted)]);
    assert_eq!(driver.session.resources().count(), 1);
}

#[test]
fn what_is_absent_is_told_and_forgotten_unless_wanted_by_name() {
    let mut driver = with_all_clusters(Driver::new(), &["a", "b", "c"]);
    driver.subscribe(Cluster, &["b"]);
    assert_eq!(driver.told(), [good(Cluster, "b")]);
    assert!(driver.send().iter().all(|request| request.resource_names.is_empty()));
    driver.receive(Cluster, "2", vec![cluster("c")]);
    assert_eq!(driver.told(), [failed(Cluster, "a", Deleted), ambient(Cluster, "b", Deleted)]);
    assert_eq!(driver.session.resources().count(), 2);
}

#[test]
fn empty_answer_to_a_wildcard_removes_nothing() {
    let mut driver = with_all_clusters(Driver::new(), &["a"]);
    driver.receive(Cluster, "2", Vec::new());
    assert!(driver.told().is_empty());
    assert_eq!(driver.send_one().version_info, "2");
    driver.receive(Cluster, "3", vec![cluster("b")]);
    assert_eq!(driver.told(), [good(Cluster, "b"), failed(Cluster, "a", Deleted)]);
}

#[test]
fn name_wanted_beside_a_wildcard_that_lacks_it_does_not_exist() {
    let mut driver = with_all_clusters(Driver::new(), &["a"]);
    driver.subscribe(Cluster, &["b"]);
    assert!(driver.told().is_empty());
    // By the next answer, or by the timer.
    driver.receive(Cluster, "2", vec![cluster("a")]);
    assert_eq!(driver.told(), [failed(Cluster, "b", DoesNotExist)]);
    driver.subscribe(Cluster, &["c"]);
    driver.pass(15);
    assert_eq!(driver.told(), [failed(Cluster, "c", DoesNotExist)]);
}

#[test]
fn bad_resource_of_a_wildcard_is_told_and_the_old_one_kept() {
    let mut driver = with_all_clusters(Driver::new(), &["a"]);
    driver.receive(Cluster, "2", vec![bad_cluster("a"), bad_cluster("b")]);
    assert_eq!(driver.told(), [ambient(Cluster, "a", Invalid), failed(Cluster, "b", Invalid)]);
    assert!(driver.send_one().error_detail.is_some());
    // What was bad and is gone is not remembered.
    driver.receive(Cluster, "3", vec![cluster("a")]);
    assert_eq!(driver.told(), [good(Cluster, "a"), failed(Cluster, "b", DoesNotExist)]);
    assert_eq!(driver.session.resources().count(), 1);
}

#[test]
fn end_of_a_wildcard_forgets_what_came_by_it_and_asks_for_names_by_themselves() {
    let mut driver = with_all_clusters(Driver::new(), &["a", "b"]);
    driver.subscribe(Cluster, &["b"]);
    driver.send();
    driver.session.unsubscribe_all(Cluster);
    assert_eq!(driver.send_one().resource_names, ["b"]);
    assert_eq!(driver.session.resources().count(), 1);
    driver.session.unsubscribe(Cluster, "b");
    assert!(driver.send_one().resource_names.is_empty());
}

/// An empty list means everything until a name was sent, and the wildcard is one.
#[test]
fn end_of_a_wildcard_without_names_takes_two_requests() {
    let mut driver = with_all_clusters(Driver::new(), &["a"]);
    driver.session.unsubscribe_all(Cluster);
    let requests = driver.send();
    let names: Vec<_> = requests.iter().map(|request| request.resource_names.concat()).collect();
    assert_eq!(names, ["*", ""]);
    driver.session.subscribe_all(Cluster, driver.now);
    assert_eq!(driver.send_one().resource_names, ["*"]);
}

#[test]
fn end_of_a_wildcard_by_delta_unsubscribes_it() {
    let mut driver = with_all_clusters(Driver::delta(), &["a", "b"]);
    driver.subscribe(Cluster, &["b"]);
    assert!(driver.send_delta().is_empty());
    driver.session.unsubscribe_all(Cluster);
    let request = driver.send_one_delta();
    assert_eq!(request.resource_names_unsubscribe, ["*"]);
    assert_eq!(request.resource_names_subscribe, ["b"]);
    driver.session.subscribe_all(Cluster, driver.now);
    let request = driver.send_one_delta();
    assert_eq!(request.resource_names_subscribe, ["*"]);
    assert_eq!(request.type_url, type_url(Cluster));
}

#[test]
fn wildcard_after_names_is_said_by_its_name() {
    let mut driver = Driver::new();
    driver.subscribe(Cluster, &["a"]);
    driver.send();
    driver.session.subscribe_all(Cluster, driver.now);
    assert_eq!(driver.send_one().resource_names, ["*"]);
}

#[test]
fn new_stream_asks_for_all_again_and_says_what_is_known() {
    let mut driver = with_all_clusters(Driver::delta(), &["a", "b"]);
    driver.restart();
    let request = driver.send_one_delta();
    assert!(request.resource_names_subscribe.is_empty());
    assert_eq!(request.initial_resource_versions.len(), 2);
    let mut driver = with_all_clusters(Driver::new(), &["a", "b"]);
    driver.restart();
    assert_eq!(driver.send_one().version_info, "1");
    assert!(driver.told().is_empty());
}

#[test]
fn wildcard_of_one_type_leaves_others_by_name() {
    let mut driver = with_all_clusters(Driver::new(), &["a"]);
    driver.subscribe(ClusterLoadAssignment, &["a"]);
    assert_eq!(driver.send_one().resource_names, ["a"]);
    driver.receive(ClusterLoadAssignment, "1", vec![endpoints("a", &[1]), endpoints("b", &[1])]);
    assert_eq!(driver.told(), [good(ClusterLoadAssignment, "a")]);
}

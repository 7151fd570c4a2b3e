//! Several servers for one authority (gRFC A71).

use mesh_core::ResourceType::{Cluster, ClusterLoadAssignment, Listener};
use mesh_core::finding::FailureKind::{DoesNotExist, Unreachable};

use super::{Driver, ambient, failed, good};
use crate::bootstrap::ServerFeatures;
use crate::sample::{cluster, endpoints, listener};
use crate::session::{Directory, ServerIndex};

/// A session with that many servers, none of them connected.
fn with_servers(count: usize) -> (Driver, Vec<ServerIndex>) {
    let mut directory = Directory::default();
    let servers: Vec<ServerIndex> =
        (0..count).map(|_| directory.add_server(ServerFeatures::default())).collect();
    directory.set_default(servers.clone());
    (Driver::with_directory(directory), servers)
}

/// The first server gave that listener; its stream is up.
fn with_primary(count: usize, name: &str) -> (Driver, Vec<ServerIndex>) {
    let (mut driver, servers) = with_servers(count);
    driver.subscribe(Listener, &[name]);
    driver.up();
    driver.send();
    driver.receive(Listener, "p1", vec![listener(name, "primary")]);
    driver.send();
    driver.told();
    (driver, servers)
}

#[test]
fn next_server_is_asked_when_the_first_cannot_be_reached_at_start() {
    let (mut driver, servers) = with_servers(2);
    driver.subscribe(Listener, &["a"]);
    assert_eq!(driver.in_use(), [0]);
    driver.down("refused");
    assert!(driver.told().is_empty(), "nothing has failed while there is another server");
    assert_eq!(driver.in_use(), [0, 1]);
    driver.at(servers[1]).up();
    assert_eq!(driver.send_one().resource_names, ["a"]);
    driver.receive(Listener, "1", vec![listener("a", "fallback")]);
    assert_eq!(driver.told(), [good(Listener, "a")]);
    // The better one is tried all the time.
    assert_eq!(driver.in_use(), [0, 1]);
}

#[test]
fn all_servers_down_is_told_with_the_reasons_of_all() {
    let (mut driver, servers) = with_servers(3);
    driver.subscribe(Listener, &["a"]);
    driver.down("one");
    driver.at(servers[1]).down("two");
    assert!(driver.told().is_empty());
    driver.at(servers[2]).down("three");
    assert_eq!(driver.told(), [failed(Listener, "a", Unreachable)]);
    let text = driver.failure_text("a");
    assert!(text.contains("one; two; three"), "{text}");
    // Whatever is wanted now fails at once.
    driver.subscribe(Listener, &["b"]);
    assert_eq!(driver.told(), [failed(Listener, "b", Unreachable)]);
    driver.at(servers[1]).up();
    driver.receive(Listener, "1", vec![listener("a", "r"), listener("b", "r")]);
    assert_eq!(driver.told(), [good(Listener, "a"), good(Listener, "b")]);
    assert_eq!(driver.in_use(), [0, 1]);
}

#[test]
fn no_server_stands_in_while_all_that_is_wanted_is_known() {
    let (mut driver, _) = with_primary(2, "a");
    driver.down("closed");
    driver.down("refused");
    assert_eq!(driver.told(), [ambient(Listener, "a", Unreachable)]);
    assert_eq!(driver.in_use(), [0]);
}

#[test]
fn server_stands_in_once_something_new_is_wanted_while_the_first_is_gone() {
    let (mut driver, servers) = with_primary(2, "a");
    driver.down("closed");
    driver.down("refused");
    driver.told();
    driver.subscribe(Cluster, &["c"]);
    assert!(driver.told().is_empty());
    assert_eq!(driver.in_use(), [0, 1]);
    driver.at(servers[1]).up();
    let requests = driver.send();
    assert_eq!(requests.len(), 2, "all is asked of it, known or not");
    assert!(requests.iter().all(|request| request.version_info.is_empty()));
    driver.receive(Cluster, "f1", vec![cluster("c")]);
    // What was known of the first stays until it is replaced.
    assert_eq!(driver.told(), [good(Listener, "a"), good(Cluster, "c")]);
    driver.receive(Listener, "f1", vec![listener("a", "fallback")]);
    assert_eq!(driver.told(), [good(Listener, "a")]);
}

#[test]
fn server_that_is_slow_or_lacks_something_is_not_replaced() {
    let (mut driver, _) = with_servers(2);
    driver.subscribe(Listener, &["a"]);
    driver.subscribe(Cluster, &["c"]);
    driver.up();
    driver.send();
    driver.pass(15);
    let told = [failed(Listener, "a", DoesNotExist), failed(Cluster, "c", DoesNotExist)];
    assert_eq!(driver.told(), told);
    assert_eq!(driver.in_use(), [0]);
}

#[test]
fn first_resource_of_a_better_server_ends_the_worse() {
    let (mut driver, servers) = with_servers(3);
    driver.subscribe(Listener, &["a"]);
    driver.down("refused");
    driver.at(servers[1]).down("refused");
    driver.at(servers[2]).up();
    driver.send();
    driver.receive(Listener, "third", vec![listener("a", "third")]);
    assert_eq!(driver.in_use(), [0, 1, 2]);
    driver.at(servers[1]).up();
    assert_eq!(driver.send_one().version_info, "", "the version known is not its own");
    driver.receive(Listener, "", Vec::new());
    assert_eq!(driver.in_use(), [0, 1, 2], "an empty answer is no resource");
    driver.receive(Listener, "second", vec![listener("a", "second")]);
    assert_eq!(driver.in_use(), [0, 1]);
    driver.at(servers[0]).up();
    driver.send();
    driver.receive(Listener, "first", vec![listener("a", "first")]);
    assert_eq!(driver.in_use(), [0]);
    let status = driver.session.resources().next().unwrap();
    assert_eq!(&*status.version, "first");
}

#[test]
fn nothing_is_taken_from_a_server_that_is_no_longer_in_use() {
    let (mut driver, servers) = with_servers(2);
    driver.subscribe(Listener, &["a"]);
    driver.down("refused");
    driver.at(servers[1]).up();
    driver.send();
    driver.at(servers[0]).up();
    driver.send();
    driver.receive(Listener, "1", vec![listener("a", "first")]);
    driver.told();
    driver.at(servers[1]).receive(Listener, "2", vec![listener("a", "second")]);
    assert!(driver.told().is_empty() && driver.send().is_empty());
}

/// A server that trusts a version it gave would not send what another has replaced.
#[test]
fn version_is_not_claimed_for_what_another_server_has_replaced() {
    let (mut driver, servers) = with_primary(2, "a");
    driver.down("closed");
    driver.down("refused");
    driver.subscribe(Cluster, &["c"]);
    driver.at(servers[1]).up();
    driver.send();
    driver.receive(Listener, "f1", vec![listener("a", "fallback")]);
    driver.at(servers[0]).up();
    let requests = driver.send();
    assert!(requests.iter().all(|request| request.version_info.is_empty()), "{requests:?}");
}

#[test]
fn version_is_claimed_where_nothing_was_replaced() {
    let (mut driver, servers) = with_primary(2, "a");
    driver.down("closed");
    driver.down("refused");
    driver.subscribe(Cluster, &["c"]);
    driver.at(servers[1]).down("refused");
    driver.at(servers[0]).up();
    assert_eq!(driver.send()[0].version_info, "p1");
}

#[test]
fn timers_go_on_with_the_server_that_is_left() {
    let (mut driver, servers) = with_servers(2);
    driver.subscribe(ClusterLoadAssignment, &["e"]);
    driver.down("refused");
    driver.at(servers[1]).up();
    driver.send();
    driver.at(servers[0]).up();
    driver.send();
    driver.pass(10);
    driver.down("closed");
    driver.pass(14);
    assert!(driver.told().is_empty());
    driver.pass(1);
    assert_eq!(driver.told(), [failed(ClusterLoadAssignment, "e", DoesNotExist)]);
}

#[test]
fn name_no_longer_wanted_is_kept_until_every_server_knows() {
    let (mut driver, servers) = with_servers(2);
    driver.subscribe(ClusterLoadAssignment, &["e", "f"]);
    driver.down("refused");
    driver.at(servers[1]).up();
    driver.send();
    driver.receive(ClusterLoadAssignment, "1", vec![endpoints("e", &[1])]);
    driver.send();
    driver.at(servers[0]).up();
    driver.send();
    driver.told();
    driver.session.unsubscribe(ClusterLoadAssignment, "e");
    assert_eq!(driver.send_one().resource_names, ["f"]);
    // The other has not been told, would see no change, and not answer.
    driver.subscribe(ClusterLoadAssignment, &["e"]);
    assert_eq!(driver.told(), [good(ClusterLoadAssignment, "e")]);
    assert_eq!(driver.send_one().resource_names, ["e", "f"]);
}

#[test]
fn wildcard_that_nothing_came_for_is_asked_of_the_next_server() {
    let (mut driver, servers) = with_servers(2);
    driver.session.subscribe_all(Listener, driver.now);
    driver.down("refused");
    assert_eq!(driver.in_use(), [0, 1]);
    driver.at(servers[1]).up();
    assert!(driver.send_one().resource_names.is_empty());
    driver.receive(Listener, "1", vec![listener("a", "r")]);
    assert_eq!(driver.told(), [good(Listener, "a")]);
}

#[test]
fn stream_that_ends_after_an_answer_does_not_bring_in_the_next_server() {
    let (mut driver, _) = with_primary(2, "a");
    driver.subscribe(Cluster, &["c"]);
    assert!(driver.down("max connection age"));
    assert!(driver.told().is_empty());
    assert_eq!(driver.in_use(), [0]);
}

#[test]
fn stream_that_cannot_be_read_counts_as_out_of_reach() {
    let (mut driver, servers) = with_primary(2, "a");
    driver.subscribe(Cluster, &["c"]);
    driver.session.stream_spoiled(servers[0], "too large", driver.now);
    assert_eq!(driver.in_use(), [0, 1]);
    driver.at(servers[1]).down("refused");
    let told = [ambient(Listener, "a", Unreachable), failed(Cluster, "c", Unreachable)];
    assert_eq!(driver.told(), told);
}

#[test]
fn silence_of_a_server_that_is_then_lost_is_no_answer() {
    let (mut driver, servers) = with_primary(2, "a");
    driver.subscribe(Listener, &["b"]);
    driver.send();
    driver.pass(15);
    assert_eq!(driver.told(), [failed(Listener, "b", DoesNotExist)]);
    // It had answered before, so that its end is none yet; then nobody is there.
    driver.down("keep-alive timed out");
    assert_eq!(driver.in_use(), [0]);
    driver.down("no answer");
    assert_eq!(driver.in_use(), [0, 1]);
    driver.at(servers[1]).up();
    driver.send_one();
    let both = ["a", "b"].map(|name| listener(name, "fallback"));
    driver.receive(Listener, "1", both.to_vec());
    assert!(driver.told().contains(&good(Listener, "b")));
}

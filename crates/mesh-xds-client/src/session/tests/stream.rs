use mesh_core::ResourceType::{Cluster, ClusterLoadAssignment, Listener, RouteConfiguration};
use mesh_core::finding::FailureKind::{DoesNotExist, Invalid, Unreachable};
use mesh_pb::envoy::service::discovery::v3::{DiscoveryResponse, Resource};
use mesh_pb::google::rpc::Code;

use super::{Driver, ambient, failed, good, with_listener};
use crate::sample::{any, bad_cluster, cluster, endpoints, listener, routes};

#[test]
fn node_is_in_the_first_message_of_each_stream_only() {
    let mut driver = Driver::new();
    driver.subscribe(Listener, &["a"]);
    driver.subscribe(Cluster, &["c"]);
    let requests = driver.send();
    let node = requests[0].node.as_ref().unwrap();
    assert_eq!(node.id, "test-node");
    assert_eq!(node.user_agent_name, "mesh-xds-client");
    let features = [
        "envoy.lb.does_not_support_overprovisioning",
        "xds.config.resource-in-sotw",
        "xds.config.supports-resource-ttl",
    ];
    assert_eq!(node.client_features, features);
    assert!(requests[1].node.is_none());
    driver.restart();
    let requests = driver.send();
    assert!(requests[0].node.is_some() && requests[1].node.is_none());
}

#[test]
fn ack_has_version_and_nonce_of_the_response() {
    let mut driver = Driver::new();
    driver.subscribe(Listener, &["a"]);
    let first = driver.send_one();
    assert_eq!((&*first.version_info, &*first.response_nonce), ("", ""));
    driver.receive(Listener, "v1", vec![listener("a", "r")]);
    let ack = driver.send_one();
    assert_eq!((&*ack.version_info, &*ack.response_nonce), ("v1", "n1"));
    assert!(ack.error_detail.is_none());
    assert_eq!(ack.resource_names, ["a"]);
    assert_eq!(driver.told(), [good(Listener, "a")]);
}

#[test]
fn nack_keeps_last_good_version_and_names_every_bad_resource() {
    let mut driver = Driver::new();
    driver.subscribe(Cluster, &["a", "b", "c"]);
    driver.send();
    driver.receive(Cluster, "v1", vec![cluster("a"), cluster("b")]);
    driver.send();
    driver.told();
    let made = vec![bad_cluster("a"), cluster("b"), bad_cluster("c")];
    driver.receive(Cluster, "v2", made);
    let nack = driver.send_one();
    assert_eq!((&*nack.version_info, &*nack.response_nonce), ("v1", "n2"));
    let error = nack.error_detail.unwrap();
    assert_eq!(error.code, Code::InvalidArgument as i32);
    let expected = "2 of 3 resources refused: \
         [0] Cluster \"a\": lb_policy: unknown value 77; \
         [2] Cluster \"c\": lb_policy: unknown value 77 (node \"test-node\")";
    assert_eq!(error.message, expected);
    assert_eq!(driver.told(), [ambient(Cluster, "a", Invalid), failed(Cluster, "c", Invalid)]);
    // The error is told once: the next request for new names is no second NACK.
    driver.subscribe(Cluster, &["d"]);
    assert!(driver.send_one().error_detail.is_none());
}

#[test]
fn first_response_refused_is_nacked_without_version_and_a_later_one_accepted() {
    let mut driver = Driver::new();
    driver.subscribe(Cluster, &["a"]);
    driver.send();
    driver.receive(Cluster, "v1", vec![bad_cluster("a")]);
    let nack = driver.send_one();
    assert_eq!((&*nack.version_info, &*nack.response_nonce), ("", "n1"));
    driver.receive(Cluster, "v2", vec![cluster("a")]);
    let ack = driver.send_one();
    assert_eq!((&*ack.version_info, &*ack.response_nonce), ("v2", "n2"));
    assert_eq!(driver.told(), [failed(Cluster, "a", Invalid), good(Cluster, "a")]);
}

#[test]
fn response_of_a_type_no_longer_watched_is_acked() {
    let mut driver = with_listener("a");
    driver.session.unsubscribe(Listener, "a");
    let empty = driver.send_one();
    assert!(empty.resource_names.is_empty());
    driver.receive(Listener, "2", vec![listener("a", "r")]);
    let ack = driver.send_one();
    assert_eq!((&*ack.version_info, ack.resource_names.len()), ("2", 0));
    assert!(driver.told().is_empty());
}

#[test]
fn type_never_asked_for_is_not_answered_as_that_would_subscribe_to_all_of_it() {
    let mut driver = Driver::new();
    driver.receive(Cluster, "1", vec![cluster("a")]);
    assert!(driver.send().is_empty());
}

#[test]
fn good_resources_of_a_refused_response_take_effect() {
    let mut driver = Driver::new();
    driver.subscribe(Cluster, &["a", "b"]);
    driver.send();
    driver.receive(Cluster, "1", vec![bad_cluster("a"), cluster("b")]);
    assert_eq!(driver.told(), [failed(Cluster, "a", Invalid), good(Cluster, "b")]);
}

#[test]
fn same_refusal_is_told_once() {
    let mut driver = Driver::new();
    driver.subscribe(Cluster, &["a"]);
    driver.receive(Cluster, "1", vec![bad_cluster("a")]);
    assert_eq!(driver.told().len(), 1);
    driver.receive(Cluster, "2", vec![bad_cluster("a")]);
    assert!(driver.told().is_empty());
}

#[test]
fn new_stream_asks_for_all_names_with_versions_and_without_nonces() {
    let mut driver = with_listener("a");
    driver.subscribe(Cluster, &["c1", "c2"]);
    driver.send();
    driver.restart();
    let requests = driver.send();
    assert_eq!(requests.len(), 2);
    assert_eq!((&*requests[0].version_info, &*requests[0].response_nonce), ("1", ""));
    assert_eq!(requests[1].resource_names, ["c1", "c2"]);
    assert_eq!(requests[1].version_info, "");
}

#[test]
fn version_is_not_claimed_when_nothing_of_it_is_left() {
    let mut driver = with_listener("a");
    driver.session.unsubscribe(Listener, "a");
    driver.subscribe(Listener, &["b"]);
    driver.restart();
    assert_eq!(driver.send_one().version_info, "");
}

#[test]
fn server_need_not_send_again_after_a_restart() {
    let mut driver = with_listener("a");
    driver.restart();
    driver.send();
    driver.pass(60);
    assert!(driver.told().is_empty());
}

#[test]
fn stream_end_after_an_answer_is_no_error() {
    let mut driver = with_listener("a");
    assert!(driver.down("closed"));
    assert!(driver.told().is_empty());
    assert!(driver.session.unreachable().is_none());
}

#[test]
fn stream_end_before_any_answer_fails_what_has_no_value_and_marks_listeners() {
    let mut driver = with_listener("a");
    driver.subscribe(RouteConfiguration, &["routes"]);
    driver.restart();
    assert!(!driver.down("connection refused"));
    let told =
        [ambient(Listener, "a", Unreachable), failed(RouteConfiguration, "routes", Unreachable)];
    assert_eq!(driver.told(), told);
    let text = driver.failure_text("routes");
    assert!(text.contains("connection refused") && text.contains("test-node"), "{text}");
    // Again and again: nobody is told twice.
    driver.down("connection refused");
    assert!(driver.told().is_empty());
    // Until the server answers, if only for another type.
    driver.up();
    driver.receive(ClusterLoadAssignment, "1", Vec::new());
    assert_eq!(driver.told(), [good(Listener, "a")]);
}

#[test]
fn subscription_before_the_stream_is_sent_once_there_is_one() {
    let mut driver = Driver::new();
    driver.down("x");
    driver.subscribe(Listener, &["a"]);
    assert!(driver.send().is_empty() && !driver.session.wants_to_send(driver.server));
    driver.up();
    assert!(driver.session.wants_to_send(driver.server));
    assert_eq!(driver.send_one().resource_names, ["a"]);
}

#[test]
fn subscription_while_the_server_cannot_be_reached_fails_at_once() {
    let mut driver = Driver::new();
    driver.down("refused");
    driver.subscribe(Listener, &["a"]);
    assert_eq!(driver.told(), [failed(Listener, "a", Unreachable)]);
}

#[test]
fn any_number_of_subscriptions_is_one_request_with_all_names() {
    let mut driver = Driver::new();
    let names: Vec<String> = (0..1000).map(|number| format!("c{number:04}")).collect();
    names.iter().for_each(|name| driver.subscribe(Cluster, &[name]));
    assert_eq!(driver.send_one().resource_names, names);
    driver.session.unsubscribe(Cluster, "c0000");
    driver.subscribe(Cluster, &["d"]);
    assert_eq!(driver.send_one().resource_names.len(), 1000);
    assert!(driver.send().is_empty());
}

#[test]
fn names_added_before_the_first_answer_go_with_an_empty_nonce() {
    let mut driver = Driver::new();
    driver.subscribe(Cluster, &["a"]);
    driver.send();
    driver.subscribe(Cluster, &["b"]);
    let request = driver.send_one();
    assert_eq!((&*request.version_info, &*request.response_nonce), ("", ""));
}

#[test]
fn acknowledgement_and_new_names_share_a_request() {
    let mut driver = Driver::new();
    driver.subscribe(Cluster, &["a"]);
    driver.send();
    driver.receive(Cluster, "1", vec![cluster("a")]);
    driver.subscribe(Cluster, &["b"]);
    let request = driver.send_one();
    assert_eq!((&*request.version_info, &*request.response_nonce), ("1", "n1"));
    assert_eq!(request.resource_names, ["a", "b"]);
}

#[test]
fn unchanged_resource_is_not_told_again() {
    let mut driver = with_listener("a");
    driver.receive(Listener, "2", vec![listener("a", "routes")]);
    assert!(driver.told().is_empty());
    assert_eq!(driver.send_one().version_info, "2");
    let status = driver.session.resources().next().unwrap();
    assert_eq!(&*status.version, "2");
}

#[test]
fn unsubscribed_and_wanted_again_is_fetched_again() {
    let mut driver = with_listener("a");
    driver.session.unsubscribe(Listener, "a");
    driver.send();
    driver.subscribe(Listener, &["a"]);
    assert_eq!(driver.send_one().resource_names, ["a"]);
    driver.receive(Listener, "1", vec![listener("a", "routes")]);
    assert_eq!(driver.told(), [good(Listener, "a")]);
}

/// The server would see the same names as before, and not answer.
#[test]
fn wanted_again_before_the_server_is_told_keeps_its_value() {
    let mut driver = with_listener("a");
    driver.session.unsubscribe(Listener, "a");
    assert_eq!(driver.session.resources().count(), 0);
    driver.subscribe(Listener, &["a"]);
    assert_eq!(driver.told(), [good(Listener, "a")]);
    assert_eq!(driver.send_one().resource_names, ["a"]);
    driver.pass(16);
    assert!(driver.told().is_empty());
}

#[test]
fn wanted_again_while_unanswered_is_still_timed() {
    let mut driver = Driver::new();
    driver.subscribe(Listener, &["a"]);
    driver.send();
    driver.session.unsubscribe(Listener, "a");
    assert_eq!(driver.session.next_deadline(), None);
    driver.subscribe(Listener, &["a"]);
    driver.send();
    driver.pass(15);
    assert_eq!(driver.told(), [failed(Listener, "a", DoesNotExist)]);
}

#[test]
fn names_that_come_and_go_in_an_outage_are_not_kept() {
    let mut driver = with_listener("a");
    driver.down("gone");
    driver.session.unsubscribe(Listener, "a");
    driver.subscribe(Listener, &["a", "b"]);
    assert_eq!(driver.told(), [good(Listener, "a")]);
    driver.session.unsubscribe(Listener, "b");
    driver.session.unsubscribe(Listener, "a");
    driver.up();
    assert!(driver.send().is_empty());
    driver.subscribe(Listener, &["a"]);
    assert_eq!(driver.send_one().version_info, "");
}

#[test]
fn update_with_some_routes_or_endpoints_keeps_the_others() {
    let mut driver = Driver::new();
    driver.subscribe(RouteConfiguration, &["r1", "r2"]);
    driver.subscribe(ClusterLoadAssignment, &["e1", "e2"]);
    let both = vec![routes("r1", &["c"]), routes("r2", &["c"])];
    driver.receive(RouteConfiguration, "1", both);
    driver.receive(ClusterLoadAssignment, "1", vec![endpoints("e1", &[1]), endpoints("e2", &[1])]);
    driver.told();
    driver.receive(RouteConfiguration, "2", vec![routes("r1", &["d"])]);
    driver.receive(ClusterLoadAssignment, "2", vec![endpoints("e2", &[2])]);
    assert_eq!(driver.told(), [good(RouteConfiguration, "r1"), good(ClusterLoadAssignment, "e2")]);
}

#[test]
fn resource_may_come_in_a_wrapper_whose_name_counts() {
    let mut driver = Driver::new();
    driver.subscribe(Listener, &["a"]);
    let wrapper = Resource {
        name: "a".to_owned(),
        resource: Some(listener("", "routes")),
        ..Resource::default()
    };
    driver.receive(Listener, "1", vec![any(&wrapper)]);
    assert_eq!(driver.told(), [good(Listener, "a")]);
    assert!(driver.send_one().error_detail.is_none());
}

#[test]
fn response_of_an_unknown_type_changes_nothing() {
    let mut driver = with_listener("a");
    let response = DiscoveryResponse { type_url: "x".to_owned(), ..DiscoveryResponse::default() };
    driver.take(response);
    assert!(driver.told().is_empty() && driver.send().is_empty());
}

#[test]
fn strange_resources_are_refused_by_index() {
    let mut driver = Driver::new();
    driver.subscribe(Cluster, &["a"]);
    driver.send();
    let mut truncated = cluster("t");
    truncated.value.pop();
    let made = vec![
        listener("l", "r"),
        cluster(""),
        truncated,
        cluster("a"),
        cluster("a"),
        any(&Resource::default()),
    ];
    driver.receive(Cluster, "1", made);
    let text = driver.send_one().error_detail.unwrap().message;
    for part in [
        "5 of 6 resources refused",
        "[0] Cluster: is of type",
        "[1] Cluster: has no name",
        "[2] Cluster: cannot be read",
        "[4] Cluster \"a\": occurs twice in one response",
        "[5] Cluster: holds no resource",
    ] {
        assert!(text.contains(part), "{text:?} lacks {part:?}");
    }
    assert_eq!(driver.told(), [good(Cluster, "a")]);
}

#[test]
fn refusal_text_is_bounded() {
    let mut driver = Driver::new();
    driver.subscribe(Cluster, &["a"]);
    driver.send();
    let name = |number| format!("{number}{}", "x".repeat(100));
    let made = (0..1000).map(|number| bad_cluster(&name(number))).collect();
    driver.receive(Cluster, "1", made);
    let text = driver.send_one().error_detail.unwrap().message;
    assert!(text.len() < 9000 && text.contains("more (node"), "{}", text.len());
}

#[test]
fn invalid_resource_among_1000_is_refused_once_and_the_others_apply() {
    let mut driver = Driver::new();
    let names: Vec<String> = (0..1000).map(|number| format!("c{number:03}")).collect();
    names.iter().for_each(|name| driver.subscribe(Cluster, &[name]));
    driver.send();
    let made = |name: &String| if name == "c500" { bad_cluster(name) } else { cluster(name) };
    driver.receive(Cluster, "1", names.iter().map(made).collect());
    let nack = driver.send_one().error_detail.unwrap();
    assert!(nack.message.starts_with("1 of 1000 resources refused: [500] Cluster \"c500\""));
    assert!(driver.send().is_empty(), "a refusal is not repeated");
    let told = driver.told();
    assert_eq!(told.iter().filter(|told| told.2).count(), 999);
    // The very same again, as a server does that insists: one answer each.
    driver.receive(Cluster, "1", names.iter().map(made).collect());
    assert!(driver.send_one().error_detail.is_some());
    assert!(driver.told().is_empty() && driver.send().is_empty());
}

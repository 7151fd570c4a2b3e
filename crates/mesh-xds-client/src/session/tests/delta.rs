//! The incremental protocol. gRPC has no tests of it: these follow the protocol's specification.

use std::collections::HashMap;

use mesh_core::ResourceType::{self, Cluster, ClusterLoadAssignment, Listener, RouteConfiguration};
use mesh_core::finding::FailureKind::{Deleted, DoesNotExist, Invalid, Unreachable};
use mesh_pb::envoy::config::core::v3 as core;
use mesh_pb::envoy::extensions::transport_sockets::tls::v3 as tls;
use mesh_pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource, ResourceError, ResourceName,
};
use mesh_pb::google::protobuf::Any;
use mesh_pb::google::rpc::{Code, Status};

use super::{Driver, ResourceState, ambient, failed, good, type_url};
use crate::bootstrap::ServerFeatures;
use crate::sample::{any, bad_cluster, cluster, endpoints, listener, routes};
use crate::session::{Protocol, Request};

/// A driver that has those clusters, acknowledged.
fn with_clusters(names: &[&str]) -> Driver {
    let mut driver = Driver::delta();
    driver.subscribe(Cluster, names);
    driver.send_delta();
    let made = names.iter().map(|name| (*name, cluster(name))).collect();
    driver.change(Cluster, "1", made, &[]);
    driver.send_delta();
    driver.told();
    driver
}

fn sample(kind: ResourceType, name: &str) -> Any {
    match kind {
        Listener => listener(name, "r"),
        RouteConfiguration => routes(name, &["c"]),
        Cluster => cluster(name),
        ClusterLoadAssignment => endpoints(name, &[1]),
        ResourceType::Secret => secret(name),
    }
}

/// A certificate authority.
fn secret(name: &str) -> Any {
    let path = format!("/{name}.pem");
    let specifier = core::data_source::Specifier::Filename(path);
    let context = tls::CertificateValidationContext {
        trusted_ca: Some(core::DataSource { specifier: Some(specifier), ..Default::default() }),
        ..tls::CertificateValidationContext::default()
    };
    any(&tls::Secret {
        name: name.to_owned(),
        r#type: Some(tls::secret::Type::ValidationContext(context)),
    })
}

#[test]
fn first_request_has_node_and_names_and_later_ones_only_what_changed() {
    let mut driver = Driver::delta();
    driver.subscribe(Cluster, &["a", "b"]);
    driver.subscribe(Listener, &["l"]);
    let requests = driver.send_delta();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].type_url, type_url(Listener));
    assert_eq!(requests[0].node.as_ref().unwrap().id, "test-node");
    assert_eq!(requests[1].resource_names_subscribe, ["a", "b"]);
    assert!(requests[1].node.is_none() && requests[1].initial_resource_versions.is_empty());
    driver.subscribe(Cluster, &["c"]);
    driver.session.unsubscribe(Cluster, "a");
    let change = driver.send_one_delta();
    let expected = DeltaDiscoveryRequest {
        type_url: type_url(Cluster).to_owned(),
        resource_names_subscribe: vec!["c".to_owned()],
        resource_names_unsubscribe: vec!["a".to_owned()],
        ..DeltaDiscoveryRequest::default()
    };
    assert_eq!(change, expected);
    assert!(driver.send_delta().is_empty());
}

#[test]
fn each_response_is_acknowledged_by_its_nonce_and_nothing_else() {
    let mut driver = Driver::delta();
    driver.subscribe(Cluster, &["a", "b"]);
    driver.send_delta();
    driver.change(Cluster, "1", vec![("a", cluster("a"))], &[]);
    driver.change(Cluster, "1", vec![("b", cluster("b"))], &[]);
    driver.subscribe(Cluster, &["c"]);
    let requests = driver.send_delta();
    let nonces: Vec<&str> = requests.iter().map(|r| r.response_nonce.as_str()).collect();
    assert_eq!(nonces, ["n1", "n2", ""]);
    // A server drops the whole of a request with a nonce that is not its latest.
    assert!(requests[..2].iter().all(|request| request.resource_names_subscribe.is_empty()));
    assert_eq!(requests[2].resource_names_subscribe, ["c"]);
}

#[test]
fn refusal_names_each_bad_resource_and_the_others_apply() {
    let mut driver = with_clusters(&["a", "b"]);
    driver.subscribe(Cluster, &["c"]);
    driver.send_delta();
    let made = vec![("a", bad_cluster("a")), ("c", cluster("c"))];
    driver.change(Cluster, "2", made, &[]);
    assert_eq!(driver.told(), [ambient(Cluster, "a", Invalid), good(Cluster, "c")]);
    let nack = driver.send_one_delta();
    assert_eq!(nack.response_nonce, "n2");
    let error = nack.error_detail.unwrap();
    assert_eq!(error.code, Code::InvalidArgument as i32);
    let expected = "1 of 2 resources refused: \
         [0] Cluster \"a\": lb_policy: unknown value 77 (node \"test-node\")";
    assert_eq!(error.message, expected);
    // Later changes of others are not held up.
    driver.change(Cluster, "3", vec![("b", cluster("b")), ("a", cluster("a"))], &[]);
    assert_eq!(driver.told(), [good(Cluster, "a")]);
    assert!(driver.send_one_delta().error_detail.is_none());
}

#[test]
fn what_a_response_leaves_out_is_as_it_was() {
    for kind in ResourceType::ALL {
        let mut driver = Driver::delta();
        driver.subscribe(kind, &["a", "b"]);
        driver.send_delta();
        let made = vec![("a", sample(kind, "a")), ("b", sample(kind, "b"))];
        driver.change(kind, "1", made, &[]);
        driver.told();
        driver.change(kind, "2", Vec::new(), &[]);
        assert!(driver.told().is_empty());
        assert_eq!(driver.state("a"), ResourceState::Acked);
    }
}

#[test]
fn removal_is_told_for_every_type_and_the_value_kept() {
    for kind in ResourceType::ALL {
        let mut driver = Driver::delta();
        driver.subscribe(kind, &["a"]);
        driver.send_delta();
        driver.change(kind, "1", vec![("a", sample(kind, "a"))], &[]);
        driver.told();
        driver.change(kind, "2", Vec::new(), &["a", "never wanted"]);
        assert_eq!(driver.told(), [ambient(kind, "a", Deleted)]);
        assert_eq!(driver.state("a"), ResourceState::DoesNotExist);
        driver.change(kind, "3", vec![("a", sample(kind, "a"))], &[]);
        assert_eq!(driver.told(), [good(kind, "a")]);
    }
}

#[test]
fn removal_drops_the_value_where_data_errors_are_to_fail() {
    for kind in ResourceType::ALL {
        let features =
            ServerFeatures { delta: true, fail_on_data_errors: true, ..Default::default() };
        let mut driver = Driver::with_features(features);
        driver.subscribe(kind, &["a"]);
        driver.send_delta();
        driver.change(kind, "1", vec![("a", sample(kind, "a"))], &[]);
        driver.told();
        driver.change(kind, "2", Vec::new(), &["a"]);
        assert_eq!(driver.told(), [failed(kind, "a", Deleted)]);
    }
}

#[test]
fn missing_name_is_known_at_once_and_not_waited_for() {
    let mut driver = Driver::delta();
    driver.subscribe(Cluster, &["a"]);
    driver.send_delta();
    assert!(driver.session.next_deadline().is_some());
    driver.change(Cluster, "", Vec::new(), &["a"]);
    assert_eq!(driver.told(), [failed(Cluster, "a", DoesNotExist)]);
    assert_eq!(driver.session.next_deadline(), None);
    assert_eq!(driver.send_one_delta().response_nonce, "n1");
}

#[test]
fn silence_still_ends_with_the_resource_timer() {
    let mut driver = Driver::delta();
    driver.subscribe(Cluster, &["a"]);
    driver.send_delta();
    driver.pass(15);
    assert_eq!(driver.told(), [failed(Cluster, "a", DoesNotExist)]);
}

#[test]
fn new_stream_says_what_is_known_with_versions_and_subscribes_to_all() {
    let mut driver = with_clusters(&["a", "b"]);
    driver.subscribe(Cluster, &["c"]);
    driver.restart();
    let first = driver.send_one_delta();
    assert!(first.node.is_some());
    assert_eq!(first.resource_names_subscribe, ["a", "b", "c"]);
    let known = [("a", "1"), ("b", "1")].map(|(name, v)| (name.to_owned(), v.to_owned()));
    assert_eq!(first.initial_resource_versions, HashMap::from(known));
    // Once in a stream.
    driver.subscribe(Cluster, &["d"]);
    let next = driver.send_one_delta();
    assert!(next.initial_resource_versions.is_empty() && next.node.is_none());
    // The server has nothing to add: what is known stays.
    driver.pass(14);
    assert!(driver.told().is_empty());
    driver.pass(1);
    let missing = [failed(Cluster, "c", DoesNotExist), failed(Cluster, "d", DoesNotExist)];
    assert_eq!(driver.told(), missing);
}

#[test]
fn versions_are_those_of_each_resource() {
    let mut driver = with_clusters(&["a", "b"]);
    driver.change(Cluster, "2", vec![("b", cluster("b"))], &[]);
    driver.restart();
    let versions = driver.send_one_delta().initial_resource_versions;
    assert_eq!((versions["a"].as_str(), versions["b"].as_str()), ("1", "2"));
}

#[test]
fn unsubscribed_and_wanted_again_is_subscribed_to_again_and_answered() {
    let mut driver = with_clusters(&["a"]);
    driver.session.unsubscribe(Cluster, "a");
    assert_eq!(driver.send_one_delta().resource_names_unsubscribe, ["a"]);
    driver.subscribe(Cluster, &["a"]);
    assert_eq!(driver.send_one_delta().resource_names_subscribe, ["a"]);
    driver.change(Cluster, "1", vec![("a", cluster("a"))], &[]);
    assert_eq!(driver.told(), [good(Cluster, "a")]);
}

#[test]
fn unsubscribed_and_wanted_again_in_one_go_is_not_mentioned() {
    let mut driver = with_clusters(&["a"]);
    driver.session.unsubscribe(Cluster, "a");
    driver.subscribe(Cluster, &["a"]);
    assert!(driver.send_delta().is_empty());
    assert_eq!(driver.told(), [good(Cluster, "a")]);
}

#[test]
fn name_that_is_waited_for_dropped_and_wanted_again_is_still_waited_for() {
    let mut driver = Driver::delta();
    driver.subscribe(Cluster, &["a"]);
    driver.send_delta();
    driver.pass(10);
    driver.session.unsubscribe(Cluster, "a");
    driver.subscribe(Cluster, &["a"]);
    assert!(driver.session.wants_to_send(driver.server));
    assert!(driver.send_delta().is_empty(), "the server knows it is wanted");
    // From now on, and not from when it was wanted first.
    driver.pass(14);
    assert!(driver.told().is_empty());
    driver.pass(1);
    assert_eq!(driver.told(), [failed(Cluster, "a", DoesNotExist)]);
}

#[test]
fn resource_is_also_known_by_the_alias_it_was_asked_for() {
    let mut driver = Driver::delta();
    driver.subscribe(Cluster, &["alias"]);
    driver.send_delta();
    let made = Resource {
        name: "full".to_owned(),
        aliases: vec!["other".to_owned(), "alias".to_owned()],
        version: "1".to_owned(),
        resource: Some(cluster("full")),
        ..Resource::default()
    };
    let response = DeltaDiscoveryResponse {
        type_url: type_url(Cluster).to_owned(),
        nonce: "x".to_owned(),
        resources: vec![made],
        ..DeltaDiscoveryResponse::default()
    };
    driver.session.receive(driver.server, response, driver.now);
    assert_eq!(driver.told(), [good(Cluster, "alias")]);
    assert!(driver.send_one_delta().error_detail.is_none());
}

#[test]
fn removed_and_sent_in_one_response_is_there() {
    let mut driver = with_clusters(&["a"]);
    driver.change(Cluster, "2", vec![("a", cluster("a"))], &["a"]);
    assert!(driver.told().is_empty());
    assert_eq!(driver.state("a"), ResourceState::Acked);
}

#[test]
fn errors_by_resource_come_by_delta_as_well() {
    let mut driver = Driver::delta();
    driver.subscribe(Cluster, &["none", "busy"]);
    driver.send_delta();
    let error = |name: &str, code: Code| ResourceError {
        resource_name: Some(ResourceName { name: name.to_owned(), ..ResourceName::default() }),
        error_detail: Some(Status { code: code as i32, ..Status::default() }),
    };
    let response = DeltaDiscoveryResponse {
        type_url: type_url(Cluster).to_owned(),
        resource_errors: vec![error("none", Code::NotFound), error("busy", Code::Internal)],
        ..DeltaDiscoveryResponse::default()
    };
    driver.session.receive(driver.server, response, driver.now);
    let told = [failed(Cluster, "none", DoesNotExist), failed(Cluster, "busy", Unreachable)];
    assert_eq!(driver.told(), told);
}

#[test]
fn strange_changes_are_refused_by_index() {
    let mut driver = Driver::delta();
    driver.subscribe(Cluster, &["a"]);
    driver.send_delta();
    let made = |name: &str, resource: Option<Any>| Resource {
        name: name.to_owned(),
        resource,
        ..Resource::default()
    };
    let mut truncated = cluster("a");
    truncated.value.pop();
    let response = DeltaDiscoveryResponse {
        type_url: type_url(Cluster).to_owned(),
        nonce: "n".to_owned(),
        resources: vec![
            made("h", None),
            made("", Some(cluster(""))),
            made("l", Some(listener("l", "r"))),
            made("a", Some(truncated)),
            made("a", Some(cluster("a"))),
            made("w", Some(any(&Resource::default()))),
        ],
        ..DeltaDiscoveryResponse::default()
    };
    driver.session.receive(driver.server, response, driver.now);
    let text = driver.send_one_delta().error_detail.unwrap().message;
    for part in [
        "6 of 6 resources refused",
        "[0] Cluster \"h\": holds no resource",
        "[1] Cluster: has no name",
        "[2] Cluster: is of type",
        "[3] Cluster \"a\": cannot be read",
        "[4] Cluster \"a\": occurs twice",
        "[5] Cluster: is of type",
    ] {
        assert!(text.contains(part), "{text:?} lacks {part:?}");
    }
}

#[test]
fn type_never_asked_for_is_not_answered() {
    let mut driver = Driver::delta();
    driver.change(Cluster, "1", vec![("a", cluster("a"))], &[]);
    assert!(driver.send_delta().is_empty());
}

#[test]
fn server_that_does_not_read_answers_is_not_read_either() {
    let mut driver = with_clusters(&["a"]);
    for _ in 0..256 {
        assert!(!driver.session.is_full(driver.server));
        driver.change(Cluster, "1", Vec::new(), &[]);
    }
    assert!(driver.session.is_full(driver.server));
    driver.send_delta();
    assert!(!driver.session.is_full(driver.server));
}

#[test]
fn change_of_protocol_keeps_what_is_known_and_claims_no_version() {
    let mut driver = with_clusters(&["a"]);
    driver.down("unimplemented");
    driver.session.set_protocol(driver.server, Protocol::StateOfTheWorld);
    driver.up();
    let Some(Request::StateOfTheWorld(request)) = driver.session.poll_request(driver.server) else {
        panic!("of the other protocol");
    };
    assert_eq!((&*request.version_info, &*request.resource_names), ("", &["a".to_owned()][..]));
    assert!(driver.told().is_empty());
    assert_eq!(driver.session.values().count(), 1);
}

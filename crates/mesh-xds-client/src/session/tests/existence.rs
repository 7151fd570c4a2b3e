use mesh_core::ResourceType::{Cluster, Listener, RouteConfiguration};
use mesh_core::finding::FailureKind::{Deleted, DoesNotExist, Invalid, Unreachable};
use mesh_pb::envoy::service::discovery::v3::{DiscoveryResponse, ResourceError, ResourceName};
use mesh_pb::google::rpc::{Code, Status};

use super::{Driver, ResourceState, ambient, failed, good, type_url, with_listener};
use crate::bootstrap::ServerFeatures;
use crate::sample::{bad_cluster, cluster, listener, routes};

fn failing_features() -> ServerFeatures {
    ServerFeatures { fail_on_data_errors: true, ..ServerFeatures::default() }
}

#[test]
fn deleted_listener_is_kept_and_said_to_be_deleted() {
    let mut driver = with_listener("a");
    driver.receive(Listener, "2", Vec::new());
    assert_eq!(driver.told(), [ambient(Listener, "a", Deleted)]);
    assert_eq!(driver.state("a"), ResourceState::DoesNotExist);
    driver.receive(Listener, "3", Vec::new());
    assert!(driver.told().is_empty());
    // The very same value comes back: the failure is over.
    driver.receive(Listener, "4", vec![listener("a", "routes")]);
    assert_eq!(driver.told(), [good(Listener, "a")]);
}

#[test]
fn fail_on_data_errors_drops_what_is_deleted_or_refused() {
    let mut driver = Driver::with_features(failing_features());
    driver.subscribe(Cluster, &["a", "b"]);
    driver.receive(Cluster, "1", vec![cluster("a"), cluster("b")]);
    driver.told();
    driver.receive(Cluster, "2", vec![bad_cluster("b")]);
    assert_eq!(driver.told(), [failed(Cluster, "b", Invalid), failed(Cluster, "a", Deleted)]);
}

#[test]
fn fail_on_data_errors_does_not_drop_for_an_outage() {
    let mut driver = Driver::with_features(failing_features());
    driver.subscribe(Listener, &["a"]);
    driver.receive(Listener, "1", vec![listener("a", "r")]);
    driver.restart();
    driver.down("refused");
    driver.down("refused");
    assert_eq!(driver.told(), [good(Listener, "a"), ambient(Listener, "a", Unreachable)]);
}

#[test]
fn listener_never_received_is_not_deleted_by_absence() {
    let mut driver = with_listener("a");
    driver.subscribe(Listener, &["b"]);
    driver.receive(Listener, "2", vec![listener("a", "routes")]);
    assert!(driver.told().is_empty());
    assert_eq!(driver.state("b"), ResourceState::Requested);
}

#[test]
fn routes_are_not_deleted_by_absence() {
    let mut driver = Driver::new();
    driver.subscribe(RouteConfiguration, &["r"]);
    driver.receive(RouteConfiguration, "1", vec![routes("r", &["c"])]);
    driver.told();
    driver.receive(RouteConfiguration, "2", Vec::new());
    assert!(driver.told().is_empty());
}

#[test]
fn refused_cluster_is_not_taken_for_deleted() {
    let mut driver = Driver::new();
    driver.subscribe(Cluster, &["a"]);
    driver.receive(Cluster, "1", vec![cluster("a")]);
    driver.receive(Cluster, "2", vec![bad_cluster("a")]);
    assert_eq!(driver.told(), [good(Cluster, "a"), ambient(Cluster, "a", Invalid)]);
    assert_eq!(driver.state("a"), ResourceState::Nacked);
    let text = driver.failure_text("a");
    assert!(text.contains("refused: lb_policy: unknown value 77"), "{text}");
}

#[test]
fn errors_by_resource_speak_of_it_or_of_the_server() {
    let mut driver = Driver::new();
    driver.subscribe(RouteConfiguration, &["none", "busy"]);
    let error = |name: &str, code: Code| ResourceError {
        resource_name: Some(ResourceName { name: name.to_owned(), ..ResourceName::default() }),
        error_detail: Some(Status {
            code: code as i32,
            message: "because".to_owned(),
            ..Status::default()
        }),
    };
    let response = DiscoveryResponse {
        type_url: type_url(RouteConfiguration).to_owned(),
        resource_errors: vec![error("none", Code::NotFound), error("busy", Code::Unavailable)],
        ..DiscoveryResponse::default()
    };
    driver.take(response);
    let told = [
        failed(RouteConfiguration, "none", DoesNotExist),
        failed(RouteConfiguration, "busy", Unreachable),
    ];
    assert_eq!(driver.told(), told);
    assert!(driver.failure_text("none").contains("because"));
}

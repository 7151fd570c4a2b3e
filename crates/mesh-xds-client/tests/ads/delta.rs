use mesh_core::ResourceType::{Cluster, ClusterLoadAssignment, Listener, RouteConfiguration};
use mesh_core::finding::FailureKind;
use mesh_xds_client::Options;
use tonic::Status;

use crate::resources::{cluster, endpoints, listener, routes};
use crate::server::Server;
use crate::walk::{Fixture, is_ready, serve_walk};

fn delta() -> Options {
    Options::default().with_delta().with_unsubscribe_delay(std::time::Duration::ZERO)
}

#[tokio::test]
async fn walks_from_listener_to_endpoints_by_the_incremental_protocol() {
    let mut server = Server::start_delta().await;
    let mut fixture = Fixture::with_options(&server.uri(), delta());
    let subscription = fixture.subscribe("reviews");
    let mut stream = server.delta_stream().await;
    let first = stream.request_of(Listener).await;
    assert_eq!(first.resource_names_subscribe, ["reviews"]);
    assert_eq!(first.node.unwrap().id, "test-node");
    stream.respond(Listener, "1", vec![("reviews", listener("reviews", "r"))], &[]).await;
    assert_eq!(stream.request_of(Listener).await.response_nonce, "delta-1");
    assert_eq!(stream.request_of(RouteConfiguration).await.resource_names_subscribe, ["r"]);
    let made = vec![("r", routes("r", &["v1", "gone"]))];
    stream.respond(RouteConfiguration, "1", made, &[]).await;
    assert_eq!(stream.request_of(RouteConfiguration).await.response_nonce, "delta-2");
    assert_eq!(stream.request_of(Cluster).await.resource_names_subscribe, ["gone", "v1"]);
    stream.respond(Cluster, "1", vec![("v1", cluster("v1"))], &["gone"]).await;
    assert_eq!(stream.request_of(Cluster).await.response_nonce, "delta-3");
    let asked = stream.request_of(ClusterLoadAssignment).await;
    assert_eq!(asked.resource_names_subscribe, ["v1"]);
    let made = vec![("v1", endpoints("v1", &[8080]))];
    stream.respond(ClusterLoadAssignment, "1", made, &[]).await;
    stream.request_of(ClusterLoadAssignment).await;
    fixture.until("the root", |resources| is_ready(resources, "reviews")).await;
    let (_, gone) = fixture.resources.clusters().find(|(name, _)| &***name == "gone").unwrap();
    assert_eq!(gone.failure.as_ref().unwrap().kind, FailureKind::DoesNotExist);
    drop(subscription);
    for kind in [Listener, RouteConfiguration, Cluster, ClusterLoadAssignment] {
        let ended = stream.request_of(kind).await;
        assert!(!ended.resource_names_unsubscribe.is_empty() && ended.response_nonce.is_empty());
    }
}

#[tokio::test]
async fn server_that_does_not_speak_delta_is_asked_by_the_state_of_the_world_at_once() {
    let mut server = Server::start().await;
    let mut fixture = Fixture::with_options(&server.uri(), delta());
    let _subscription = fixture.subscribe("reviews");
    let mut stream = server.stream().await;
    serve_walk(&mut stream, "reviews", &["v1"]).await;
    let update = fixture.update().await;
    assert!(update.roots.values().flatten().all(|root| root.listener.failure.is_none()));
    fixture.until("the root", |resources| is_ready(resources, "reviews")).await;
    // Remembered: the next stream is not tried by delta first.
    stream.fail(Status::unavailable("max connection age")).await;
    let mut stream = server.stream().await;
    assert_eq!(stream.request_of(Listener).await.version_info, "1");
}

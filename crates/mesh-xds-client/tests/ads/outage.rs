use mesh_core::ResourceType::{Cluster, ClusterLoadAssignment, Listener, RouteConfiguration};
use mesh_core::finding::FailureKind;
use tonic::Status;

use crate::resources::endpoints;
use crate::server::{Server, within};
use crate::walk::{Fixture, is_ready, serve_walk};

#[tokio::test]
async fn control_plane_that_was_never_there_fails_roots_with_its_reason_then_heals() {
    let address = Server::start().await.stop().await;
    let mut fixture = Fixture::new(&address.to_string());
    let _subscription = fixture.subscribe("reviews");
    let update = fixture.update().await;
    let root = update.roots["reviews"].as_ref().unwrap();
    let failure = root.listener.failure.as_ref().unwrap();
    assert_eq!(failure.kind, FailureKind::Unreachable);
    let text = failure.to_string();
    for part in [address.to_string().as_str(), "onnection refused", "test-node", "reviews"] {
        assert!(text.contains(part), "{text:?} lacks {part:?}");
    }
    let mut server = Server::start_at(address).await;
    let mut stream = server.stream().await;
    serve_walk(&mut stream, "reviews", &["v1"]).await;
    fixture.until("the root", |resources| is_ready(resources, "reviews")).await;
    assert!(fixture.resources.roots().all(|(_, root)| root.listener.failure.is_none()));
}

#[tokio::test]
async fn subscription_made_during_an_outage_fails_at_once() {
    let address = Server::start().await.stop().await;
    let mut fixture = Fixture::new(&address.to_string());
    let _first = fixture.subscribe("first");
    fixture.update().await;
    let _second = fixture.subscribe("second");
    fixture.until("the second root", |r| r.roots().any(|(name, _)| &**name == "second")).await;
}

#[tokio::test]
async fn restarted_server_is_asked_again_with_versions_and_nothing_is_lost() {
    let mut server = Server::start().await;
    let mut fixture = Fixture::new(&server.uri());
    let _subscription = fixture.subscribe("reviews");
    let mut stream = server.stream().await;
    serve_walk(&mut stream, "reviews", &["v1"]).await;
    fixture.until("the root", |resources| is_ready(resources, "reviews")).await;
    drop(stream);
    let address = server.stop().await;
    let mut server = Server::start_at(address).await;
    let mut stream = server.stream().await;
    for (index, kind) in
        [Listener, RouteConfiguration, Cluster, ClusterLoadAssignment].into_iter().enumerate()
    {
        let request = stream.request_of(kind).await;
        assert_eq!(request.version_info, "1", "{kind}");
        assert_eq!(request.response_nonce, "", "{kind}");
        assert_eq!(request.node.is_some(), index == 0, "{kind}");
        assert_eq!(request.resource_names.len(), 1, "{kind}");
    }
    stream.respond(ClusterLoadAssignment, "2", vec![endpoints("v1", &[8081])]).await;
    fixture
        .until("the new endpoints", |resources| {
            let ports = resources.endpoints().filter_map(|(_, entry)| entry.value.as_ref());
            ports.flat_map(|e| &e.localities[0].endpoints).all(|e| e.address.port() == 8081)
        })
        .await;
    assert!(is_ready(&fixture.resources, "reviews"));
    assert!(fixture.resources.roots().all(|(_, root)| root.listener.failure.is_none()));
}

#[tokio::test]
async fn stream_closed_after_an_answer_is_no_error_and_is_opened_again() {
    let mut server = Server::start().await;
    let mut fixture = Fixture::new(&server.uri());
    let _subscription = fixture.subscribe("reviews");
    let mut stream = server.stream().await;
    serve_walk(&mut stream, "reviews", &["v1"]).await;
    fixture.until("the root", |resources| is_ready(resources, "reviews")).await;
    stream.fail(Status::unavailable("max connection age")).await;
    let mut stream = server.stream().await;
    assert_eq!(stream.request_of(Listener).await.version_info, "1");
    assert!(fixture.resources.roots().all(|(_, root)| root.listener.failure.is_none()));
    let error = fixture.client.status().servers[0].error.clone().unwrap().0;
    assert!(error.contains("max connection age"), "{error}");
}

#[tokio::test]
async fn stream_refused_unanswered_is_told_with_its_status() {
    let mut server = Server::start().await;
    let mut fixture = Fixture::new(&server.uri());
    let _subscription = fixture.subscribe("reviews");
    server.stream().await.fail(Status::permission_denied("node is not welcome")).await;
    let update = fixture.update().await;
    let root = update.roots["reviews"].as_ref().unwrap();
    let text = root.listener.failure.as_ref().unwrap().to_string();
    assert!(text.contains("PermissionDenied: node is not welcome"), "{text}");
}

#[tokio::test]
async fn response_over_the_limit_ends_the_stream_with_that_reason() {
    use mesh_xds_client::{Bootstrap, Client, Options};
    let mut server = Server::start().await;
    let bootstrap = Bootstrap::builder(server.uri()).build().unwrap();
    let options = Options::default().with_max_message_bytes(1000);
    let runtime = tokio::runtime::Handle::current();
    let (client, mut updates) = Client::spawn_with(bootstrap, options, &runtime);
    let target = "reviews".parse().unwrap();
    let _subscription = client.subscribe(&target, mesh_core::Dialect::Grpc);
    let mut stream = server.stream().await;
    let ports: Vec<u32> = (1..200).collect();
    stream.respond(ClusterLoadAssignment, "1", vec![endpoints("big", &ports)]).await;
    let update = within("an update", updates.next()).await.unwrap();
    let root = update.roots["reviews"].as_ref().unwrap();
    let text = root.listener.failure.as_ref().unwrap().to_string();
    assert!(text.contains("OutOfRange"), "{text}");
}

#[tokio::test]
async fn dropped_client_closes_its_stream_and_ends_its_updates() {
    let mut server = Server::start().await;
    let Fixture { client, mut updates, .. } = Fixture::new(&server.uri());
    let subscription = client.subscribe(&"reviews".parse().unwrap(), mesh_core::Dialect::Http);
    let stream = server.stream().await;
    drop(client);
    assert!(within("the end", updates.next()).await.is_none());
    within("the end of the stream", stream.closed()).await;
    drop(subscription);
}

use std::time::Duration;

use mesh_core::ResourceType::{Cluster, ClusterLoadAssignment, Listener, RouteConfiguration};
use mesh_core::finding::FailureKind;
use tokio::io::AsyncWriteExt as _;
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
    let (_subscription, stream) = fixture.walk(&mut server, "reviews", &["v1"]).await;
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
            ports.flat_map(|e| &e.localities[0].endpoints).all(|e| e.address().port() == 8081)
        })
        .await;
    assert!(is_ready(&fixture.resources, "reviews"));
    assert!(fixture.resources.roots().all(|(_, root)| root.listener.failure.is_none()));
}

#[tokio::test]
async fn stream_closed_after_an_answer_is_no_error_and_is_opened_again() {
    let mut server = Server::start().await;
    let mut fixture = Fixture::new(&server.uri());
    let (_subscription, stream) = fixture.walk(&mut server, "reviews", &["v1"]).await;
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

#[tokio::test]
async fn connection_that_went_silent_is_noticed_by_keep_alive() {
    use mesh_xds_client::{Bootstrap, Client, Options};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bootstrap = Bootstrap::builder(listener.local_addr().unwrap().to_string());
    let short = Duration::from_millis(50);
    let options = Options::default().with_keep_alive(short, short);
    let runtime = tokio::runtime::Handle::current();
    let (client, mut updates) = Client::spawn_with(bootstrap.build().unwrap(), options, &runtime);
    let target = "reviews".parse().unwrap();
    let _subscription = client.subscribe(&target, mesh_core::Dialect::Http);
    // Its settings, and then nothing more: as when it vanishes.
    let (mut silent, _) = within("a connection", listener.accept()).await.unwrap();
    silent.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    let update = within("an update", updates.next()).await.unwrap();
    let root = update.roots["reviews"].as_ref().unwrap();
    let text = root.listener.failure.as_ref().unwrap().to_string();
    assert!(text.contains("keep-alive timed out"), "{text}");
}

#[tokio::test]
async fn connection_that_is_accepted_and_never_answered_is_none() {
    use mesh_xds_client::{Bootstrap, Client, Options};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bootstrap = Bootstrap::builder(listener.local_addr().unwrap().to_string());
    let options = Options::default().with_connect_timeout(Duration::from_millis(50));
    let runtime = tokio::runtime::Handle::current();
    let (client, mut updates) = Client::spawn_with(bootstrap.build().unwrap(), options, &runtime);
    let target = "reviews".parse().unwrap();
    let _subscription = client.subscribe(&target, mesh_core::Dialect::Http);
    // As by a proxy whose server is gone.
    let _silent = within("a connection", listener.accept()).await.unwrap();
    let update = within("an update", updates.next()).await.unwrap();
    let root = update.roots["reviews"].as_ref().unwrap();
    let text = root.listener.failure.as_ref().unwrap().to_string();
    assert!(text.contains("no answer within"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn attempts_to_connect_are_spread_out_up_to_the_cap() {
    use mesh_xds_client::{Bootstrap, Client};
    let bootstrap = Bootstrap::builder("unix:/does/not/exist.sock").build().unwrap();
    let (client, _updates) = Client::spawn(bootstrap, &tokio::runtime::Handle::current());
    let mut attempts = Vec::new();
    for _ in 0..8000 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let at = client.status().servers[0].error.clone().unwrap().1;
        if attempts.last() != Some(&at) {
            attempts.push(at);
        }
    }
    let mut expected = 1.0_f64;
    for pair in attempts.windows(2) {
        let waited = (pair[1] - pair[0]).as_secs_f64();
        assert!((expected * 0.79..expected * 1.21).contains(&waited), "{waited} for {expected}");
        expected = (expected * 1.6).min(120.0);
    }
    assert!((12..=18).contains(&attempts.len()), "{}", attempts.len());
}

//! How far responses are read ahead of those who use them.

use mesh_core::ResourceType::{ClusterLoadAssignment, Listener};
use mesh_xds_client::Options;

use crate::resources::endpoints;
use crate::server::Server;
use crate::walk::{Fixture, serve_walk};

#[tokio::test]
async fn next_response_is_not_read_before_the_update_of_the_last_is_taken() {
    let mut server = Server::start().await;
    let options = Options::default().with_responses_ahead(1);
    let mut fixture = Fixture::with_options(&server.uri(), options);
    let (_subscription, mut stream) = fixture.walk(&mut server, "reviews", &["v1"]).await;
    stream.respond(ClusterLoadAssignment, "2", vec![endpoints("v1", &[2])]).await;
    assert_eq!(stream.request_of(ClusterLoadAssignment).await.version_info, "2");
    // Its update is not taken, and so the next is not read, whatever else goes on.
    stream.respond(ClusterLoadAssignment, "3", vec![endpoints("v1", &[3])]).await;
    let mut kept = Vec::new();
    for target in ["a", "b", "c", "d"] {
        kept.push(fixture.subscribe(target));
        stream.request_of(Listener).await;
    }
    let update = fixture.update().await;
    let ports = |update: &mesh_core::resource::Update| {
        let entry = update.endpoints["v1"].clone().unwrap();
        entry.value.unwrap().localities[0].endpoints[0].address().port()
    };
    assert_eq!(ports(&update), 2);
    assert_eq!(stream.request_of(ClusterLoadAssignment).await.version_info, "3");
    assert_eq!(ports(&fixture.update().await), 3);
}

#[tokio::test]
async fn updates_nobody_takes_are_merged_up_to_the_window() {
    let mut server = Server::start().await;
    let mut fixture =
        Fixture::with_options(&server.uri(), Options::default().with_responses_ahead(3));
    let (_subscription, mut stream) = fixture.walk(&mut server, "reviews", &["v1"]).await;
    for version in 2..8_u32 {
        let made = vec![endpoints("v1", &[version])];
        stream.respond(ClusterLoadAssignment, &version.to_string(), made).await;
    }
    // Answers to several may go in one.
    let mut answered = stream.request_of(ClusterLoadAssignment).await.version_info;
    while answered != "4" {
        assert!(["2", "3"].contains(&answered.as_str()), "{answered}");
        answered = stream.request_of(ClusterLoadAssignment).await.version_info;
    }
    let _other = fixture.subscribe("other");
    stream.request_of(Listener).await;
    fixture.update().await;
    let next = stream.request_of(ClusterLoadAssignment).await.version_info;
    assert!(["5", "6", "7"].contains(&next.as_str()), "{next}");
}

/// A reader that is gone holds nothing up.
#[tokio::test]
async fn nobody_waits_for_a_reader_that_is_gone() {
    let mut server = Server::start().await;
    let options = Options::default().with_responses_ahead(1);
    let Fixture { client, updates, .. } = Fixture::with_options(&server.uri(), options);
    drop(updates);
    let _subscription = client.subscribe(&"reviews".parse().unwrap(), mesh_core::Dialect::Http);
    let mut stream = server.stream().await;
    serve_walk(&mut stream, "reviews", &["v1"]).await;
    for version in 2..5_u32 {
        let made = vec![endpoints("v1", &[version])];
        stream.respond(ClusterLoadAssignment, &version.to_string(), made).await;
        stream.request_of(ClusterLoadAssignment).await;
    }
}

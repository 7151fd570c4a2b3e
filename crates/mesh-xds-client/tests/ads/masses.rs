//! Much at once, and too much.

use std::time::{Duration, Instant};

use mesh_core::ResourceType::{Cluster, ClusterLoadAssignment, Listener, RouteConfiguration};
use mesh_core::resource::Resources;
use mesh_xds_client::{Bootstrap, Client, Options};
use tokio::runtime::Handle;

use crate::resources::{cluster, endpoints, listener, routes};
use crate::server::Server;
use crate::walk::{Fixture, is_ready, serve_walk};

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("cluster-{number:04}")).collect()
}

#[tokio::test]
async fn first_sync_of_a_thousand_clusters_takes_two_requests_a_type() {
    let mut server = Server::start().await;
    let mut fixture = Fixture::new(&server.uri());
    let _subscription = fixture.subscribe("reviews");
    let mut stream = server.stream().await;
    let wanted = names(1000);
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    stream.request_of(Listener).await;
    stream.respond(Listener, "1", vec![listener("reviews", "r")]).await;
    stream.request_of(Listener).await;
    stream.request_of(RouteConfiguration).await;
    stream.respond(RouteConfiguration, "1", vec![routes("r", &wanted)]).await;
    stream.request_of(RouteConfiguration).await;
    assert_eq!(stream.request_of(Cluster).await.resource_names.len(), 1000);
    stream.respond(Cluster, "1", wanted.iter().map(|name| cluster(name)).collect()).await;
    assert_eq!(stream.request_of(Cluster).await.version_info, "1");
    assert_eq!(stream.request_of(ClusterLoadAssignment).await.resource_names.len(), 1000);
    let made = wanted.iter().map(|name| endpoints(name, &[1, 2, 3])).collect();
    stream.respond(ClusterLoadAssignment, "1", made).await;
    assert_eq!(stream.request_of(ClusterLoadAssignment).await.version_info, "1");
    fixture.until("the root", |resources| is_ready(resources, "reviews")).await;
    assert_eq!(fixture.resources.endpoints().count(), 1000);
    // Nothing more is said: the next request is for what is wanted next.
    let _other = fixture.subscribe("other");
    assert_eq!(stream.request_of(Listener).await.resource_names, ["other", "reviews"]);
}

/// As fast as they go through; the reader merges those that it is too slow for.
#[tokio::test]
async fn thousands_of_updates_end_in_the_last_one() {
    const UPDATES: u32 = 5_000;
    let mut server = Server::start().await;
    let mut fixture = Fixture::new(&server.uri());
    let (_subscription, mut stream) = fixture.walk(&mut server, "reviews", &["v1"]).await;
    let sending = tokio::spawn(async move {
        for port in 1..=UPDATES {
            let made = vec![endpoints("v1", &[port])];
            stream.respond(ClusterLoadAssignment, &port.to_string(), made).await;
        }
        let sent = Instant::now();
        while stream.request().await.version_info != UPDATES.to_string() {}
        (sent, stream)
    });
    fixture
        .until("the last update", |resources| {
            let mut all = resources.endpoints().filter_map(|(_, entry)| entry.value.as_ref());
            all.any(|e| u32::from(e.localities[0].endpoints[0].address().port()) == UPDATES)
        })
        .await;
    let settled = Instant::now();
    let (sent, _stream) = sending.await.unwrap();
    let after = settled.saturating_duration_since(sent);
    println!("{UPDATES} updates settled {after:?} after the last was sent");
    assert!(after < Duration::from_secs(5), "{after:?}");
}

/// Even if each stream begins with a good answer.
#[tokio::test]
async fn server_that_sends_too_much_is_called_less_and_less_often_and_what_is_known_stays() {
    let mut server = Server::start().await;
    let (base, cap) = (Duration::from_millis(20), Duration::from_millis(400));
    let options = Options::default().with_max_message_bytes(1500).with_backoff(base, cap);
    let bootstrap = Bootstrap::builder(server.uri()).build().unwrap();
    let (client, updates) = Client::spawn_with(bootstrap, options, &Handle::current());
    let mut fixture = Fixture { client, updates, resources: Resources::new() };
    let (_subscription, mut stream) = fixture.walk(&mut server, "reviews", &["v1"]).await;
    let mut begun = Vec::new();
    for _ in 0..8 {
        let ports: Vec<u32> = (1..200).collect();
        stream.respond(ClusterLoadAssignment, "2", vec![endpoints("v1", &ports)]).await;
        stream = server.stream().await;
        begun.push(Instant::now());
        stream.request_of(Listener).await;
        stream.respond(Listener, "2", vec![listener("reviews", "routes")]).await;
    }
    let waits: Vec<Duration> = begun.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // The jitter is a fifth either way, and what is sent takes its time.
    assert!(waits[6] >= Duration::from_millis(200), "{waits:?}");
    let error = fixture.client.status().servers[0].error.clone().unwrap().0;
    assert!(error.contains("OutOfRange"), "{error}");
    assert!(is_ready(&fixture.resources, "reviews"));
}

/// Whatever it answered before.
#[tokio::test]
async fn server_that_resets_each_stream_is_called_less_and_less_often_and_what_is_known_stays() {
    let mut server = Server::start().await;
    let (base, cap) = (Duration::from_millis(20), Duration::from_millis(400));
    let options = Options::default().with_backoff(base, cap);
    let bootstrap = Bootstrap::builder(server.uri()).build().unwrap();
    let (client, updates) = Client::spawn_with(bootstrap, options, &Handle::current());
    let mut fixture = Fixture { client, updates, resources: Resources::new() };
    let (_subscription, mut stream) = fixture.walk(&mut server, "reviews", &["v1"]).await;
    let mut begun = Vec::new();
    for _ in 0..8 {
        stream.fail(tonic::Status::internal("once more")).await;
        stream = server.stream().await;
        begun.push(Instant::now());
        stream.request_of(Listener).await;
    }
    let waits: Vec<Duration> = begun.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits[6] >= Duration::from_millis(200), "{waits:?}");
    assert!(is_ready(&fixture.resources, "reviews"));
}

/// The server of these tests allows no more.
#[tokio::test]
async fn one_stream_at_a_time_is_enough() {
    let mut server = Server::start().await;
    let mut fixture = Fixture::new(&server.uri());
    let _all = fixture.walk(&mut server, "reviews", &["v1"]).await;
}

/// Making and dropping subscriptions is what applications do when something changes.
#[tokio::test]
async fn interests_may_change_while_an_update_is_taken() {
    let mut server = Server::start().await;
    let mut fixture = Fixture::new(&server.uri());
    let first = fixture.subscribe("reviews");
    let mut stream = server.stream().await;
    serve_walk(&mut stream, "reviews", &["v1"]).await;
    let mut kept = Vec::new();
    while !is_ready(&fixture.resources, "reviews") {
        fixture.update().await;
        kept.push(fixture.subscribe("other"));
        drop(fixture.subscribe("third"));
    }
    drop(first);
    let mut asked = stream.request().await;
    while asked.type_url != mesh_pb::type_url::LISTENER || asked.resource_names != ["other"] {
        asked = stream.request().await;
    }
    fixture.until("the end of the first", |resources| resources.endpoints().count() == 0).await;
}

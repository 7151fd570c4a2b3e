//! Several servers, for one authority and for several.

use std::time::{Duration, Instant};

use mesh_core::Dialect;
use mesh_core::ResourceType::{Cluster, ClusterLoadAssignment, Listener, RouteConfiguration};
use mesh_xds_client::bootstrap::ServerConfig;
use mesh_xds_client::{Bootstrap, Client, Options};
use tokio::net::TcpListener;
use tokio::runtime::Handle;

use crate::resources::{endpoints, listener};
use crate::server::{Server, within};
use crate::walk::{Fixture, is_ready, serve_walk};

fn server(uri: &str) -> ServerConfig {
    ServerConfig::new(uri.parse().unwrap())
}

fn fixture(bootstrap: Bootstrap, options: Options) -> Fixture {
    let (client, updates) = Client::spawn_with(bootstrap, options, &Handle::current());
    Fixture { client, updates, resources: mesh_core::resource::Resources::new() }
}

fn quick() -> Options {
    Options::default().with_backoff(Duration::from_millis(50), Duration::from_millis(50))
}

#[tokio::test]
async fn second_server_stands_in_until_the_first_gives_a_resource() {
    let first = Server::start().await.stop().await;
    let mut second = Server::start().await;
    let bootstrap =
        Bootstrap::builder(first.to_string()).with_fallback_server(server(&second.uri()));
    let mut fixture = fixture(bootstrap.build().unwrap(), quick());
    assert!(fixture.client.bootstrap().not_honoured().is_empty());
    let _subscription = fixture.subscribe("reviews");
    let mut stand_in = second.stream().await;
    serve_walk(&mut stand_in, "reviews", &["v1"]).await;
    let update = fixture.update().await;
    assert!(update.roots.values().flatten().all(|root| root.listener.failure.is_none()));
    fixture.until("the root", |resources| is_ready(resources, "reviews")).await;
    assert_eq!(fixture.client.status().servers.len(), 2);

    let mut first = Server::start_at(first).await;
    let mut stream = first.stream().await;
    assert_eq!(stream.request_of(Listener).await.resource_names, ["reviews"]);
    stream.respond(Listener, "p1", vec![listener("reviews", "routes")]).await;
    within("the end of the other stream", stand_in.closed()).await;
    for kind in [RouteConfiguration, Cluster, ClusterLoadAssignment] {
        assert_eq!(stream.request_of(kind).await.version_info, "", "{kind}");
    }
    stream.request_of(Listener).await;
    stream.respond(ClusterLoadAssignment, "p1", vec![endpoints("v1", &[9])]).await;
    fixture
        .until("the first server's endpoints", |resources| {
            let ports = resources.endpoints().filter_map(|(_, entry)| entry.value.as_ref());
            ports.flat_map(|e| &e.localities[0].endpoints).all(|e| e.address().port() == 9)
        })
        .await;
    assert!(is_ready(&fixture.resources, "reviews"));
    assert_eq!(fixture.client.status().servers.len(), 1);
}

/// A proxy between that stops forwarding: the connection stays, and nobody is there.
#[tokio::test]
async fn second_server_stands_in_as_soon_as_the_first_is_found_silent() {
    let mut first = Server::start().await;
    let mut second = Server::start().await;
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = proxy.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let target = first.address;
    let forwarding = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut near, _)) = proxy.accept().await {
            let mut stopped = stopped.clone();
            held.push(tokio::spawn(async move {
                let mut far = tokio::net::TcpStream::connect(target).await.unwrap();
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    _ = stopped.wait_for(|stopped| *stopped) => {}
                }
                std::future::pending::<()>().await;
            }));
        }
    });
    let bootstrap = Bootstrap::builder(address.to_string())
        .with_fallback_server(server(&second.uri()))
        .build()
        .unwrap();
    let interval = Duration::from_millis(300);
    // Nothing is to be tried on the dead server first.
    let options = quick().with_keep_alive(interval, interval).with_connect_timeout(Duration::MAX);
    let mut fixture = fixture(bootstrap, options);
    let _all = fixture.walk(&mut first, "reviews", &["v1"]).await;
    stop.send(true).unwrap();
    let _other = fixture.subscribe("other");
    let mut stand_in = second.stream().await;
    assert_eq!(stand_in.request_of(Listener).await.resource_names, ["other", "reviews"]);
    assert!(is_ready(&fixture.resources, "reviews"));
    forwarding.abort();
}

#[tokio::test]
async fn authority_is_asked_at_its_own_server_which_is_let_go_with_the_last_name() {
    let mut ours = Server::start().await;
    let mut theirs = Server::start().await;
    let far = vec![server(&theirs.uri())];
    let near = vec![server(&ours.uri())];
    let bootstrap = Bootstrap::builder(ours.uri())
        .with_authority("far", None, far)
        .with_authority("near", None, near);
    let fixture = fixture(bootstrap.build().unwrap(), quick());
    let subscribe =
        |target: &str| fixture.client.subscribe(&target.parse().unwrap(), Dialect::Http);
    let far = subscribe("xds://far/reviews");
    let name = "xdstp://far/envoy.config.listener.v3.Listener/reviews";
    assert_eq!(&**far.listener(), name);
    let mut stream = theirs.stream().await;
    assert_eq!(stream.request_of(Listener).await.resource_names, [name]);
    let _near = subscribe("xds://near/reviews");
    let _plain = subscribe("reviews");
    let mut shared = ours.stream().await;
    let mut asked = shared.request_of(Listener).await.resource_names;
    if asked.len() == 1 {
        asked = shared.request_of(Listener).await.resource_names;
    }
    assert_eq!(asked, ["reviews", "xdstp://near/envoy.config.listener.v3.Listener/reviews"]);
    assert_eq!(fixture.client.status().servers.len(), 2);
    drop(far);
    within("the end of the stream", stream.closed()).await;
    assert_eq!(fixture.client.status().servers.len(), 1);
}

#[tokio::test]
async fn target_of_an_unknown_authority_fails_alone() {
    let mut only = Server::start().await;
    let mut fixture = fixture(Bootstrap::builder(only.uri()).build().unwrap(), quick());
    let target = "xds://nobody/reviews".parse().unwrap();
    let lost = fixture.client.subscribe(&target, Dialect::Grpc);
    let update = fixture.update().await;
    let root = update.roots[lost.listener()].as_ref().unwrap();
    let text = root.listener.failure.as_ref().unwrap().to_string();
    assert!(text.contains("authority is not configured"), "{text}");
    let _all = fixture.walk(&mut only, "reviews", &["v1"]).await;
}

/// With a backoff far longer than the test may last.
#[tokio::test]
async fn server_that_begins_to_listen_is_asked_at_once() {
    let address = Server::start().await.stop().await;
    let day = Duration::from_secs(24 * 3600);
    let bootstrap = Bootstrap::builder(address.to_string()).build().unwrap();
    let mut fixture = fixture(bootstrap, Options::default().with_backoff(day, day));
    let _subscription = fixture.subscribe("reviews");
    // The attempt that fails, and is the last for a day.
    fixture.update().await;
    let begun = Instant::now();
    let mut server = Server::start_at(address).await;
    let mut stream = server.stream().await;
    stream.request_of(Listener).await;
    let took = begun.elapsed();
    println!("asked {took:?} after it began to listen");
    assert!(took < Duration::from_secs(5), "{took:?}");
}

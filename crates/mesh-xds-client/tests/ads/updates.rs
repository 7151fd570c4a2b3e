//! What changes after the first walk, and what that costs.

use std::time::{Duration, Instant};

use mesh_core::Dialect;
use mesh_core::ResourceType::{Cluster, ClusterLoadAssignment, Listener, RouteConfiguration};
use mesh_core::resource::{Resources, Root, RouteSpecifier};
use mesh_pb::envoy::config::listener::v3 as listener_pb;
use mesh_pb::envoy::config::route::v3 as route_pb;
use mesh_pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use mesh_pb::google::protobuf::Any;
use mesh_xds_client::Options;
use prost::Message;

use crate::resources::{any, cluster, endpoints, listener, routes};
use crate::server::{AdsStream, Server};
use crate::walk::{Fixture, is_ready, serve_walk};

fn root<'a>(resources: &'a Resources, name: &str) -> &'a Root {
    resources.roots().find(|(listener, _)| &***listener == name).unwrap().1
}

/// The names of the clusters published.
fn clusters(resources: &Resources) -> Vec<String> {
    let mut names: Vec<String> = resources.clusters().map(|(name, _)| name.to_string()).collect();
    names.sort();
    names
}

async fn ready(options: Options, names: &[&str]) -> (Server, Fixture, AdsStream) {
    let mut server = Server::start().await;
    let mut fixture = Fixture::with_options(&server.uri(), options);
    // Kept until the fixture goes.
    std::mem::forget(fixture.subscribe("reviews"));
    let mut stream = server.stream().await;
    serve_walk(&mut stream, "reviews", names).await;
    fixture.until("the root", |resources| is_ready(resources, "reviews")).await;
    (server, fixture, stream)
}

/// The next request is for the listener of another target: nothing else was asked in between.
async fn nothing_was_asked(fixture: &Fixture, stream: &mut AdsStream, names: &[&str]) {
    let _other = fixture.subscribe("other");
    assert_eq!(stream.request_of(Listener).await.resource_names, names);
}

#[tokio::test]
async fn route_that_leaves_and_returns_is_not_fetched_again() {
    let (_server, mut fixture, mut stream) = ready(Options::default(), &["v1", "v2"]).await;
    stream.respond(RouteConfiguration, "2", vec![routes("routes", &["v1"])]).await;
    stream.request_of(RouteConfiguration).await;
    fixture.until("the change", |resources| clusters(resources) == ["v1"]).await;
    stream.respond(RouteConfiguration, "3", vec![routes("routes", &["v1", "v2"])]).await;
    assert_eq!(stream.request_of(RouteConfiguration).await.version_info, "3");
    fixture.until("the return", |resources| clusters(resources) == ["v1", "v2"]).await;
    assert_eq!(fixture.resources.endpoints().count(), 2);
    nothing_was_asked(&fixture, &mut stream, &["other", "reviews"]).await;
}

#[tokio::test]
async fn what_changes_while_nothing_needs_it_is_known_on_return() {
    let (_server, mut fixture, mut stream) = ready(Options::default(), &["v1", "v2"]).await;
    stream.respond(RouteConfiguration, "2", vec![routes("routes", &["v1"])]).await;
    fixture.until("the change", |resources| clusters(resources) == ["v1"]).await;
    stream.respond(ClusterLoadAssignment, "2", vec![endpoints("v2", &[1, 2, 3])]).await;
    stream.respond(RouteConfiguration, "3", vec![routes("routes", &["v2"])]).await;
    fixture.until("the return", |resources| clusters(resources) == ["v2"]).await;
    let (_, entry) = fixture.resources.endpoints().next().unwrap();
    assert_eq!(entry.value.as_ref().unwrap().localities[0].endpoints.len(), 3);
}

#[tokio::test]
async fn channel_that_is_opened_again_is_ready_at_once() {
    let mut server = Server::start().await;
    let mut fixture = Fixture::with_options(&server.uri(), Options::default());
    let (subscription, mut stream) = fixture.walk(&mut server, "reviews", &["v1"]).await;
    drop(subscription);
    fixture.until("the end", |resources| resources.roots().count() == 0).await;
    let _again = fixture.subscribe("reviews");
    fixture.until("the root", |resources| is_ready(resources, "reviews")).await;
    assert_eq!(fixture.resources.endpoints().count(), 1);
    nothing_was_asked(&fixture, &mut stream, &["other", "reviews"]).await;
}

#[tokio::test]
async fn what_stays_away_is_unsubscribed_after_the_delay() {
    let delay = Duration::from_millis(50);
    let options = Options::default().with_unsubscribe_delay(delay);
    let (_server, _fixture, mut stream) = ready(options, &["v1", "v2"]).await;
    let started = Instant::now();
    stream.respond(RouteConfiguration, "2", vec![routes("routes", &["v1"])]).await;
    stream.request_of(RouteConfiguration).await;
    let asked = [stream.request().await, stream.request().await];
    assert!(asked.iter().all(|request| request.resource_names == ["v1"]), "{asked:?}");
    assert!(started.elapsed() >= delay);
}

fn inline(name: &str, clusters: &[&str]) -> Any {
    changed(name, |manager| {
        let made =
            route_pb::RouteConfiguration::decode(routes("inline", clusters).value.as_slice());
        let made = hcm::http_connection_manager::RouteSpecifier::RouteConfig(made.unwrap());
        manager.route_specifier = Some(made);
    })
}

/// A listener whose connection manager is another.
fn changed(name: &str, change: impl FnOnce(&mut hcm::HttpConnectionManager)) -> Any {
    let made = listener(name, "routes");
    let mut made = listener_pb::Listener::decode(made.value.as_slice()).unwrap();
    let api = made.api_listener.as_mut().unwrap().api_listener.as_mut().unwrap();
    let mut manager = hcm::HttpConnectionManager::decode(api.value.as_slice()).unwrap();
    change(&mut manager);
    *api = any(&manager);
    any(&made)
}

#[tokio::test]
async fn routes_may_move_into_the_listener_and_out_again_and_to_another_name() {
    let (_server, mut fixture, mut stream) = ready(Options::default(), &["v1"]).await;
    stream.respond(Listener, "2", vec![inline("reviews", &["v1"])]).await;
    let is_inline = |resources: &Resources| {
        let listener = root(resources, "reviews").listener.value.clone().unwrap();
        matches!(listener.api_listener.routes, RouteSpecifier::Inline(_))
    };
    fixture.until("routes in the listener", is_inline).await;
    assert_eq!(&*root(&fixture.resources, "reviews").routes.value.as_ref().unwrap().name, "inline");
    let name = |resources: &Resources| {
        root(resources, "reviews").routes.value.as_ref().unwrap().name.to_string()
    };
    stream.respond(Listener, "3", vec![listener("reviews", "routes")]).await;
    fixture.until("routes beside the listener", |resources| name(resources) == "routes").await;
    stream.respond(Listener, "4", vec![listener("reviews", "others")]).await;
    loop {
        let request = stream.request().await;
        if request.resource_names.contains(&"others".to_owned()) {
            break;
        }
    }
    // The old ones serve until the new are there.
    assert_eq!(name(&fixture.resources), "routes");
    stream.respond(RouteConfiguration, "4", vec![routes("others", &["v1"])]).await;
    fixture.until("other routes", |resources| name(resources) == "others").await;
}

#[tokio::test]
async fn change_of_the_connection_manager_alone_applies() {
    let (_server, mut fixture, mut stream) = ready(Options::default(), &["v1"]).await;
    let made = changed("reviews", |manager| manager.merge_slashes = true);
    stream.respond(Listener, "2", vec![made]).await;
    let merges = |resources: &Resources| {
        let listener = root(resources, "reviews").listener.value.clone().unwrap();
        listener.api_listener.canonical.path.merge_slashes
    };
    fixture.until("the change", merges).await;
    assert!(is_ready(&fixture.resources, "reviews"));
}

#[tokio::test]
async fn new_cluster_is_published_with_or_before_the_routes_that_lead_there() {
    let (_server, mut fixture, mut stream) = ready(Options::default(), &["old"]).await;
    stream.respond(RouteConfiguration, "2", vec![routes("routes", &["new"])]).await;
    stream.request_of(RouteConfiguration).await;
    assert_eq!(stream.request_of(Cluster).await.resource_names, ["new", "old"]);
    stream.respond(Cluster, "2", vec![cluster("new"), cluster("old")]).await;
    stream.request_of(Cluster).await;
    assert_eq!(stream.request_of(ClusterLoadAssignment).await.resource_names, ["new", "old"]);
    // Everything is still as it was.
    assert_eq!(clusters(&fixture.resources), ["old"]);
    stream.respond(ClusterLoadAssignment, "2", vec![endpoints("new", &[1])]).await;
    let mut seen = Vec::new();
    while clusters(&fixture.resources) != ["new"] {
        fixture.update().await;
        let routes = root(&fixture.resources, "reviews").routes.value.clone().unwrap();
        let text = format!("{:?}", routes.virtual_hosts[0].routes);
        let routed = if text.contains("\"new\"") { "new" } else { "old" };
        seen.push(routed);
        assert!(clusters(&fixture.resources).iter().any(|name| name == routed), "{seen:?}");
        assert!(fixture.resources.endpoints().any(|(name, _)| &**name == routed), "{seen:?}");
    }
    assert_eq!(seen.last(), Some(&"new"));
}

#[tokio::test]
async fn missing_cluster_of_one_target_holds_no_other_up() {
    const TARGETS: usize = 50;
    let mut server = Server::start().await;
    let mut fixture = Fixture::new(&server.uri());
    let names: Vec<String> = (0..TARGETS).map(|number| format!("t{number}")).collect();
    let subscriptions: Vec<_> = names.iter().map(|name| fixture.subscribe(name)).collect();
    let started = Instant::now();
    let mut stream = server.stream().await;
    stream.request_of(Listener).await;
    let made = names.iter().map(|name| listener(name, &format!("r-{name}"))).collect();
    stream.respond(Listener, "1", made).await;
    let made = names.iter().map(|name| routes(&format!("r-{name}"), &[name])).collect();
    stream.request_of(Listener).await;
    stream.request_of(RouteConfiguration).await;
    stream.respond(RouteConfiguration, "1", made).await;
    stream.request_of(RouteConfiguration).await;
    stream.request_of(Cluster).await;
    stream.respond(Cluster, "1", names[1..].iter().map(|name| cluster(name)).collect()).await;
    stream.request_of(Cluster).await;
    stream.request_of(ClusterLoadAssignment).await;
    let made = names[1..].iter().map(|name| endpoints(name, &[1])).collect();
    stream.respond(ClusterLoadAssignment, "1", made).await;
    let all_others =
        |resources: &Resources| names[1..].iter().all(|name| is_ready(resources, name));
    fixture.until("all other roots", all_others).await;
    assert!(!is_ready(&fixture.resources, "t0"));
    // Well before the missing one's 15 s.
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    drop(subscriptions);
}

#[tokio::test]
async fn target_without_a_virtual_host_recovers_when_it_gets_one() {
    let mut server = Server::start().await;
    let mut fixture = Fixture::new(&server.uri());
    let target = "xds:///greeter".parse().unwrap();
    let _subscription = fixture.client.subscribe(&target, Dialect::Grpc);
    let mut stream = server.stream().await;
    let hosts = |domain: &str| {
        let made = routes("routes", &["v1"]);
        let mut made = route_pb::RouteConfiguration::decode(made.value.as_slice()).unwrap();
        made.virtual_hosts[0].domains = vec![domain.to_owned()];
        any(&made)
    };
    stream.request_of(Listener).await;
    stream.respond(Listener, "1", vec![listener("greeter", "routes")]).await;
    stream.respond(RouteConfiguration, "1", vec![hosts("other")]).await;
    stream.respond(Cluster, "1", vec![cluster("v1")]).await;
    stream.respond(ClusterLoadAssignment, "1", vec![endpoints("v1", &[1])]).await;
    fixture.until("a root", |resources| is_ready(resources, "greeter")).await;
    let has_host = |resources: &Resources| {
        let routes = root(resources, "greeter").routes.value.clone().unwrap();
        routes.virtual_host("greeter").is_some()
    };
    assert!(!has_host(&fixture.resources));
    stream.respond(RouteConfiguration, "2", vec![hosts("greeter")]).await;
    fixture.until("a host", has_host).await;
}

#[tokio::test]
async fn churn_of_a_thousand_endpoints_ends_with_the_last() {
    let (_server, mut fixture, mut stream) = ready(Options::default(), &["v1"]).await;
    for round in 2..12_u32 {
        let ports: Vec<u32> = (0..1000).map(|port| 1 + round * 1000 + port).collect();
        stream
            .respond(ClusterLoadAssignment, &round.to_string(), vec![endpoints("v1", &ports)])
            .await;
    }
    let last = |resources: &Resources| {
        let (_, entry) = resources.endpoints().next().unwrap();
        let endpoints = &entry.value.as_ref().unwrap().localities[0].endpoints;
        endpoints[0].address().port() == 11_001
    };
    fixture.until("the last", last).await;
}

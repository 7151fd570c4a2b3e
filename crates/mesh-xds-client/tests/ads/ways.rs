//! The ways to ask, each over a stream.

use mesh_core::ResourceType::{Cluster, ClusterLoadAssignment, Listener, RouteConfiguration};
use mesh_core::resource::Resources;
use mesh_pb::envoy::config::core::v3 as core;
use mesh_pb::envoy::config::listener::v3 as listener;
use mesh_pb::envoy::config::route::v3 as route;
use mesh_pb::google::protobuf::Any;
use mesh_xds_client::bootstrap::Ask;
use mesh_xds_client::{Bootstrap, Options};
use prost::Message;

use crate::resources::{any, cluster, endpoints, routes};
use crate::server::{AdsStream, Server, within};
use crate::walk::{Fixture, is_ready};

fn fixture(uri: &str, ask: Ask) -> Fixture {
    let bootstrap = Bootstrap::builder(uri).with_node_id("sidecar~127.0.0.1~a.b~b.svc.test");
    let at_once = std::time::Duration::ZERO;
    let options = Options::default().with_ask(ask).with_unsubscribe_delay(at_once);
    Fixture::with_bootstrap(bootstrap.build().unwrap(), options)
}

/// A sidecar's listener with the connection manager of a client's.
fn sidecar(name: &str, port: u32, direction: core::TrafficDirection, routes: &str) -> Any {
    let api = crate::resources::listener(name, routes);
    let api = listener::Listener::decode(api.value.as_slice()).unwrap();
    let manager = api.api_listener.unwrap().api_listener.unwrap();
    let filter = listener::Filter {
        name: "http".to_owned(),
        config_type: Some(listener::filter::ConfigType::TypedConfig(manager)),
    };
    let socket = core::SocketAddress {
        address: "0.0.0.0".to_owned(),
        port_specifier: Some(core::socket_address::PortSpecifier::PortValue(port)),
        ..Default::default()
    };
    any(&listener::Listener {
        name: name.to_owned(),
        address: Some(core::Address {
            address: Some(core::address::Address::SocketAddress(socket)),
        }),
        filter_chains: vec![listener::FilterChain { filters: vec![filter], ..Default::default() }],
        traffic_direction: direction.into(),
        ..Default::default()
    })
}

/// Routes for several hosts, each to the cluster of its name.
fn hosts(name: &str, hosts: &[&str]) -> Any {
    let host = |host: &&str| {
        let one = route::RouteConfiguration::decode(routes("", &[host]).value.as_slice()).unwrap();
        let mut host_of = one.virtual_hosts[0].clone();
        host_of.name = (*host).to_owned();
        host_of.domains = vec![(*host).to_owned(), format!("{host}:9080")];
        host_of
    };
    let virtual_hosts = hosts.iter().map(host).collect();
    any(&route::RouteConfiguration { name: name.to_owned(), virtual_hosts, ..Default::default() })
}

fn outbound(name: &str, port: u32, routes: &str) -> Any {
    sidecar(name, port, core::TrafficDirection::Outbound, routes)
}

/// The names of the clusters published.
fn clusters(resources: &Resources) -> Vec<String> {
    let mut names: Vec<String> = resources.clusters().map(|(name, _)| name.to_string()).collect();
    names.sort();
    names
}

/// Takes requests until one of that type asks for those names.
async fn until_asked(stream: &mut AdsStream, kind: &str, names: &[&str]) {
    loop {
        let request = stream.request().await;
        if request.type_url.ends_with(kind) && request.resource_names == names {
            return;
        }
    }
}

#[tokio::test]
async fn sidecar_asks_for_all_listeners_and_clusters_and_takes_a_targets() {
    let mut server = Server::start().await;
    let mut fixture = fixture(&server.uri(), Ask::Envoy);
    let _reviews = fixture.subscribe("reviews:9080");
    let mut stream = server.stream().await;
    let (first, second) = (stream.request().await, stream.request().await);
    assert_eq!(first.node.unwrap().id, "sidecar~127.0.0.1~a.b~b.svc.test");
    let mut types = [first.type_url, second.type_url];
    types.sort();
    assert!(types[0].ends_with("Cluster") && types[1].ends_with("Listener"), "{types:?}");
    assert!(first.resource_names.is_empty() && second.resource_names.is_empty());
    stream.respond(Cluster, "1", vec![cluster("reviews"), cluster("ratings")]).await;
    let inbound = sidecar("virtualInbound", 15006, core::TrafficDirection::Inbound, "in");
    let listeners = vec![outbound("a_9080", 9080, "9080"), outbound("a_80", 80, "80"), inbound];
    stream.respond(Listener, "1", listeners).await;
    until_asked(&mut stream, "RouteConfiguration", &["9080"]).await;
    stream.respond(RouteConfiguration, "1", vec![hosts("9080", &["reviews", "ratings"])]).await;
    until_asked(&mut stream, "ClusterLoadAssignment", &["reviews"]).await;
    stream.respond(ClusterLoadAssignment, "1", vec![endpoints("reviews", &[1])]).await;
    fixture.until("a root", |resources| is_ready(resources, "reviews:9080")).await;
    assert_eq!(clusters(&fixture.resources), ["reviews"]);
    let root = fixture.resources.roots().next().unwrap().1;
    let hosts = &root.routes.value.as_ref().unwrap().virtual_hosts;
    assert_eq!(hosts.iter().map(|host| &*host.name).collect::<Vec<_>>(), ["reviews"]);
    let names: Vec<String> =
        fixture.client.inbound_listeners().iter().map(|made| made.name.to_string()).collect();
    assert_eq!(names, ["virtualInbound"]);
}

#[tokio::test]
async fn target_that_no_listener_of_a_sidecar_serves_is_told_at_once() {
    let mut server = Server::start().await;
    let mut fixture = fixture(&server.uri(), Ask::Envoy);
    let _first = fixture.subscribe("reviews:1");
    let mut stream = server.stream().await;
    stream.request().await;
    stream.respond(Listener, "1", vec![outbound("a_9080", 9080, "9080")]).await;
    let failure = |resources: &Resources, name: &str| {
        let (_, root) = resources.roots().find(|(listener, _)| &***listener == name)?;
        root.listener.failure.as_ref().map(|failure| failure.to_string())
    };
    fixture.until("an error", |resources| failure(resources, "reviews:1").is_some()).await;
    let _second = fixture.subscribe("reviews:2");
    fixture.until("an error", |resources| failure(resources, "reviews:2").is_some()).await;
    let text = failure(&fixture.resources, "reviews:2").unwrap();
    assert!(
        text.contains("no outbound listener of the sidecar's takes connections there"),
        "{text}"
    );
}

#[tokio::test]
async fn listener_of_a_sidecar_that_leads_elsewhere_moves_the_target() {
    let mut server = Server::start().await;
    let mut fixture = fixture(&server.uri(), Ask::Envoy);
    let _reviews = fixture.subscribe("reviews:9080");
    let mut stream = server.stream().await;
    stream.request().await;
    stream.respond(Listener, "1", vec![outbound("a_9080", 9080, "old")]).await;
    stream.respond(Cluster, "1", vec![cluster("reviews")]).await;
    until_asked(&mut stream, "RouteConfiguration", &["old"]).await;
    stream.respond(RouteConfiguration, "1", vec![hosts("old", &["reviews"])]).await;
    stream.respond(ClusterLoadAssignment, "1", vec![endpoints("reviews", &[1])]).await;
    fixture.until("a root", |resources| is_ready(resources, "reviews:9080")).await;
    stream.respond(Listener, "2", vec![outbound("a_9080", 9080, "new")]).await;
    until_asked(&mut stream, "RouteConfiguration", &["new"]).await;
    stream.respond(RouteConfiguration, "2", vec![hosts("new", &["reviews"])]).await;
    let is_new = |resources: &Resources| {
        let root = resources.roots().next().unwrap().1;
        root.routes.value.as_ref().is_some_and(|routes| &*routes.name == "new")
    };
    fixture.until("the new routes", is_new).await;
}

#[tokio::test]
async fn grpc_client_of_istiod_takes_its_host_of_a_ports_routes() {
    let mut server = Server::start().await;
    let bootstrap = Bootstrap::builder(server.uri()).with_metadata("GENERATOR", "grpc");
    let bootstrap = bootstrap.build().unwrap();
    assert_eq!(bootstrap.ask(), Ask::IstioGrpc);
    let mut fixture = Fixture::with_bootstrap(bootstrap, Options::default());
    let _reviews = fixture.subscribe("xds:///reviews:9080");
    let mut stream = server.stream().await;
    let request = stream.request_of(Listener).await;
    assert_eq!(request.resource_names, ["reviews:9080"]);
    let routes = "outbound|9080||reviews.default.svc.cluster.local";
    let made = crate::resources::listener("reviews:9080", routes);
    stream.respond(Listener, "1", vec![made]).await;
    until_asked(&mut stream, "RouteConfiguration", &[routes]).await;
    // As istiod up to 1.30 answers: with every host of the port.
    let made = hosts(routes, &["ratings", "reviews", "shop"]);
    stream.respond(RouteConfiguration, "1", vec![made]).await;
    until_asked(&mut stream, "Cluster", &["reviews"]).await;
    stream.respond(Cluster, "1", vec![cluster("reviews")]).await;
    stream.respond(ClusterLoadAssignment, "1", vec![endpoints("reviews", &[1])]).await;
    fixture.until("a root", |resources| is_ready(resources, "reviews:9080")).await;
    assert_eq!(clusters(&fixture.resources), ["reviews"]);
}

#[tokio::test]
async fn unknown_host_among_a_ports_routes_publishes_no_host() {
    let mut server = Server::start().await;
    let mut fixture = fixture(&server.uri(), Ask::IstioGrpc);
    let _shop = fixture.subscribe("shop:9080");
    let mut stream = server.stream().await;
    stream.request().await;
    stream.respond(Listener, "1", vec![crate::resources::listener("shop:9080", "r")]).await;
    stream.respond(RouteConfiguration, "1", vec![hosts("r", &["reviews"])]).await;
    let update = within("an update", fixture.updates.next()).await.unwrap();
    let root = update.roots["shop:9080"].as_ref().unwrap();
    assert!(root.routes.value.as_ref().unwrap().virtual_hosts.is_empty());
}

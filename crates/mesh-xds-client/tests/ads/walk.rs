use std::time::Duration;

use mesh_core::Dialect;
use mesh_core::ResourceType::{Cluster, ClusterLoadAssignment, Listener, RouteConfiguration};
use mesh_core::resource::{Resources, Update};
use mesh_xds_client::{Bootstrap, Client, Options, Subscription, Updates};
use tokio::runtime::Handle;

use crate::resources::{bad_cluster, cluster, endpoints, listener, routes};
use crate::server::{AdsStream, Server, within};

pub(crate) struct Fixture {
    pub(crate) client: Client,
    pub(crate) updates: Updates,
    pub(crate) resources: Resources,
}

impl Fixture {
    pub(crate) fn new(uri: &str) -> Self {
        Self::with_options(uri, Options::default().with_unsubscribe_delay(Duration::ZERO))
    }

    /// Waits are short, so that tests that connect again do not last.
    pub(crate) fn with_options(uri: &str, options: Options) -> Self {
        let bootstrap = Bootstrap::builder(uri).with_node_id("test-node").build().unwrap();
        Self::with_bootstrap(bootstrap, options)
    }

    pub(crate) fn with_bootstrap(bootstrap: Bootstrap, options: Options) -> Self {
        let wait = Duration::from_millis(50);
        let options = options.with_backoff(wait, wait);
        let (client, updates) = Client::spawn_with(bootstrap, options, &Handle::current());
        Self { client, updates, resources: Resources::new() }
    }

    pub(crate) fn subscribe(&self, target: &str) -> Subscription {
        self.client.subscribe(&target.parse().unwrap(), Dialect::Http)
    }

    /// Subscribes to a target and has all of it, from that server by [`serve_walk`].
    pub(crate) async fn walk(
        &mut self,
        server: &mut Server,
        target: &str,
        clusters: &[&str],
    ) -> (Subscription, AdsStream) {
        let subscription = self.subscribe(target);
        let mut stream = server.stream().await;
        let listener = &**subscription.listener();
        serve_walk(&mut stream, listener, clusters).await;
        self.until("the root", |resources| is_ready(resources, listener)).await;
        (subscription, stream)
    }

    pub(crate) async fn update(&mut self) -> Update {
        let update = within("an update", self.updates.next()).await.unwrap();
        self.resources.apply(update.clone());
        update
    }

    /// Takes updates until the condition holds.
    pub(crate) async fn until(&mut self, what: &str, holds: impl Fn(&Resources) -> bool) {
        while !holds(&self.resources) {
            let update = within(what, self.updates.next()).await.unwrap();
            self.resources.apply(update);
        }
    }
}

/// Whether the root of that listener has routes.
pub(crate) fn is_ready(resources: &Resources, listener: &str) -> bool {
    resources.roots().any(|(name, root)| &**name == listener && root.routes.value.is_some())
}

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

/// Answers LDS, RDS, CDS and EDS for one target; all acknowledged.
pub(crate) async fn serve_walk(stream: &mut AdsStream, target: &str, clusters: &[&str]) {
    assert_eq!(stream.request_of(Listener).await.resource_names, names(&[target]));
    stream.respond(Listener, "1", vec![listener(target, "routes")]).await;
    assert_eq!(stream.request_of(Listener).await.version_info, "1");
    assert_eq!(stream.request_of(RouteConfiguration).await.resource_names, names(&["routes"]));
    stream.respond(RouteConfiguration, "1", vec![routes("routes", clusters)]).await;
    assert_eq!(stream.request_of(RouteConfiguration).await.version_info, "1");
    assert_eq!(stream.request_of(Cluster).await.resource_names, names(clusters));
    stream.respond(Cluster, "1", clusters.iter().map(|name| cluster(name)).collect()).await;
    assert_eq!(stream.request_of(Cluster).await.version_info, "1");
    assert_eq!(stream.request_of(ClusterLoadAssignment).await.resource_names, names(clusters));
    let made = clusters.iter().map(|name| endpoints(name, &[8080])).collect();
    stream.respond(ClusterLoadAssignment, "1", made).await;
    assert_eq!(stream.request_of(ClusterLoadAssignment).await.version_info, "1");
}

#[tokio::test]
async fn walks_from_listener_to_endpoints_with_one_request_per_type() {
    let mut server = Server::start().await;
    let mut fixture = Fixture::new(&server.uri());
    let (subscription, _stream) =
        fixture.walk(&mut server, "xds:///reviews:9080", &["v1", "v2", "v3"]).await;
    assert_eq!(fixture.resources.clusters().count(), 3);
    assert_eq!(fixture.resources.endpoints().count(), 3);
    assert_eq!(&**subscription.listener(), "reviews:9080");
    let status = fixture.client.status();
    assert!(status.servers[0].connected);
    assert_eq!(status.resources.len(), 8);
}

#[tokio::test]
async fn invalid_cluster_among_100_is_named_and_the_others_apply() {
    let mut server = Server::start().await;
    let mut fixture = Fixture::new(&server.uri());
    let _subscription = fixture.subscribe("reviews");
    let mut stream = server.stream().await;
    let wanted: Vec<String> = (0..100).map(|number| format!("cluster-{number:02}")).collect();
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    stream.request_of(Listener).await;
    stream.respond(Listener, "1", vec![listener("reviews", "routes")]).await;
    stream.request_of(Listener).await;
    stream.request_of(RouteConfiguration).await;
    stream.respond(RouteConfiguration, "1", vec![routes("routes", &wanted)]).await;
    stream.request_of(RouteConfiguration).await;
    stream.request_of(Cluster).await;
    let made = wanted.iter().map(|name| match *name {
        "cluster-42" => bad_cluster(name),
        name => cluster(name),
    });
    let nonce = stream.respond(Cluster, "1", made.collect()).await;
    let nack = stream.request_of(Cluster).await;
    assert_eq!((nack.version_info.as_str(), &nack.response_nonce), ("", &nonce));
    let text = nack.error_detail.unwrap().message;
    assert!(text.contains("1 of 100 resources refused"), "{text}");
    assert!(text.contains(r#"[42] Cluster "cluster-42": lb_policy: unknown value 77"#), "{text}");
    assert!(text.contains("test-node"), "{text}");
    assert_eq!(stream.request_of(ClusterLoadAssignment).await.resource_names.len(), 99);
    let made = wanted.iter().map(|name| endpoints(name, &[8080])).collect();
    stream.respond(ClusterLoadAssignment, "1", made).await;
    fixture.until("the root", |resources| is_ready(resources, "reviews")).await;
    let good = fixture.resources.clusters().filter(|(_, entry)| entry.value.is_some());
    assert_eq!(good.count(), 99);
}

#[tokio::test]
async fn no_root_waits_for_another() {
    let mut server = Server::start().await;
    let mut fixture = Fixture::new(&server.uri());
    let _slow = fixture.subscribe("slow");
    let mut stream = server.stream().await;
    stream.request_of(Listener).await;
    let _quick = fixture.subscribe("quick");
    stream.request_of(Listener).await;
    let made = vec![listener("slow", "slow-routes"), listener("quick", "quick-routes")];
    stream.respond(Listener, "1", made).await;
    stream.request_of(Listener).await;
    stream.request_of(RouteConfiguration).await;
    let made = vec![routes("slow-routes", &["absent"]), routes("quick-routes", &["present"])];
    stream.respond(RouteConfiguration, "1", made).await;
    stream.request_of(RouteConfiguration).await;
    stream.request_of(Cluster).await;
    stream.respond(Cluster, "1", vec![cluster("present")]).await;
    stream.request_of(Cluster).await;
    stream.request_of(ClusterLoadAssignment).await;
    stream.respond(ClusterLoadAssignment, "1", vec![endpoints("present", &[8080])]).await;
    fixture.until("the quick root", |resources| is_ready(resources, "quick")).await;
    assert!(!is_ready(&fixture.resources, "slow"));
}

#[tokio::test]
async fn dropped_subscription_is_unsubscribed_and_its_resources_removed() {
    let mut server = Server::start().await;
    let mut fixture = Fixture::new(&server.uri());
    let (subscription, mut stream) = fixture.walk(&mut server, "reviews", &["v1"]).await;
    drop(subscription);
    for _ in 0..4 {
        assert!(stream.request().await.resource_names.is_empty());
    }
    fixture.until("the removal", |resources| resources.endpoints().count() == 0).await;
    assert_eq!(fixture.resources.roots().count() + fixture.resources.clusters().count(), 0);
}

#[tokio::test]
async fn endpoints_change_alone() {
    let mut server = Server::start().await;
    let mut fixture = Fixture::new(&server.uri());
    let (_subscription, mut stream) = fixture.walk(&mut server, "reviews", &["v1"]).await;
    stream.respond(ClusterLoadAssignment, "2", vec![endpoints("v1", &[8080, 8081])]).await;
    assert!(fixture.update().await.is_endpoints_only());
}

#[tokio::test]
async fn large_response_is_taken_in() {
    let mut server = Server::start().await;
    let mut fixture = Fixture::new(&server.uri());
    let (_subscription, mut stream) = fixture.walk(&mut server, "reviews", &["v1"]).await;
    let ports: Vec<u32> = (1..=10_000).collect();
    stream.respond(ClusterLoadAssignment, "2", vec![endpoints("v1", &ports)]).await;
    let update = fixture.update().await;
    let entry = update.endpoints["v1"].as_ref().unwrap();
    assert_eq!(entry.value.as_ref().unwrap().localities[0].endpoints.len(), 10_000);
    assert_eq!(stream.request_of(ClusterLoadAssignment).await.version_info, "2");
}

#[tokio::test]
async fn grpc_subscriber_gets_the_clusters_of_its_virtual_host() {
    let mut server = Server::start().await;
    let mut fixture = Fixture::new(&server.uri());
    let target = "xds:///greeter:50051".parse().unwrap();
    let _subscription = fixture.client.subscribe(&target, Dialect::Grpc);
    let mut stream = server.stream().await;
    serve_walk(&mut stream, "greeter:50051", &["greeter"]).await;
    fixture.until("the root", |resources| is_ready(resources, "greeter:50051")).await;
    let (_, root) = fixture.resources.roots().next().unwrap();
    assert_eq!(&*root.authority, "greeter:50051");
}

#[tokio::test]
async fn subscribing_in_a_loop_costs_one_subscription() {
    let mut server = Server::start().await;
    let mut fixture = Fixture::new(&server.uri());
    let kept = fixture.subscribe("reviews");
    for _ in 0..10_000 {
        drop(fixture.subscribe("reviews"));
    }
    let mut stream = server.stream().await;
    serve_walk(&mut stream, "reviews", &["v1"]).await;
    fixture.until("the root", |resources| is_ready(resources, "reviews")).await;
    drop(kept);
    assert!(stream.request().await.resource_names.is_empty());
}

#[tokio::test]
async fn control_plane_on_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("xds.sock");
    let mut server = Server::start_unix(&path);
    let mut fixture = Fixture::new(&format!("unix:{}", path.display()));
    let _all = fixture.walk(&mut server, "reviews", &["v1"]).await;
}

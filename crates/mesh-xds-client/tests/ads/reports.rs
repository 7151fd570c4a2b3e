//! What a client tells of itself: CSDS and metrics.

use mesh_core::ResourceType::{Cluster, Listener, RouteConfiguration};
use mesh_pb::envoy::admin::v3::ClientResourceStatus as State;
use mesh_pb::envoy::service::status::v3 as pb;
use mesh_pb::envoy::service::status::v3::client_status_discovery_service_client::ClientStatusDiscoveryServiceClient;
use mesh_xds_client::client::metrics::{self, MetricKind};
use mesh_xds_client::{Subscription, csds};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::Code;
use tonic::transport::Channel;

use crate::resources::{bad_cluster, cluster, listener, routes};
use crate::server::{AdsStream, Server, within};
use crate::walk::Fixture;

async fn serve(service: csds::Service) -> ClientStatusDiscoveryServiceClient<Channel> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap());
    let server = tonic::transport::Server::builder().add_service(service.into_server());
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    ClientStatusDiscoveryServiceClient::connect(uri).await.unwrap()
}

async fn fetch(
    client: &mut ClientStatusDiscoveryServiceClient<Channel>,
    request: pb::ClientStatusRequest,
) -> Vec<pb::ClientConfig> {
    let answer = within("an answer", client.fetch_client_status(request)).await.unwrap();
    answer.into_inner().config
}

fn states(config: &pb::ClientConfig) -> Vec<(&str, State)> {
    let all = config.generic_xds_configs.iter();
    all.map(|one| (&*one.name, State::try_from(one.client_status).unwrap())).collect()
}

/// One listener, its routes, and two clusters of which one is refused.
async fn half_way(server: &mut Server) -> (Fixture, (AdsStream, Subscription)) {
    let fixture = Fixture::new(&server.address.to_string());
    let subscription = fixture.subscribe("a");
    let mut stream = server.stream().await;
    stream.request().await;
    stream.respond(Listener, "1", vec![listener("a", "r")]).await;
    stream.respond(RouteConfiguration, "1", vec![routes("r", &["good", "bad"])]).await;
    let clusters = vec![cluster("good"), bad_cluster("bad")];
    while stream.request().await.type_url != mesh_pb::type_url::CLUSTER {}
    stream.respond(Cluster, "7", clusters).await;
    while stream.request().await.error_detail.is_none() {}
    (fixture, (stream, subscription))
}

#[tokio::test]
async fn status_of_each_resource_is_told_with_its_bytes() {
    let mut server = Server::start().await;
    let (fixture, _held) = half_way(&mut server).await;
    let mut asked = serve(csds::Service::new().with_client("xds:///a", &fixture.client)).await;
    let configs = fetch(&mut asked, pb::ClientStatusRequest::default()).await;
    let [config] = &configs[..] else { panic!("not one client") };
    assert_eq!(config.client_scope, "xds:///a");
    assert_eq!(config.node.as_ref().unwrap().id, "test-node");
    let expected = [
        ("a", State::Acked),
        ("r", State::Acked),
        ("bad", State::Nacked),
        ("good", State::Acked),
        ("good", State::Requested),
    ];
    assert_eq!(states(config), expected);
    let all = &config.generic_xds_configs;
    assert_eq!(all[3].xds_config, Some(cluster("good")));
    assert_eq!(all[3].version_info, "7");
    assert!(all[3].last_updated.as_ref().is_some_and(|time| time.seconds > 1_600_000_000));
    let error = all[2].error_state.as_ref().unwrap();
    assert!(error.details.contains("lb_policy"), "{}", error.details);
    assert!(error.last_update_attempt.is_some() && all[2].xds_config.is_none());
    assert!(all[4].xds_config.is_none());
    let brief = pb::ClientStatusRequest { exclude_resource_contents: true, ..Default::default() };
    let configs = fetch(&mut asked, brief).await;
    assert!(configs[0].generic_xds_configs.iter().all(|one| one.xds_config.is_none()));
}

#[tokio::test]
async fn status_streams_and_node_matchers_are_refused() {
    let server = Server::start().await;
    let fixture = Fixture::new(&server.address.to_string());
    let mut asked = serve(csds::Service::new().with_client("x", &fixture.client)).await;
    let request = pb::ClientStatusRequest::default();
    let requests = tokio_stream::iter([request.clone(), request]);
    let mut answers = asked.stream_client_status(requests).await.unwrap().into_inner();
    for _ in 0..2 {
        let answer = within("an answer", answers.message()).await.unwrap().unwrap();
        assert_eq!(answer.config.len(), 1);
    }
    let matched =
        pb::ClientStatusRequest { node_matchers: vec![Default::default()], ..Default::default() };
    let refused = asked.fetch_client_status(matched).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    drop(fixture);
    // The client's task may hold on to it for a moment.
    within("the client to go", async {
        while !fetch(&mut asked, pb::ClientStatusRequest::default()).await.is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn metrics_tell_of_servers_and_resources() {
    let mut server = Server::start().await;
    let (fixture, _held) = half_way(&mut server).await;
    let uri = server.address.to_string();
    let all = fixture.client.metrics();
    let value = |name: &str, labels: &[(&str, &str)]| {
        let found = all.iter().find(|metric| {
            let has = |(label, value): &(&str, &str)| {
                metric.labels.iter().any(|(known, text)| known == label && text == value)
            };
            metric.name == name && labels.iter().all(has)
        });
        found.map(|metric| metric.value)
    };
    let (cluster, endpoints) =
        ("envoy.config.cluster.v3.Cluster", "envoy.config.endpoint.v3.ClusterLoadAssignment");
    let of = |kind| [(metrics::SERVER, &*uri), (metrics::RESOURCE_TYPE, kind)];
    assert_eq!(value(metrics::CONNECTED, &[(metrics::SERVER, &uri)]), Some(1));
    assert_eq!(value(metrics::SERVER_FAILURE, &[(metrics::SERVER, &uri)]), Some(0));
    assert_eq!(value(metrics::RESOURCE_UPDATES_VALID, &of(cluster)), Some(1));
    assert_eq!(value(metrics::RESOURCE_UPDATES_INVALID, &of(cluster)), Some(1));
    let in_state = |kind, state| {
        let labels = [
            (metrics::AUTHORITY, "#old"),
            (metrics::CACHE_STATE, state),
            (metrics::RESOURCE_TYPE, kind),
        ];
        value(metrics::RESOURCES, &labels)
    };
    assert_eq!(in_state(cluster, "acked"), Some(1));
    assert_eq!(in_state(cluster, "nacked"), Some(1));
    assert_eq!(in_state(endpoints, "requested"), Some(1));
    let gauges = all.iter().filter(|metric| metric.kind == MetricKind::Gauge);
    assert!(gauges.clone().all(|m| m.name == metrics::CONNECTED || m.name == metrics::RESOURCES));
}

#[tokio::test]
async fn server_that_cannot_be_reached_counts_one_failure() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = closed.local_addr().unwrap().to_string();
    drop(closed);
    let mut fixture = Fixture::new(&address);
    let _subscription = fixture.subscribe("a");
    fixture.update().await;
    let all = fixture.client.metrics();
    let value = |name: &str| all.iter().find(|metric| metric.name == name).unwrap().value;
    assert_eq!((value(metrics::CONNECTED), value(metrics::SERVER_FAILURE)), (0, 1));
}

//! The control plane as a client of the incremental protocol sees it, on a socket.

use std::time::Duration;

use mesh_control::{ControlPlane, Protocol};
use mesh_istio::ResourceType;
use mesh_istio::ResourceType::{Cluster, ClusterLoadAssignment, Listener, RouteConfiguration};
use mesh_pb::envoy::config::endpoint::v3 as endpoint;
use mesh_pb::envoy::service::discovery::v3 as xds;
use mesh_pb::google::rpc;
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use xds::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;

use crate::common::{ROUTES, SERVICES, V1, V2, eventually, node, over, serve, weights};

/// Longer than anything here may take on a slow machine; never waited out when all is well.
const DEADLINE: Duration = Duration::from_secs(20);

struct Ads {
    requests: mpsc::Sender<xds::DeltaDiscoveryRequest>,
    responses: tonic::Streaming<xds::DeltaDiscoveryResponse>,
}

fn subscribe(kind: ResourceType, names: &[&str]) -> xds::DeltaDiscoveryRequest {
    xds::DeltaDiscoveryRequest {
        type_url: kind.type_url().to_owned(),
        resource_names_subscribe: names.iter().map(|name| (*name).to_owned()).collect(),
        ..Default::default()
    }
}

fn answer(response: &xds::DeltaDiscoveryResponse) -> xds::DeltaDiscoveryRequest {
    xds::DeltaDiscoveryRequest {
        type_url: response.type_url.clone(),
        response_nonce: response.nonce.clone(),
        ..Default::default()
    }
}

fn names(response: &xds::DeltaDiscoveryResponse) -> Vec<&str> {
    response.resources.iter().map(|resource| resource.name.as_str()).collect()
}

impl Ads {
    async fn open(control: &ControlPlane, first: xds::DeltaDiscoveryRequest) -> Self {
        let endpoint = format!("http://{}", control.xds_addr());
        let mut client = AggregatedDiscoveryServiceClient::connect(endpoint).await.unwrap();
        let (requests, receiver) = mpsc::channel(64);
        let first = xds::DeltaDiscoveryRequest { node: Some(node("test")), ..first };
        requests.send(first).await.unwrap();
        let stream = client.delta_aggregated_resources(ReceiverStream::new(receiver)).await;
        Self { requests, responses: stream.unwrap().into_inner() }
    }

    async fn send(&self, request: xds::DeltaDiscoveryRequest) {
        self.requests.send(request).await.unwrap();
    }

    async fn next(&mut self) -> xds::DeltaDiscoveryResponse {
        let message = tokio::time::timeout(DEADLINE, self.responses.message()).await;
        message.expect("a response before the deadline").unwrap().expect("no end")
    }

    async fn accept(&mut self) -> xds::DeltaDiscoveryResponse {
        let response = self.next().await;
        self.send(answer(&response)).await;
        response
    }

    async fn fetch(&mut self, kind: ResourceType, names: &[&str]) -> xds::DeltaDiscoveryResponse {
        self.send(subscribe(kind, names)).await;
        let response = self.accept().await;
        assert_eq!(response.type_url, kind.type_url());
        response
    }
}

#[tokio::test]
async fn walks_from_the_target_to_its_endpoints_and_hears_what_does_not_exist() {
    let (_folder, control) = serve().await;
    let mut ads = Ads::open(&control, subscribe(Listener, &["reviews:9080", "nobody:80"])).await;
    let found = ads.accept().await;
    assert_eq!(names(&found), ["reviews:9080"]);
    assert_eq!(found.removed_resources, ["nobody:80"]);
    assert_eq!(names(&ads.fetch(RouteConfiguration, &[ROUTES]).await), [ROUTES]);
    assert_eq!(names(&ads.fetch(Cluster, &[V1, V2]).await), [V1, V2]);
    let endpoints = ads.fetch(ClusterLoadAssignment, &[V1]).await;
    let any = endpoints.resources[0].resource.as_ref().unwrap();
    let decoded = endpoint::ClusterLoadAssignment::decode(any.value.as_slice()).unwrap();
    assert_eq!(decoded.cluster_name, V1);
    eventually("acceptance", || {
        let [client] = control.clients().try_into().expect("one client");
        client.protocol == Protocol::Delta
            && client.types.len() == 4
            && client.types.values().all(|status| status.accepted.is_some())
    })
    .await;
}

#[tokio::test]
async fn an_edit_pushes_what_it_changed_and_names_what_is_gone() {
    let (folder, control) = serve().await;
    let mut ads = Ads::open(&control, subscribe(RouteConfiguration, &[ROUTES])).await;
    ads.accept().await;
    ads.fetch(Cluster, &["*"]).await;
    ads.fetch(ClusterLoadAssignment, &[V1, V2]).await;
    let only_v1 = weights(100, 0)
        .replace("    - {destination: {host: reviews, subset: v2}, weight: 0}\n", "");
    std::fs::write(folder.path().join("routes.yaml"), only_v1).unwrap();
    assert_eq!(names(&ads.accept().await), [ROUTES]);
    let fewer = SERVICES.replace("  - {name: v2, labels: {version: v2}}\n", "");
    std::fs::write(folder.path().join("services.yaml"), fewer).unwrap();
    for kind in [Cluster, ClusterLoadAssignment] {
        let gone = ads.accept().await;
        assert_eq!((gone.type_url.as_str(), names(&gone).len()), (kind.type_url(), 0));
        assert_eq!(gone.removed_resources, [V2]);
    }
}

#[tokio::test]
async fn whoever_comes_back_with_versions_is_sent_what_changed_since() {
    let (folder, control) = serve().await;
    let mut ads = Ads::open(&control, subscribe(Cluster, &[V1, V2])).await;
    let before = ads.accept().await;
    let versions = before.resources.iter().map(|r| (r.name.clone(), r.version.clone()));
    let first = xds::DeltaDiscoveryRequest {
        initial_resource_versions: versions.collect(),
        ..subscribe(Cluster, &[V1, V2])
    };
    control.shutdown().await;
    let control = over(folder.path()).await;
    let mut ads = Ads::open(&control, first).await;
    // Nothing of clusters, so that the answer to another type comes first.
    assert_eq!(names(&ads.fetch(RouteConfiguration, &[ROUTES]).await), [ROUTES]);
    let new = SERVICES.replace(
        "  host: reviews\n",
        "  host: reviews\n  trafficPolicy: {loadBalancer: {simple: RANDOM}}\n",
    );
    std::fs::write(folder.path().join("services.yaml"), new).unwrap();
    let changed = ads.accept().await;
    assert_eq!(names(&changed), [V1, V2]);
    assert!(
        changed.resources.iter().all(|r| before.resources.iter().all(|b| b.version != r.version))
    );
}

#[tokio::test]
async fn a_refusal_is_kept_with_its_reason() {
    let (_folder, control) = serve().await;
    let mut ads = Ads::open(&control, subscribe(Cluster, &[V1])).await;
    let response = ads.next().await;
    let error = rpc::Status { code: 3, message: "no".to_owned(), ..Default::default() };
    let nack = xds::DeltaDiscoveryRequest { error_detail: Some(error), ..answer(&response) };
    ads.send(nack).await;
    let status = || control.clients()[0].types.get(Cluster.type_url()).cloned();
    eventually("refusal", || status().is_some_and(|s| s.rejected.is_some())).await;
    assert_eq!(status().unwrap().rejected.unwrap().reason, "no");
    assert_eq!(names(&ads.fetch(ClusterLoadAssignment, &[V1]).await), [V1]);
    assert!(status().unwrap().rejected.is_some());
}

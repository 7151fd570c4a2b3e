//! A client of the control plane that does what it is told, message by message.

use std::time::Duration;

use mesh_control::ControlPlane;
use mesh_istio::ResourceType;
use mesh_pb::envoy::config::core::v3 as core;
use mesh_pb::envoy::service::discovery::v3 as xds;
use mesh_pb::google::rpc;
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use xds::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;

/// Longer than anything here may take on a slow machine; never waited out when all is well.
const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) struct Ads {
    requests: mpsc::Sender<xds::DiscoveryRequest>,
    responses: tonic::Streaming<xds::DiscoveryResponse>,
}

pub(crate) fn node(id: &str) -> core::Node {
    core::Node { id: id.to_owned(), ..Default::default() }
}

pub(crate) fn request(kind: ResourceType, names: &[&str]) -> xds::DiscoveryRequest {
    xds::DiscoveryRequest {
        type_url: kind.type_url().to_owned(),
        resource_names: names.iter().map(|name| (*name).to_owned()).collect(),
        ..Default::default()
    }
}

/// The acceptance of `response`, with the names that are wanted now.
pub(crate) fn ack(response: &xds::DiscoveryResponse, names: &[&str]) -> xds::DiscoveryRequest {
    xds::DiscoveryRequest {
        type_url: response.type_url.clone(),
        version_info: response.version_info.clone(),
        response_nonce: response.nonce.clone(),
        resource_names: names.iter().map(|name| (*name).to_owned()).collect(),
        ..Default::default()
    }
}

/// The refusal of `response` by a client that has accepted nothing yet.
pub(crate) fn nack(response: &xds::DiscoveryResponse, names: &[&str]) -> xds::DiscoveryRequest {
    let message = "cluster 0 \"bad\": connect_timeout is negative".to_owned();
    xds::DiscoveryRequest {
        version_info: String::new(),
        error_detail: Some(rpc::Status { code: 3, message, ..Default::default() }),
        ..ack(response, names)
    }
}

pub(crate) fn decode<M: Message + Default>(response: &xds::DiscoveryResponse) -> Vec<M> {
    let resources = response.resources.iter();
    resources.map(|any| M::decode(any.value.as_slice()).unwrap()).collect()
}

impl Ads {
    /// Opens a stream; `first` carries the node.
    pub(crate) async fn open(control: &ControlPlane, first: xds::DiscoveryRequest) -> Self {
        let endpoint = format!("http://{}", control.xds_addr());
        let mut client = AggregatedDiscoveryServiceClient::connect(endpoint).await.unwrap();
        let (requests, receiver) = mpsc::channel(64);
        let first = xds::DiscoveryRequest { node: first.node.or(Some(node("test"))), ..first };
        requests.send(first).await.unwrap();
        let stream = client.stream_aggregated_resources(ReceiverStream::new(receiver)).await;
        Self { requests, responses: stream.unwrap().into_inner() }
    }

    pub(crate) async fn send(&self, request: xds::DiscoveryRequest) {
        self.requests.send(request).await.unwrap();
    }

    pub(crate) async fn next(&mut self) -> Result<xds::DiscoveryResponse, tonic::Status> {
        let message = tokio::time::timeout(DEADLINE, self.responses.message()).await;
        message.expect("a response before the deadline").map(|response| response.expect("no end"))
    }

    /// The next response, accepted with the same names.
    pub(crate) async fn accept(&mut self, names: &[&str]) -> xds::DiscoveryResponse {
        let response = self.next().await.unwrap();
        self.send(ack(&response, names)).await;
        response
    }

    /// Asks for one type and accepts the answer.
    pub(crate) async fn fetch(
        &mut self,
        kind: ResourceType,
        names: &[&str],
    ) -> xds::DiscoveryResponse {
        self.send(request(kind, names)).await;
        let response = self.accept(names).await;
        assert_eq!(response.type_url, kind.type_url());
        response
    }
}

/// Waits until `holds`, for as long as anything may take.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

pub(crate) const SERVICES: &str = r#"
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: reviews}
spec:
  hosts: [reviews.default.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 9080, name: http, protocol: HTTP}]
  workloadSelector: {labels: {app: reviews}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: reviews-v1}
spec: {address: 127.0.0.11, labels: {app: reviews, version: v1}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: reviews-v2}
spec: {address: 127.0.0.12, labels: {app: reviews, version: v2}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec:
  host: reviews
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
"#;

pub(crate) fn weights(v1: u32, v2: u32) -> String {
    format!(
        r#"
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: reviews}}
spec:
  hosts: [reviews]
  http:
  - route:
    - {{destination: {{host: reviews, subset: v1}}, weight: {v1}}}
    - {{destination: {{host: reviews, subset: v2}}, weight: {v2}}}
"#
    )
}

pub(crate) const HOST: &str = "reviews.default.svc.cluster.local";
pub(crate) const ROUTES: &str = "outbound|9080||reviews.default.svc.cluster.local";
pub(crate) const V1: &str = "outbound|9080|v1|reviews.default.svc.cluster.local";
pub(crate) const V2: &str = "outbound|9080|v2|reviews.default.svc.cluster.local";

/// A folder with services and a rule, and a control plane over it.
pub(crate) async fn serve() -> (tempfile::TempDir, ControlPlane) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("services.yaml"), SERVICES).unwrap();
    std::fs::write(folder.path().join("routes.yaml"), weights(90, 10)).unwrap();
    let control = over(folder.path()).await;
    (folder, control)
}

pub(crate) async fn over(folder: &std::path::Path) -> ControlPlane {
    let builder = ControlPlane::builder().folder(folder);
    builder.admin("127.0.0.1:0".parse().unwrap()).serve().await.unwrap()
}

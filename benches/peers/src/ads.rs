//! A control plane for what never changes: an ADS server in a thread of its own, so that nothing it
//! does counts as a client's.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use mesh_pb::envoy::service::discovery::v3::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use mesh_pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use mesh_pb::google::protobuf::Any;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

use crate::background::Background;
use crate::config::{Addresses, CLUSTERS, Shape, TARGET, assignment, cluster, listener, routes};

/// Answers waiting for a client: four types, asked for one by one.
const WAITING: usize = 16;

/// The servers, on their thread.
#[derive(Debug)]
pub(crate) struct Control(Background);

impl Control {
    /// A control plane without a server yet.
    pub(crate) fn start() -> io::Result<Self> {
        Background::start("ads").map(Self)
    }

    /// Serves one configuration at an address of its own.
    pub(crate) fn serve(&self, shape: Shape) -> io::Result<SocketAddr> {
        let service = AggregatedDiscoveryServiceServer::new(Service(Arc::new(resources(shape))));
        let server = tonic::transport::Server::builder().add_service(service);
        self.0.serve(|listener| async move {
            if let Err(error) = server.serve_with_incoming(TcpListenerStream::new(listener)).await {
                eprintln!("control plane: {error}");
            }
        })
    }
}

type Resources = HashMap<String, Any>;

/// By type, then by name.
fn resources(shape: Shape) -> HashMap<String, Resources> {
    let table = routes(shape);
    let table = Any {
        type_url: mesh_pb::type_url::ROUTE_CONFIGURATION.to_owned(),
        value: prost::Message::encode_to_vec(&table),
    };
    let mut all = vec![(TARGET, listener()), (TARGET, table)];
    for (name, _) in CLUSTERS {
        all.push((name, cluster(name)));
        all.push((name, assignment(name, Addresses::Invented(shape.endpoints))));
    }
    let mut by_type: HashMap<String, Resources> = HashMap::new();
    for (name, resource) in all {
        let of_type = by_type.entry(resource.type_url.clone()).or_default();
        of_type.insert(name.to_owned(), resource);
    }
    by_type
}

/// What has been said on one stream.
struct Session {
    resources: Arc<HashMap<String, Resources>>,
    subscribed: HashMap<String, Vec<String>>,
    answers: mpsc::Sender<Result<DiscoveryResponse, Status>>,
    nonce: u64,
}

impl Session {
    async fn run(mut self, mut requests: Streaming<DiscoveryRequest>) {
        while let Ok(Some(request)) = requests.message().await {
            if let Some(status) = &request.error_detail {
                eprintln!("control plane: refused by a client: {}", status.message);
            }
            if let Some(answer) = self.answer(request)
                && self.answers.send(Ok(answer)).await.is_err()
            {
                return;
            }
        }
    }

    /// What is subscribed, unless that was said already.
    fn answer(&mut self, request: DiscoveryRequest) -> Option<DiscoveryResponse> {
        let DiscoveryRequest { type_url, resource_names, .. } = request;
        if self.subscribed.get(&type_url) == Some(&resource_names) {
            return None;
        }
        let known = self.resources.get(&type_url)?;
        let resources = resource_names.iter().filter_map(|name| known.get(name).cloned()).collect();
        self.subscribed.insert(type_url.clone(), resource_names);
        self.nonce += 1;
        Some(DiscoveryResponse {
            version_info: self.nonce.to_string(),
            resources,
            type_url,
            nonce: self.nonce.to_string(),
            ..Default::default()
        })
    }
}

type Answers<T> = Pin<Box<dyn tokio_stream::Stream<Item = Result<T, Status>> + Send>>;

struct Service(Arc<HashMap<String, Resources>>);

#[tonic::async_trait]
impl AggregatedDiscoveryService for Service {
    type StreamAggregatedResourcesStream = Answers<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Answers<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        let (answers, receiver) = mpsc::channel(WAITING);
        let resources = self.0.clone();
        let session = Session { resources, subscribed: HashMap::new(), answers, nonce: 0 };
        tokio::spawn(session.run(request.into_inner()));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn delta_aggregated_resources(
        &self,
        _: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        Err(Status::unimplemented("state of the world only"))
    }
}

//! An ADS server that does what the test says, message by message.

use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use futures_util::Stream;
use mesh_core::ResourceType;
use mesh_pb::envoy::service::discovery::v3::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use mesh_pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource,
};
use mesh_pb::google::protobuf::Any;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream, UnixListenerStream};
use tonic::metadata::MetadataMap;
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status, Streaming};

/// How long the other side may take on a busy machine before a test gives up.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: not within {PATIENCE:?}"),
    }
}

/// A listening server. Dropping it closes everything.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    streams: mpsc::Receiver<AdsStream>,
    deltas: mpsc::Receiver<DeltaStream>,
    task: JoinHandle<()>,
}

/// The server's side of one ADS stream.
pub(crate) struct AdsStream {
    /// What the client sent beside its requests.
    pub(crate) metadata: MetadataMap,
    first: Option<DiscoveryRequest>,
    requests: Streaming<DiscoveryRequest>,
    responses: mpsc::Sender<Result<DiscoveryResponse, Status>>,
    nonce: u32,
}

/// The server's side of one stream of the incremental protocol.
pub(crate) struct DeltaStream {
    first: Option<DeltaDiscoveryRequest>,
    requests: Streaming<DeltaDiscoveryRequest>,
    responses: mpsc::Sender<Result<DeltaDiscoveryResponse, Status>>,
    nonce: u32,
}

/// Which protocols a server speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    StateOfTheWorld,
    Both,
}

impl Server {
    /// A server that speaks the incremental protocol as well.
    pub(crate) async fn start_delta() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self::serve(address, TcpListenerStream::new(listener), Speaks::Both)
    }

    pub(crate) async fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap()).await
    }

    pub(crate) async fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        Self::serve(address, TcpListenerStream::new(listener), Speaks::StateOfTheWorld)
    }

    /// Listens on a Unix socket; the address is not used.
    pub(crate) fn start_unix(path: &Path) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let address = ([127, 0, 0, 1], 0).into();
        Self::serve(address, UnixListenerStream::new(listener), Speaks::StateOfTheWorld)
    }

    fn serve<S, C>(address: SocketAddr, connections: S, speaks: Speaks) -> Self
    where
        S: Stream<Item = std::io::Result<C>> + Send + 'static,
        C: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    {
        let (sender, streams) = mpsc::channel(16);
        let (delta_sender, deltas) = mpsc::channel(16);
        let service = Service { streams: sender, deltas: delta_sender, speaks };
        let service =
            AggregatedDiscoveryServiceServer::new(service).max_encoding_message_size(usize::MAX);
        // More than one stream at a time is never needed, and some servers allow no more.
        let serving = tonic::transport::Server::builder()
            .max_concurrent_streams(1)
            .add_service(service)
            .serve_with_incoming(connections);
        let task = tokio::spawn(async move { serving.await.unwrap() });
        Self { address, streams, deltas, task }
    }

    /// Stops listening and gives the address back.
    pub(crate) async fn stop(mut self) -> SocketAddr {
        self.task.abort();
        let _aborted = (&mut self.task).await;
        self.address
    }

    pub(crate) fn uri(&self) -> String {
        self.address.to_string()
    }

    pub(crate) async fn stream(&mut self) -> AdsStream {
        within("a stream", self.streams.recv()).await.unwrap()
    }

    pub(crate) async fn delta_stream(&mut self) -> DeltaStream {
        within("a delta stream", self.deltas.recv()).await.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl AdsStream {
    /// The next request.
    pub(crate) async fn request(&mut self) -> DiscoveryRequest {
        if let Some(first) = self.first.take() {
            return first;
        }
        within("a request", self.requests.message()).await.unwrap().expect("the stream is open")
    }

    /// The next request, which must be of that type.
    pub(crate) async fn request_of(&mut self, kind: ResourceType) -> DiscoveryRequest {
        let request = self.request().await;
        assert_eq!(request.type_url, type_url(kind), "{request:?}");
        request
    }

    /// Sends a response, with a nonce of its own, which it returns.
    pub(crate) async fn respond(
        &mut self,
        kind: ResourceType,
        version: &str,
        made: Vec<Any>,
    ) -> String {
        self.nonce += 1;
        let nonce = format!("nonce-{}", self.nonce);
        let response = DiscoveryResponse {
            version_info: version.to_owned(),
            resources: made,
            type_url: type_url(kind).to_owned(),
            nonce: nonce.clone(),
            ..DiscoveryResponse::default()
        };
        self.responses.send(Ok(response)).await.unwrap();
        nonce
    }

    /// Ends the stream with a status.
    pub(crate) async fn fail(self, status: Status) {
        self.responses.send(Err(status)).await.unwrap();
    }
}

impl DeltaStream {
    /// The next request, which must be of that type.
    pub(crate) async fn request_of(&mut self, kind: ResourceType) -> DeltaDiscoveryRequest {
        let request = match self.first.take() {
            Some(first) => first,
            None => within("a request", self.requests.message()).await.unwrap().expect("open"),
        };
        assert_eq!(request.type_url, type_url(kind), "{request:?}");
        request
    }

    /// Sends resources under their names, and the names of those removed.
    pub(crate) async fn respond(
        &mut self,
        kind: ResourceType,
        version: &str,
        made: Vec<(&str, Any)>,
        removed: &[&str],
    ) {
        self.nonce += 1;
        let resources = made.into_iter().map(|(name, resource)| Resource {
            name: name.to_owned(),
            version: version.to_owned(),
            resource: Some(resource),
            ..Resource::default()
        });
        let response = DeltaDiscoveryResponse {
            resources: resources.collect(),
            removed_resources: removed.iter().map(|name| (*name).to_owned()).collect(),
            type_url: type_url(kind).to_owned(),
            nonce: format!("delta-{}", self.nonce),
            ..DeltaDiscoveryResponse::default()
        };
        self.responses.send(Ok(response)).await.unwrap();
    }
}

struct Service {
    streams: mpsc::Sender<AdsStream>,
    deltas: mpsc::Sender<DeltaStream>,
    speaks: Speaks,
}

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl AggregatedDiscoveryService for Service {
    type StreamAggregatedResourcesStream = Responses<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Responses<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        let (metadata, _, mut requests) = request.into_parts();
        // As servers do that read a request before they send as much as headers.
        let first = requests.message().await?;
        let (responses, receiver) = mpsc::channel(16);
        let stream = AdsStream { metadata, first, requests, responses, nonce: 0 };
        self.streams.send(stream).await.map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        if self.speaks == Speaks::StateOfTheWorld {
            return Err(Status::unimplemented("state of the world only"));
        }
        let mut requests = request.into_inner();
        let first = requests.message().await?;
        let (responses, receiver) = mpsc::channel(16);
        let stream = DeltaStream { first, requests, responses, nonce: 0 };
        self.deltas.send(stream).await.map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

impl AdsStream {
    /// Waits for the client to go.
    pub(crate) async fn closed(mut self) {
        while let Ok(Some(_)) = self.requests.message().await {}
    }
}

fn type_url(kind: ResourceType) -> &'static str {
    match kind {
        ResourceType::Listener => mesh_pb::type_url::LISTENER,
        ResourceType::RouteConfiguration => mesh_pb::type_url::ROUTE_CONFIGURATION,
        ResourceType::Cluster => mesh_pb::type_url::CLUSTER,
        ResourceType::ClusterLoadAssignment => mesh_pb::type_url::CLUSTER_LOAD_ASSIGNMENT,
        ResourceType::Secret => mesh_pb::type_url::SECRET,
    }
}

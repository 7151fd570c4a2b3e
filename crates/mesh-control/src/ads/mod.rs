//! The aggregated discovery service, in both protocols.
//!
//! [`sotw`] and [`delta`] each hold one type of one stream and are all protocol and no I/O;
//! [`stream`] moves messages between them and the wire; this file is the gRPC service.

mod delta;
mod sotw;
mod stream;
mod subscription;

use mesh_pb::envoy::service::discovery::v3 as xds;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use xds::aggregated_discovery_service_server::AggregatedDiscoveryService;

use crate::clients::Clients;
use crate::generation::Publisher;
use delta::Delta;
use sotw::StateOfTheWorld;
use std::sync::Arc;
use stream::Stream;
use subscription::Subscription;

/// Serves every client from the published set.
#[derive(Clone, Debug)]
pub(crate) struct Ads {
    publisher: Arc<Publisher>,
    clients: Clients,
    stop: CancellationToken,
}

impl Ads {
    pub(crate) fn new(
        publisher: Arc<Publisher>,
        clients: Clients,
        stop: CancellationToken,
    ) -> Self {
        Self { publisher, clients, stop }
    }

    fn serve<S: Subscription>(
        &self,
        request: Request<Streaming<S::Request>>,
    ) -> ReceiverStream<Result<S::Response, Status>> {
        let peer = request.remote_addr();
        let (sender, receiver) = mpsc::channel(OUTBOUND);
        let stream = Stream::<S>::new(self.publisher.subscribe(), self.clients.clone(), peer);
        // Ends when the client goes (its half or ours closes) or the control plane stops.
        tokio::spawn(stream.run(request.into_inner(), sender, self.stop.clone()));
        ReceiverStream::new(receiver)
    }
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for Ads {
    type StreamAggregatedResourcesStream = ReceiverStream<Result<xds::DiscoveryResponse, Status>>;
    type DeltaAggregatedResourcesStream =
        ReceiverStream<Result<xds::DeltaDiscoveryResponse, Status>>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<xds::DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        Ok(Response::new(self.serve::<StateOfTheWorld>(request)))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<xds::DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        Ok(Response::new(self.serve::<Delta>(request)))
    }
}

/// Responses made and not yet taken by the connection. One: what waits should be made from the
/// latest set, when there is room.
const OUTBOUND: usize = 1;

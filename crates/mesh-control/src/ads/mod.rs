//! The aggregated discovery service, state of the world.
//!
//! [`subscription`] holds one type of one stream and is all protocol and no I/O; [`stream`] moves
//! messages between it and the wire; this file is the gRPC service.

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
use std::sync::Arc;
use stream::Stream;

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
        let peer = request.remote_addr();
        let (sender, receiver) = mpsc::channel(OUTBOUND);
        let stream = Stream::new(self.publisher.subscribe(), self.clients.clone(), peer);
        let inbound = request.into_inner();
        // Ends when the client goes (its half or ours closes) or the control plane stops.
        tokio::spawn(stream.run(inbound, sender, self.stop.clone()));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn delta_aggregated_resources(
        &self,
        _request: Request<Streaming<xds::DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        Err(Status::unimplemented("incremental xDS is not implemented"))
    }
}

/// Responses made and not yet taken by the connection. One: what waits should be made from the
/// latest set, when there is room.
const OUTBOUND: usize = 1;

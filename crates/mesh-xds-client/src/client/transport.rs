//! The way to the server: a connection and the ADS stream on it.

use std::error::Error;
use std::future::Future;

use discovery::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use mesh_pb::envoy::service::discovery::v3 as discovery;
use mesh_pb::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::connecting::chain;

/// Opens the stream. The receiver must already hold the first request: there are servers that
/// send not even headers before they have read one.
pub(super) fn open(
    channel: Channel,
    requests: mpsc::Receiver<DiscoveryRequest>,
    metadata: MetadataMap,
    max_message_bytes: usize,
) -> impl Stream<Item = Result<DiscoveryResponse, Status>> {
    let call = call(channel, requests, metadata, max_message_bytes);
    stream::once(call).try_flatten().fuse()
}

fn call(
    channel: Channel,
    requests: mpsc::Receiver<DiscoveryRequest>,
    metadata: MetadataMap,
    max_message_bytes: usize,
) -> impl Future<Output = Result<tonic::Streaming<DiscoveryResponse>, Status>> {
    let mut client =
        AggregatedDiscoveryServiceClient::new(channel).max_decoding_message_size(max_message_bytes);
    async move {
        let mut request = Request::new(ReceiverStream::new(requests));
        *request.metadata_mut() = metadata;
        let answer = client.stream_aggregated_resources(request).await?;
        Ok(answer.into_inner())
    }
}

/// Why the stream ended.
pub(super) fn reason(end: Option<Result<DiscoveryResponse, Status>>) -> String {
    match end {
        Some(Err(status)) => {
            let text = format!("{:?}: {}", status.code(), status.message());
            match status.source().map(chain) {
                Some(cause) if !text.contains(&cause) => format!("{text}: {cause}"),
                _ => text,
            }
        }
        _ => "the server closed the stream".to_owned(),
    }
}

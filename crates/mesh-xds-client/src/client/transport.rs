//! The way to the server: a connection and the ADS stream on it.

use std::error::Error;
use std::future::Future;

use discovery::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use mesh_pb::envoy::service::discovery::v3 as discovery;
use mesh_pb::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use super::Options;
use crate::bootstrap::ServerUri;

/// Connects. Without keep-alive, a server that vanished would never be missed.
pub(super) async fn connect(uri: &ServerUri, options: &Options) -> Result<Channel, String> {
    let endpoint = Endpoint::from_shared(uri.endpoint()).map_err(|error| chain(&error))?;
    let endpoint = endpoint
        .connect_timeout(options.connect_timeout)
        .http2_keep_alive_interval(options.keep_alive_interval)
        .keep_alive_timeout(options.keep_alive_timeout)
        .keep_alive_while_idle(true);
    let connecting = tokio::time::timeout(options.connect_timeout, endpoint.connect());
    match connecting.await {
        Ok(Ok(channel)) => Ok(channel),
        Ok(Err(error)) => Err(chain(&error)),
        Err(_) => Err(format!("no connection within {:?}", options.connect_timeout)),
    }
}

/// Opens the stream. The receiver must already hold the first request: there are servers that
/// send not even headers before they have read one.
pub(super) fn open(
    channel: Channel,
    requests: mpsc::Receiver<DiscoveryRequest>,
    max_message_bytes: usize,
) -> impl Stream<Item = Result<DiscoveryResponse, Status>> {
    let call = call(channel, requests, max_message_bytes);
    stream::once(call).try_flatten().fuse()
}

fn call(
    channel: Channel,
    requests: mpsc::Receiver<DiscoveryRequest>,
    max_message_bytes: usize,
) -> impl Future<Output = Result<tonic::Streaming<DiscoveryResponse>, Status>> {
    let mut client =
        AggregatedDiscoveryServiceClient::new(channel).max_decoding_message_size(max_message_bytes);
    async move {
        let answer = client.stream_aggregated_resources(ReceiverStream::new(requests)).await?;
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

/// An error with its causes; tonic's own texts say little.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

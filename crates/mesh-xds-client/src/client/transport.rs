//! The way to the server: a connection and the ADS stream on it.

use std::error::Error;

use discovery::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use mesh_pb::envoy::service::discovery::v3 as discovery;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::connecting::chain;
use crate::session::{Protocol, Request, Response};

/// Opens the stream. The receiver must already hold the first request: there are servers that
/// send not even headers before they have read one.
pub(super) fn open(
    channel: Channel,
    protocol: Protocol,
    requests: mpsc::Receiver<Request>,
    metadata: MetadataMap,
    max_message_bytes: usize,
) -> impl Stream<Item = Result<Response, Status>> {
    let client =
        AggregatedDiscoveryServiceClient::new(channel).max_decoding_message_size(max_message_bytes);
    let requests = ReceiverStream::new(requests);
    match protocol {
        Protocol::StateOfTheWorld => all(client, requests, metadata).left_stream(),
        Protocol::Delta => changes(client, requests, metadata).right_stream(),
    }
}

type Client = AggregatedDiscoveryServiceClient<Channel>;

fn all(
    mut client: Client,
    requests: impl Stream<Item = Request> + Send + 'static,
    metadata: MetadataMap,
) -> impl Stream<Item = Result<Response, Status>> {
    let requests = requests.filter_map(async |request| match request {
        Request::StateOfTheWorld(request) => Some(request),
        Request::Delta(_) => None,
    });
    let call = async move {
        let answer = client.stream_aggregated_resources(with(metadata, requests)).await?;
        Ok::<_, Status>(answer.into_inner().map_ok(Response::from))
    };
    stream::once(call).try_flatten().fuse()
}

fn changes(
    mut client: Client,
    requests: impl Stream<Item = Request> + Send + 'static,
    metadata: MetadataMap,
) -> impl Stream<Item = Result<Response, Status>> {
    let requests = requests.filter_map(async |request| match request {
        Request::Delta(request) => Some(request),
        Request::StateOfTheWorld(_) => None,
    });
    let call = async move {
        let answer = client.delta_aggregated_resources(with(metadata, requests)).await?;
        Ok::<_, Status>(answer.into_inner().map_ok(Response::from))
    };
    stream::once(call).try_flatten().fuse()
}

fn with<T>(metadata: MetadataMap, requests: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(requests);
    *request.metadata_mut() = metadata;
    request
}

/// How an attempt ended.
#[derive(Debug)]
pub(super) struct End {
    pub(super) kind: EndKind,
    pub(super) text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndKind {
    /// There is no connection, or the stream on it ended.
    Closed,
    /// The server does not speak the protocol it was asked by.
    Unimplemented,
    /// The server sent what cannot be read, such as a response over the limit.
    Unreadable,
    /// Nobody answered at the other end of the connection.
    Silent,
}

impl End {
    pub(super) fn closed(text: impl Into<String>) -> Self {
        Self { kind: EndKind::Closed, text: text.into() }
    }
}

/// Why the stream ended.
pub(super) fn end(end: Option<Result<Response, Status>>) -> End {
    let Some(Err(status)) = end else { return End::closed("the server closed the stream") };
    let mut text = format!("{:?}: {}", status.code(), status.message());
    let cause = status.source().map(chain).unwrap_or_default();
    if !text.contains(&cause) {
        text.push_str(": ");
        text.push_str(&cause);
    }
    let kind = match status.code() {
        Code::Unimplemented => EndKind::Unimplemented,
        // What tonic itself says of a message over the limit, and of one that is no protobuf.
        Code::OutOfRange => EndKind::Unreadable,
        Code::Internal if status.message().starts_with("failed to decode") => EndKind::Unreadable,
        // hyper's words for a ping without an answer, the system's for bytes that nobody
        // acknowledged. Not the server's own words, which may say the same.
        _ if cause.contains("timed out") => EndKind::Silent,
        _ => EndKind::Closed,
    };
    End { kind, text }
}

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
    /// There is no connection, or the server ended the stream on it.
    Closed,
    /// The connection ended, and the stream with it.
    Lost,
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
pub(super) fn end<T>(end: Option<Result<T, Status>>) -> End {
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
        // What a server says of the stream has no cause.
        _ if !cause.is_empty() => EndKind::Lost,
        _ => EndKind::Closed,
    };
    End { kind, text }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn end_of_a_stream_is_told_by_who_ended_it() {
        let lost = |kind, text: &str| {
            let error = io::Error::new(kind, text.to_owned());
            Status::from_error(Box::new(error))
        };
        for (status, kind, text) in [
            (Status::unimplemented("no delta"), EndKind::Unimplemented, "no delta"),
            (Status::out_of_range("too large"), EndKind::Unreadable, "too large"),
            (Status::internal("failed to decode Protobuf"), EndKind::Unreadable, "Protobuf"),
            (Status::internal("a fault"), EndKind::Closed, "a fault"),
            (Status::unavailable("restarting"), EndKind::Closed, "Unavailable: restarting"),
            // A server's words about itself say nothing of the connection.
            (Status::unavailable("keep-alive timed out"), EndKind::Closed, "timed out"),
            (lost(io::ErrorKind::TimedOut, "timed out"), EndKind::Silent, "timed out"),
            (lost(io::ErrorKind::ConnectionReset, "reset"), EndKind::Lost, "reset"),
        ] {
            let made = end::<()>(Some(Err(status)));
            assert_eq!(made.kind, kind, "{made:?}");
            assert!(made.text.contains(text), "{made:?}");
        }
        for closed in [None, Some(Ok(()))] {
            let made = end(closed);
            assert_eq!((made.kind, &*made.text), (EndKind::Closed, "the server closed the stream"));
        }
    }
}

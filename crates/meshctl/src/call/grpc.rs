use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Response, StatusCode, Uri, Version};
use mesh_core::Dialect;
use mesh_tower::{Channel, Mesh, Record};
use tonic::client::Grpc;
use tonic::metadata::MetadataMap;
use tonic::{Status, Streaming};

use super::{Handling, Keep, MAX_KEPT_BYTES, failure};
use crate::answer::{Answer, GrpcEnd};
use crate::command::{GrpcMethod, RequestArguments};
use crate::dynamic::{BytesCodec, Method};
use crate::error::Error;

/// A gRPC call and the channel it goes through.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    channel: Channel,
    origin: Uri,
    method: Method,
    metadata: MetadataMap,
    messages: Vec<Bytes>,
    handling: Handling,
}

impl Caller {
    pub(super) async fn new(
        mesh: &Mesh,
        arguments: &RequestArguments,
        name: &GrpcMethod,
        json: &str,
        handling: Handling,
    ) -> Result<Self, Error> {
        // Not `mesh_grpc::Channel`, whose errors are statuses already: their kind would be lost.
        let channel = Channel::with_dialect(mesh, &arguments.target(), Dialect::Grpc)
            .map_err(|error| Error::usage("cannot use this URL").because(error))?;
        let origin = arguments.origin();
        let method = Method::find(channel.clone(), origin.clone(), name).await?;
        let messages = method.encode(json)?;
        let headers: HeaderMap = arguments.headers.iter().cloned().collect();
        let metadata = MetadataMap::from_headers(headers);
        Ok(Self { channel, origin, method, metadata, messages, handling })
    }

    pub(super) async fn call(&self) -> Answer {
        let record = Record::new();
        let head = SeenHead::default();
        let result = self.send(&record, &head).await;
        let mut answer = match (head.take(), result) {
            (None, Err(status)) => {
                let mut answer = failure::answer(&status, failure::way(&record));
                answer.grpc = Some(end(&status));
                // Of such a call the status counts, which has no body beside it.
                answer.body = Bytes::new();
                return answer;
            }
            (head, Ok(replies)) => self.read(head, replies).await,
            (head, Err(status)) => Answer { grpc: Some(end(&status)), ..with_head(head) },
        };
        answer.way = failure::way(&record);
        answer
    }

    async fn send(&self, record: &Record, head: &SeenHead) -> Result<Streaming<Bytes>, Status> {
        let seen = head.clone();
        let channel = tower::ServiceExt::<http::Request<tonic::body::Body>>::map_response(
            self.channel.clone(),
            move |response| seen.note(response),
        );
        let mut grpc = Grpc::with_origin(channel, self.origin.clone())
            .max_decoding_message_size(MAX_KEPT_BYTES);
        let unready = |error: mesh_tower::Error| Status::from_error(error.into());
        grpc.ready().await.map_err(unready)?;
        let request = tonic::Request::from_parts(
            self.metadata.clone(),
            self.handling.extensions(record),
            stream::iter(self.messages.clone()),
        );
        let response = grpc.streaming(request, self.method.path(), BytesCodec).await?;
        Ok(response.into_inner())
    }

    /// Reads the messages of an answer, whose head has come.
    async fn read(&self, head: Option<Head>, mut replies: Streaming<Bytes>) -> Answer {
        let mut answer = with_head(head);
        let mut lines = String::new();
        let status = loop {
            match replies.message().await {
                Ok(Some(_)) if self.handling.keep == Keep::Nothing => {}
                Ok(Some(message)) => match self.method.decode(message) {
                    Ok(_) if lines.len() > MAX_KEPT_BYTES => {
                        break Status::resource_exhausted("the answer is too long to be shown");
                    }
                    Ok(line) => lines += &(line + "\n"),
                    Err(error) => break Status::internal(crate::error::chain(&error)),
                },
                Ok(None) => break Status::ok(""),
                Err(status) => break status,
            }
        };
        answer.body = lines.trim_end().to_owned().into();
        // A status that the server sent has no cause on this side.
        if std::error::Error::source(&status).is_some() {
            answer.failure = Some(failure::failed(&status));
        }
        answer.grpc = Some(end(&status));
        answer
    }
}

fn end(status: &Status) -> GrpcEnd {
    let made_here = failure::mesh_error(status).map(mesh_grpc::status);
    let status = made_here.as_ref().unwrap_or(status);
    GrpcEnd { status: status.code() as i32, message: status.message().to_owned() }
}

fn with_head(head: Option<Head>) -> Answer {
    let Some((status, version, headers)) = head else { return Answer::default() };
    Answer { status, version: Some(version), headers, ..Answer::default() }
}

type Head = (StatusCode, Version, HeaderMap);

/// The head of the HTTP response, which a gRPC client keeps to itself. That it is there also tells
/// a status that a server sent from one that the mesh made.
#[derive(Clone, Debug, Default)]
struct SeenHead(Arc<Mutex<Option<Head>>>);

impl SeenHead {
    fn note<B>(&self, response: Response<B>) -> Response<B> {
        let head = (response.status(), response.version(), response.headers().clone());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(head);
        response
    }

    fn take(&self) -> Option<Head> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

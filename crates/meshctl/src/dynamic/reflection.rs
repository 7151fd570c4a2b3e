use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::stream;
use http::Uri;
use http::uri::PathAndQuery;
use prost::Message as _;
use prost_reflect::DescriptorPool;
use prost_types::{FileDescriptorProto, FileDescriptorSet};
use tonic::client::{Grpc, GrpcService};
use tonic::{Code, Status};
use tonic_prost::ProstCodec;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

use crate::error::Error;

/// Files one service may need. The largest public APIs have a few hundred; a server that names
/// more is not describing a service.
const MAX_FILES: usize = 1_000;

/// The two versions of the protocol differ in their name alone. The older one is what servers had
/// for years before `v1`, and many still have only that.
const PATHS: [&str; 2] = [
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// Every type that a service needs, as the server describes them.
pub(super) async fn pool<C>(channel: C, origin: Uri, service: &str) -> Result<DescriptorPool, Error>
where
    C: GrpcService<tonic::body::Body> + Clone,
    C::ResponseBody: http_body::Body<Data = Bytes> + Send + 'static,
    <C::ResponseBody as http_body::Body>::Error: Into<tonic::codegen::StdError>,
{
    let failed = |status: Status| {
        let text = match status.code() {
            Code::Unimplemented => "the server has no reflection".to_owned(),
            code => format!("reflection of {service} failed: {code:?}"),
        };
        Error::failed(text).because(status.message().to_owned())
    };
    let symbol = || MessageRequest::FileContainingSymbol(service.to_owned());
    let mut asker = Asker { grpc: Grpc::with_origin(channel, origin), path: PATHS[0] };
    let first = match asker.ask(symbol()).await {
        Err(status) if status.code() == Code::Unimplemented => {
            asker.path = PATHS[1];
            asker.ask(symbol()).await
        }
        first => first,
    };

    let mut files = BTreeMap::new();
    let mut found = first.map_err(failed)?;
    loop {
        files.extend(found.drain(..).map(|file| (file.name().to_owned(), file)));
        // A server may send the imports along, or wait to be asked for each.
        let missing = files
            .values()
            .flat_map(|file| &file.dependency)
            .find(|name| !files.contains_key(*name))
            .cloned();
        let Some(name) = missing else { break };
        if files.len() >= MAX_FILES {
            return Err(Error::failed(format!("{service} needs more than {MAX_FILES} files")));
        }
        found = asker.ask(MessageRequest::FileByFilename(name.clone())).await.map_err(failed)?;
        if !found.iter().any(|file| file.name() == name) {
            return Err(Error::failed(format!("the server does not send its file {name}")));
        }
    }
    let file = files.into_values().collect();
    DescriptorPool::from_file_descriptor_set(FileDescriptorSet { file })
        .map_err(|error| Error::failed("the server's descriptors are not valid").because(error))
}

struct Asker<C> {
    grpc: Grpc<C>,
    path: &'static str,
}

impl<C> Asker<C>
where
    C: GrpcService<tonic::body::Body>,
    C::ResponseBody: http_body::Body<Data = Bytes> + Send + 'static,
    <C::ResponseBody as http_body::Body>::Error: Into<tonic::codegen::StdError>,
{
    /// One question, in a call of its own: through a mesh the next may go to another server.
    async fn ask(&mut self, question: MessageRequest) -> Result<Vec<FileDescriptorProto>, Status> {
        let request =
            ServerReflectionRequest { host: String::new(), message_request: Some(question) };
        let codec = ProstCodec::<ServerReflectionRequest, ServerReflectionResponse>::default();
        let path = PathAndQuery::from_static(self.path);
        let unready = |error: C::Error| Status::from_error(error.into());
        self.grpc.ready().await.map_err(unready)?;
        let request = tonic::Request::new(stream::iter([request]));
        let answer =
            self.grpc.streaming(request, path, codec).await?.into_inner().message().await?;
        match answer.and_then(|answer| answer.message_response) {
            Some(MessageResponse::FileDescriptorResponse(files)) => files
                .file_descriptor_proto
                .iter()
                .map(|file| FileDescriptorProto::decode(file.as_slice()))
                .collect::<Result<_, _>>()
                .map_err(|error| Status::internal(error.to_string())),
            Some(MessageResponse::ErrorResponse(error)) => {
                Err(Status::new(Code::from(error.error_code), error.error_message))
            }
            _ => Err(Status::internal("the answer is not to the question")),
        }
    }
}

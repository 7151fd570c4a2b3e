use bytes::Bytes;
use http::Uri;
use http::uri::PathAndQuery;
use prost::Message as _;
use prost_reflect::{DynamicMessage, MethodDescriptor};
use tonic::client::GrpcService;

use super::reflection;
use crate::command::GrpcMethod;
use crate::error::Error;

/// A method and the types of its messages.
#[derive(Clone, Debug)]
pub(crate) struct Method {
    descriptor: MethodDescriptor,
    path: PathAndQuery,
}

impl Method {
    /// Finds the method by asking the server that the channel leads to.
    pub(crate) async fn find<C>(channel: C, origin: Uri, name: &GrpcMethod) -> Result<Self, Error>
    where
        C: GrpcService<tonic::body::Body> + Clone,
        C::ResponseBody: http_body::Body<Data = Bytes> + Send + 'static,
        <C::ResponseBody as http_body::Body>::Error: Into<tonic::codegen::StdError>,
    {
        let GrpcMethod { service, method } = name;
        let pool = reflection::pool(channel, origin, service).await?;
        let found = pool
            .get_service_by_name(service)
            .ok_or_else(|| Error::failed(format!("the server does not describe {service}")))?;
        let descriptor = found.methods().find(|found| found.name() == method).ok_or_else(|| {
            let names: Vec<_> = found.methods().map(|found| found.name().to_owned()).collect();
            let names = names.join(", ");
            Error::failed(format!("{service} has no method {method}; it has {names}"))
        })?;
        let path = format!("/{service}/{method}")
            .try_into()
            .map_err(|error: http::uri::InvalidUri| Error::usage("bad method").because(error))?;
        Ok(Self { descriptor, path })
    }

    /// The path of a call.
    pub(crate) fn path(&self) -> PathAndQuery {
        self.path.clone()
    }

    /// Encodes the messages of a request: one JSON object, or for a client stream any number one
    /// after the other. No text is one empty message.
    pub(crate) fn encode(&self, json: &str) -> Result<Vec<Bytes>, Error> {
        let input = self.descriptor.input();
        let bad = |error: serde_json::Error| {
            Error::usage(format!("the body is no {}", input.full_name())).because(error)
        };
        if json.trim().is_empty() {
            return Ok(vec![DynamicMessage::new(input).encode_to_vec().into()]);
        }
        let mut messages = Vec::new();
        let mut rest = json.trim();
        while !rest.is_empty() {
            let mut values = serde_json::Deserializer::from_str(rest).into_iter();
            let Some(value) = values.next() else { break };
            let value: serde_json::Value = value.map_err(bad)?;
            rest = rest[values.byte_offset()..].trim_start();
            let message = DynamicMessage::deserialize(input.clone(), value).map_err(bad)?;
            messages.push(message.encode_to_vec().into());
        }
        if messages.len() > 1 && !self.descriptor.is_client_streaming() {
            let name = self.descriptor.full_name();
            return Err(Error::usage(format!("{name} takes one message")));
        }
        Ok(messages)
    }

    /// One answered message as JSON, on one line.
    pub(crate) fn decode(&self, message: Bytes) -> Result<String, Error> {
        let output = self.descriptor.output();
        let bad = || Error::failed(format!("the answer is no {}", output.full_name()));
        let message = DynamicMessage::decode(output.clone(), message)
            .map_err(|error| bad().because(error))?;
        serde_json::to_string(&message).map_err(|error| bad().because(error))
    }
}

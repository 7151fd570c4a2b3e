use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, Version};
use mesh_core::exchange::ResponseFlags;

/// What became of one request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    /// Status of the answer; of the answer that stands for the failure when none came.
    pub(crate) status: StatusCode,
    /// Protocol the answer came by; `None` when none came.
    pub(crate) version: Option<Version>,
    /// Headers of the answer.
    pub(crate) headers: HeaderMap,
    /// Body of the answer; for gRPC its messages as JSON, one a line. Empty where nobody asked.
    pub(crate) body: Bytes,
    /// How the call ended, when it was a gRPC call.
    pub(crate) grpc: Option<GrpcEnd>,
    /// What the mesh did.
    pub(crate) way: Way,
    /// Why there is no answer, or not a whole one.
    pub(crate) failure: Option<Failure>,
}

/// The end of a gRPC call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GrpcEnd {
    pub(crate) status: i32,
    pub(crate) message: String,
}

/// The way of a request through the mesh.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) route: Option<String>,
    pub(crate) cluster: Option<String>,
    /// The endpoint of the last attempt.
    pub(crate) endpoint: Option<SocketAddr>,
    pub(crate) attempts: u32,
    /// Envoy's response flags.
    pub(crate) flags: ResponseFlags,
    /// Envoy's response code details.
    pub(crate) details: Option<String>,
}

/// A failure, for scripts by kind and for people by text.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Failure {
    pub(crate) kind: String,
    pub(crate) text: String,
}

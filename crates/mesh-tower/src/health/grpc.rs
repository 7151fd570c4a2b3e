use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HOST, TE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::BodyExt as _;
use mesh_core::cluster::Checked;
use mesh_core::resource::GrpcHealthCheck;
use prost::Message;

use super::{Found, MAX_BODY_BYTES, ask};
use crate::body::Body;
use crate::connection::Connections;

/// `grpc.health.v1.HealthCheckRequest`.
#[derive(Clone, PartialEq, Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

/// `grpc.health.v1.HealthCheckResponse`.
#[derive(Clone, PartialEq, Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// `grpc.health.v1.HealthCheckResponse.ServingStatus.SERVING`.
const SERVING: i32 = 1;

/// Before each message: a flag and its length.
const PREFIX_BYTES: usize = 5;

/// One check by a call of `grpc.health.v1.Health.Check`.
pub(super) async fn check(
    spec: &GrpcHealthCheck,
    host: &str,
    connections: &Arc<Connections>,
) -> Found {
    let (head, body) = match ask(request(spec, host), connections).await {
        Ok(response) => response.into_parts(),
        Err(found) => return found,
    };
    if head.status != StatusCode::OK {
        return (Checked::Wrong, format!("status {}", head.status));
    }
    if let Some(status) = status(&head.headers) {
        return (Checked::Wrong, format!("gRPC status {status}"));
    }
    let collected = http_body_util::Limited::new(body, MAX_BODY_BYTES).collect().await;
    let Ok(collected) = collected else {
        return (Checked::Unanswered, "the answer broke off".to_owned());
    };
    let ended = collected.trailers().and_then(status);
    if ended.as_deref() != Some("0") {
        return (Checked::Wrong, format!("gRPC status {}", ended.unwrap_or_default()));
    }
    match message(&collected.to_bytes()) {
        Some(HealthCheckResponse { status: SERVING }) => (Checked::Good, "SERVING".to_owned()),
        Some(response) => (Checked::Wrong, format!("serving status {}", response.status)),
        None => (Checked::Wrong, "no message".to_owned()),
    }
}

fn request(spec: &GrpcHealthCheck, host: &str) -> Result<Request<Body>, http::Error> {
    let host = if spec.authority.is_empty() { host } else { &spec.authority };
    let message = HealthCheckRequest { service: spec.service_name.to_string() };
    let mut body = BytesMut::new();
    body.put_u8(0);
    body.put_u32(message.encoded_len() as u32);
    message.encode(&mut body).expect("a buffer that grows has room");
    let mut request = Request::post("/grpc.health.v1.Health/Check")
        .header(USER_AGENT, super::USER_AGENT)
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers")
        .body(Body::full(body.freeze()))?;
    request.headers_mut().insert(HOST, HeaderValue::from_str(host)?);
    for (name, value) in &spec.initial_metadata {
        request.headers_mut().append(name, value.clone());
    }
    Ok(request)
}

fn status(headers: &HeaderMap) -> Option<String> {
    Some(headers.get("grpc-status")?.to_str().unwrap_or_default().to_owned())
}

/// The one message of a body, which is not compressed: nothing else was asked for.
fn message(body: &Bytes) -> Option<HealthCheckResponse> {
    let (prefix, message) = body.split_at_checked(PREFIX_BYTES)?;
    let length = u32::from_be_bytes(prefix[1..].try_into().ok()?) as usize;
    (prefix[0] == 0 && message.len() == length)
        .then(|| HealthCheckResponse::decode(message).ok())?
}

//! The answers to plain HTTP requests.

use bytes::Bytes;
use futures_util::stream;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use serde::Serialize;
use tonic::body::Body;

use super::steering::{Invalid, Steering};
use super::{Connection, Settings};
use crate::version::protocol;

/// Bytes of padding handed to the connection at once.
const CHUNK_BYTES: u64 = 64 * 1024;

/// What the server saw of a request.
#[derive(Debug, Serialize)]
struct Description<'a> {
    name: &'a str,
    version: Option<&'a str>,
    method: &'a str,
    path: &'a str,
    authority: Option<String>,
    scheme: &'a str,
    protocol: &'static str,
    headers: Vec<(String, String)>,
    body_bytes: u64,
    peer: Peer,
}

#[derive(Debug, Serialize)]
struct Peer {
    address: Option<String>,
    spiffe_id: Option<String>,
}

/// Describes the request, once its body has been read.
pub(super) async fn describe(
    settings: &Settings,
    request: Request<Body>,
    status: StatusCode,
    steering: &Steering,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body_bytes = match count(body).await {
        Ok(bytes) => bytes,
        Err(status) => return text(StatusCode::BAD_REQUEST, status.message().to_owned()),
    };
    let description = Description {
        name: &settings.name,
        version: settings.version.as_deref(),
        method: head.method.as_str(),
        path: head.uri.path_and_query().map_or("", |path| path.as_str()),
        authority: authority(&head.uri, &head.headers),
        scheme: head.uri.scheme_str().unwrap_or("http"),
        protocol: protocol(head.version),
        headers: headers(&head.headers),
        body_bytes,
        peer: Peer {
            address: Connection::peer(&head.extensions).map(|peer| peer.to_string()),
            spiffe_id: None,
        },
    };
    let json = serde_json::to_vec(&description).expect("strings and numbers are always JSON");
    let mut response = match steering.body_bytes {
        Some(bytes) => padded(json.into(), bytes),
        None => Response::new(Body::new(Full::from(json))),
    };
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(code) = steering.grpc_status {
        headers.insert("grpc-status", u16::from(code).into());
    }
    response
}

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// The answer to a steering header that cannot be read.
pub(super) fn refuse(invalid: &Invalid) -> Response<Body> {
    text(StatusCode::BAD_REQUEST, invalid.to_string())
}

/// `:authority`, or the `host` header where the protocol has no such thing.
pub(super) fn authority(uri: &http::Uri, headers: &HeaderMap) -> Option<String> {
    match uri.authority() {
        Some(authority) => Some(authority.to_string()),
        None => headers.get(HOST).map(shown),
    }
}

/// Every header, in the order in which its name first arrived.
pub(super) fn headers(headers: &HeaderMap) -> Vec<(String, String)> {
    headers.iter().map(|(name, value)| (name.to_string(), shown(value))).collect()
}

fn shown(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

async fn count(mut body: Body) -> Result<u64, tonic::Status> {
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        bytes += frame?.data_ref().map_or(0, |data| data.len() as u64);
    }
    Ok(bytes)
}

fn text(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(Body::new(Full::from(text)));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}

/// A body of exactly `bytes`: the description and spaces, which JSON allows after its end, or only
/// spaces where the description does not fit.
fn padded(json: Bytes, bytes: u64) -> Response<Body> {
    let first = if json.len() as u64 <= bytes { json } else { Bytes::new() };
    let spaces = bytes - first.len() as u64;
    let chunk = Bytes::from(vec![b' '; CHUNK_BYTES.min(spaces) as usize]);
    let padding = (0..spaces.div_ceil(CHUNK_BYTES)).map(move |index| {
        let left = spaces - index * CHUNK_BYTES;
        chunk.slice(..CHUNK_BYTES.min(left) as usize)
    });
    let frames = std::iter::once(first)
        .chain(padding)
        .filter(|chunk| !chunk.is_empty())
        .map(|chunk| Ok::<_, tonic::Status>(Frame::data(chunk)));
    let mut response = Response::new(Body::new(StreamBody::new(stream::iter(frames))));
    response.headers_mut().insert(CONTENT_LENGTH, bytes.into());
    response
}

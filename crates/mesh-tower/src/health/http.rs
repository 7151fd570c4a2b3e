use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::header::{HOST, USER_AGENT};
use http::{HeaderValue, Request};
use http_body_util::BodyExt as _;
use mesh_core::cluster::Checked;
use mesh_core::resource::HttpHealthCheck;

use super::{Found, MAX_BODY_BYTES, ask, holds};
use crate::body::Body;
use crate::connection::{Connections, Received};

/// Where a server says which cluster it belongs to.
const HEALTHCHECKED_CLUSTER: &str = "x-envoy-upstream-healthchecked-cluster";

/// One check by an HTTP request.
pub(super) async fn check(
    spec: &HttpHealthCheck,
    host: &str,
    connections: &Arc<Connections>,
) -> Found {
    let (head, body) = match ask(request(spec, host), connections).await {
        Ok(response) => response.into_parts(),
        Err(found) => return found,
    };
    let Some(body) = read(body).await else {
        return (Checked::Unanswered, "the answer broke off".to_owned());
    };
    let status = head.status.as_u16();
    let any = |ranges: &[std::ops::Range<u16>]| ranges.iter().any(|range| range.contains(&status));
    if !any(&spec.expected_statuses) {
        let retriable = any(&spec.retriable_statuses);
        let checked = if retriable { Checked::Retriable } else { Checked::Wrong };
        return (checked, format!("status {status}"));
    }
    if let Some(matcher) = &spec.service_name {
        let named = head.headers.get(HEALTHCHECKED_CLUSTER);
        let named = named.and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !matcher.matches(named) {
            return (Checked::Wrong, format!("it belongs to cluster {named:?}"));
        }
    }
    if !holds(&body, &spec.receive) {
        return (Checked::Wrong, "the body is not as expected".to_owned());
    }
    (Checked::Good, format!("status {status}"))
}

fn request(spec: &HttpHealthCheck, host: &str) -> Result<Request<Body>, http::Error> {
    let host = if spec.host.is_empty() { host } else { &spec.host };
    let mut request = Request::builder()
        .method(spec.method.clone())
        .uri(&*spec.path)
        .header(USER_AGENT, super::USER_AGENT)
        .body(Body::full(spec.send.clone()))?;
    // A cluster's name need not be one of a host.
    request.headers_mut().insert(HOST, HeaderValue::from_str(host)?);
    for (name, value) in &spec.request_headers {
        request.headers_mut().insert(name, value.clone());
    }
    Ok(request)
}

/// The beginning of a body, which is read on to its end so that the connection can be used again;
/// `None` when it breaks off.
async fn read(mut body: Received) -> Option<Bytes> {
    let mut read = BytesMut::new();
    let mut passed = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.ok()?.into_data() else { continue };
        passed += data.len();
        if passed > MAX_BODY_BYTES {
            // Dropping it closes the connection, which costs less than reading on.
            break;
        }
        read.extend_from_slice(&data);
    }
    Some(read.freeze())
}

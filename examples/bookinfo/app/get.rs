use std::fmt::Write as _;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use axum::response::IntoResponse;
use http_body_util::{BodyExt as _, Limited};
use serde::de::DeserializeOwned;
use tower::{BoxError, Service, ServiceExt as _};

use super::END_USER;

/// A call that failed, which fails the request it was made for: 502 with the reasons as text.
#[derive(Debug)]
pub(crate) struct Failure(String);

/// Gets a JSON document from another service, on behalf of `user`.
pub(crate) async fn get<C, R, T>(
    client: C,
    uri: &str,
    user: Option<&HeaderValue>,
) -> Result<(HeaderMap, T), Failure>
where
    C: Service<Request<Body>, Response = Response<R>>,
    C::Error: Into<BoxError>,
    R: HttpBody<Data = Bytes>,
    R::Error: Into<BoxError>,
    T: DeserializeOwned,
{
    let failed = |error: BoxError| Failure::new(uri, &*error);
    let mut request = Request::get(uri).body(Body::empty()).map_err(|e| failed(e.into()))?;
    if let Some(user) = user {
        request.headers_mut().insert(END_USER, user.clone());
    }
    let response = client.oneshot(request).await.map_err(|e| failed(e.into()))?;
    let (head, body) = response.into_parts();
    let body = Limited::new(body, MAX_DOCUMENT_BYTES).collect().await.map_err(failed)?.to_bytes();
    if head.status != StatusCode::OK {
        let text = String::from_utf8_lossy(&body);
        return Err(Failure(format!("{uri}: {}: {text}", head.status)));
    }
    let document = serde_json::from_slice(&body).map_err(|e| failed(e.into()))?;
    Ok((head.headers, document))
}

impl Failure {
    pub(crate) fn new(what: &str, error: &dyn std::error::Error) -> Self {
        let mut text = format!("{what}: {error}");
        let mut cause = error.source();
        while let Some(error) = cause {
            let next = error.to_string();
            // The mesh's errors tell the whole chain in their own text.
            if !text.contains(&next) {
                write!(text, ": {next}").expect("writing to a string");
            }
            cause = error.source();
        }
        Self(text)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> axum::response::Response {
        (StatusCode::BAD_GATEWAY, self.0).into_response()
    }
}

/// Many times what any service here answers.
const MAX_DOCUMENT_BYTES: usize = 64 << 10;

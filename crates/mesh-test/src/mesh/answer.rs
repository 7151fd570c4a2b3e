use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use mesh_tower::{Body, BoxError};
use tower::ServiceExt as _;
use tower_service::Service;

/// A whole answer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, read to the end.
    pub body: Bytes,
}

impl Answer {
    /// A header's value, empty when it is not there or no text.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body as text, empty when it is none.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap_or_default()
    }
}

/// Sends a request through any client and reads the answer to its end.
///
/// # Errors
/// The client's, or that of an answer that broke off.
pub async fn send<S, B>(client: &S, request: Request<Body>) -> Result<Answer, BoxError>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let response = client.clone().oneshot(request).await.map_err(Into::into)?;
    let (head, body) = response.into_parts();
    let body = body.collect().await.map_err(Into::into)?.to_bytes();
    Ok(Answer { status: head.status, headers: head.headers, body })
}

/// Sends a GET request for `uri`.
///
/// # Errors
/// As [`send`], and when `uri` is none.
pub async fn get<S, B>(client: &S, uri: &str) -> Result<Answer, BoxError>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    send(client, Request::get(uri).body(Body::empty())?).await
}

use http::{Extensions, HeaderName, HeaderValue, Method, Request, Uri, Version, header};
use mesh_core::Dialect;
use mesh_core::resource::{RetryConditions, RetryPolicy};

use crate::body::{Body, Replay};

/// What a further attempt needs of a request that may have been sent.
pub(super) struct Copy {
    method: Method,
    uri: Uri,
    version: Version,
    /// A list and no map: half the work to make, and most are never used.
    headers: Vec<(HeaderName, HeaderValue)>,
    extensions: Extensions,
    body: Replay,
}

impl Copy {
    pub(super) fn of(request: &mut Request<Body>) -> Self {
        let (body, replay) = Replay::split(std::mem::take(request.body_mut()));
        *request.body_mut() = body;
        let headers = request.headers().iter();
        Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            headers: headers.map(|(name, value)| (name.clone(), value.clone())).collect(),
            extensions: request.extensions().clone(),
            body: replay,
        }
    }

    /// The request again; `None` when too much of its body has been sent.
    pub(super) fn next(&mut self) -> Option<Request<Body>> {
        let mut request = Request::new(self.body.again()?);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.version_mut() = self.version;
        request.headers_mut().reserve(self.headers.len());
        for (name, value) in &self.headers {
            request.headers_mut().append(name.clone(), value.clone());
        }
        *request.extensions_mut() = self.extensions.clone();
        Some(request)
    }
}

/// Whether a condition can arise after the request has left. Those on a gRPC status can only for
/// gRPC content, and a connection that was never made gives the request back.
pub(super) fn needs_copy(
    policy: &RetryPolicy,
    dialect: Dialect,
    gives_back: bool,
    http2: bool,
    headers: &http::HeaderMap,
) -> bool {
    if policy.num_retries == 0 {
        return false;
    }
    let grpc = dialect == Dialect::Grpc
        || headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    let statuses = !policy.retriable_status_codes.is_empty();
    let mut conditions = policy.conditions;
    if !grpc {
        conditions = conditions.without(RetryConditions::GRPC);
    }
    if !statuses {
        conditions = conditions.without(RetryConditions::RETRIABLE_STATUS_CODES);
    }
    if gives_back {
        conditions = conditions.without(RetryConditions::CONNECT_FAILURE);
        if !http2 {
            conditions = conditions.without(RetryConditions::REFUSED_STREAM);
        }
    }
    !conditions.is_empty()
}

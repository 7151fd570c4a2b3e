use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version, header};
use mesh_core::cluster::ClusterState;
use mesh_core::resilience::takes_request;
use mesh_core::resource::{RetryConditions, RetryPolicy, UpstreamProtocol};
use mesh_core::{Dialect, Head};

use super::transport::Transport;
use crate::body::{Body, Replay};
use crate::mesh::Io;

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

    /// The head of the request again, without its body.
    pub(super) fn head(&self) -> Request<()> {
        let mut head = Request::new(());
        *head.method_mut() = self.method.clone();
        *head.uri_mut() = self.uri.clone();
        *head.version_mut() = self.version;
        head.headers_mut().reserve(self.headers.len());
        for (name, value) in &self.headers {
            head.headers_mut().append(name.clone(), value.clone());
        }
        *head.extensions_mut() = self.extensions.clone();
        head
    }

    /// Its body again; `None` when too much of it has been sent.
    pub(super) fn body(&mut self) -> Option<Body> {
        self.body.again()
    }

    /// Whether attempts may go on side by side.
    pub(super) fn is_shared(&self) -> bool {
        self.body.is_in_memory()
    }

    /// The request again; `None` when too much of its body has been sent.
    pub(super) fn next(&mut self) -> Option<Request<Body>> {
        let body = self.body()?;
        Some(self.head().map(|()| body))
    }
}

/// Whether a retry policy takes a request, of which a copy is kept where another attempt needs one.
#[inline(never)]
pub(super) fn keep<T: Transport>(
    policy: &RetryPolicy,
    state: &ClusterState<Io>,
    dialect: Dialect,
    request: &mut Request<Body>,
    copy: &mut Option<Box<Copy>>,
) -> bool {
    // Most policies take all: no head is made for those.
    if !policy.retriable_request_headers.is_empty()
        && !takes_request(policy, &Head::of(request), dialect)
    {
        return false;
    }
    // HTTP/1.1 has no way to refuse a request that was sent.
    let http2 = dialect == Dialect::Grpc || state.spec().protocol != UpstreamProtocol::Http1;
    if needs_copy(policy, dialect, T::GIVES_BACK, http2, request.headers()) {
        *copy = Some(Box::new(Copy::of(request)));
    }
    true
}

/// Whether a condition can arise after the request has left. Those on a gRPC status can only for
/// gRPC content, and a connection that was never made gives the request back.
fn needs_copy(
    policy: &RetryPolicy,
    dialect: Dialect,
    gives_back: bool,
    http2: bool,
    headers: &HeaderMap,
) -> bool {
    let mut conditions = policy.conditions;
    if policy.retriable_status_codes.is_empty() {
        conditions = conditions.without(RetryConditions::RETRIABLE_STATUS_CODES);
    }
    if gives_back {
        conditions = conditions.without(RetryConditions::CONNECT_FAILURE);
        if !http2 {
            conditions = conditions.without(RetryConditions::REFUSED_STREAM);
        }
    }
    // What it is a request of is only looked for where it matters.
    !conditions.without(RetryConditions::GRPC).is_empty()
        || (!conditions.is_empty() && is_grpc(dialect, headers))
}

fn is_grpc(dialect: Dialect, headers: &HeaderMap) -> bool {
    let kind = || headers.get(header::CONTENT_TYPE);
    dialect == Dialect::Grpc
        || kind().is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

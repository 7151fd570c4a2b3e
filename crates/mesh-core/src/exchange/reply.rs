use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode, Version};
use percent_encoding::{AsciiSet, CONTROLS, percent_encode};

use super::ResponseFlags;
use crate::filter::Response;
use crate::head::Head;
use crate::resource::ActiveFault;

/// An answer made here (Envoy: a local reply).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The headers, without those that follow from the body's length.
    pub headers: HeaderMap,
    /// The body; often empty.
    pub body: Bytes,
    /// Envoy's response flags.
    pub flags: ResponseFlags,
    /// Envoy's response code details: one word for the cause.
    pub details: Cow<'static, str>,
    /// The gRPC status where it is not the one that follows from `status`.
    pub grpc_status: Option<u16>,
    /// The injected fault that it is, which is active until the answer has ended.
    pub fault: Option<Arc<ActiveFault>>,
}

impl Reply {
    /// An answer of that status without headers, body and flags.
    pub fn new(status: StatusCode, details: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            flags: ResponseFlags::NONE,
            details: details.into(),
            grpc_status: None,
            fault: None,
        }
    }

    /// The same answer with those flags.
    #[must_use]
    pub fn with_flags(mut self, flags: ResponseFlags) -> Self {
        self.flags |= flags;
        self
    }

    /// The same answer with a text as its body. An empty one leaves the answer without body and
    /// without content type, as Envoy does.
    #[must_use]
    pub fn with_text(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        if !self.body.is_empty() {
            self.headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        }
        self
    }

    /// The same answer with a body of that type. An empty one leaves the answer without either.
    #[must_use]
    pub fn with_body(mut self, body: Bytes, content_type: HeaderValue) -> Self {
        if !body.is_empty() {
            self.headers.insert(CONTENT_TYPE, content_type);
        }
        self.body = body;
        self
    }

    /// The same answer with that gRPC status.
    #[must_use]
    pub fn with_grpc_status(mut self, status: u16) -> Self {
        self.grpc_status = Some(status);
        self
    }

    /// The same answer as a gRPC client understands it: status 200, the gRPC status in a header,
    /// and the text as its message.
    #[must_use]
    pub fn for_grpc(mut self) -> Self {
        let status = self.grpc_status.unwrap_or_else(|| grpc_status(self.status));
        self.grpc_status = Some(status);
        self.status = StatusCode::OK;
        self.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        self.headers.insert("grpc-status", HeaderValue::from(status));
        let message = percent_encode(&self.body, MESSAGE_ESCAPED).to_string();
        self.body = Bytes::new();
        if let (false, Ok(message)) = (message.is_empty(), HeaderValue::try_from(message)) {
            self.headers.insert("grpc-message", message);
        }
        self
    }
}

/// What gRPC escapes in messages: everything but printable ASCII, and the percent sign.
const MESSAGE_ESCAPED: &AsciiSet = &CONTROLS.add(b'%');

/// gRPC's table of HTTP statuses. OK is no success here.
pub(crate) fn grpc_status(status: StatusCode) -> u16 {
    match status.as_u16() {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502..=504 => 14,
        _ => 2,
    }
}

impl Reply {
    /// As filters see it.
    pub(super) fn response<'r>(&'r mut self, request: Option<Head<'r>>) -> Response<'r> {
        Response {
            status: Some(self.status),
            headers: &mut self.headers,
            request,
            version: Version::HTTP_11,
            flags: self.flags,
            details: &self.details,
            awaited: None,
        }
    }
}

use http::{HeaderMap, StatusCode, Version};

use crate::exchange::ResponseFlags;
use crate::filter::Context;
use crate::head::Head;

/// What a header value may tell of.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Facts<'a> {
    /// The request's head; `None` when it was not kept.
    pub request: Option<Head<'a>>,
    /// The protocol the request came with.
    pub version: Version,
    /// The response, once there is one.
    pub response: Option<ResponseFacts<'a>>,
    /// All else.
    pub context: &'a Context<'a>,
}

impl<'a> Facts<'a> {
    /// Of a request that has no answer yet.
    pub fn of_request(request: Head<'a>, version: Version, context: &'a Context<'a>) -> Self {
        Self { request: Some(request), version, response: None, context }
    }
}

/// A response as far as header values tell of it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ResponseFacts<'a> {
    /// The status. While an answer is made here it has none yet, and 0 is told.
    pub status: Option<StatusCode>,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// Envoy's response flags.
    pub flags: ResponseFlags,
    /// Envoy's response code details.
    pub details: &'a str,
    /// The body, of an answer that is made here.
    pub body: &'a [u8],
}

impl<'a> ResponseFacts<'a> {
    /// Of an answer that has nothing but a body yet.
    pub(crate) fn of_body(body: &'a [u8], headers: &'a HeaderMap) -> Self {
        Self { status: None, headers, flags: ResponseFlags::NONE, details: "", body }
    }

    /// Of an upstream's answer.
    pub fn of_upstream(status: StatusCode, headers: &'a HeaderMap) -> Self {
        let flags = ResponseFlags::NONE;
        Self { status: Some(status), headers, flags, details: "via_upstream", body: &[] }
    }
}

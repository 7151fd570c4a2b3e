use bytes::Bytes;
use http::StatusCode;

use super::{FractionalPercent, HeaderMatcher, HeaderMutation, MetadataMatcher};
use crate::exchange::ResponseFlags;
use crate::headers::BodyFormat;

/// `envoy.extensions.filters.network.http_connection_manager.v3.LocalReplyConfig`: what becomes of
/// answers that are made here.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct LocalReplyConfig {
    /// The first one whose condition holds changes the answer.
    pub mappers: Vec<ResponseMapper>,
    /// How the body is written; else it stays as it is.
    pub body_format: Option<BodyFormat>,
}

/// A change of answers that are made here.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ResponseMapper {
    /// Which ones.
    pub filter: ReplyFilter,
    /// Their status from then on.
    pub status_code: Option<StatusCode>,
    /// Their body from then on, before it is written in its format.
    pub body: Option<Bytes>,
    /// How the body is written, in place of what is said for all.
    pub body_format_override: Option<BodyFormat>,
    /// Headers that are added.
    pub headers_to_add: HeaderMutation,
}

impl ResponseMapper {
    /// One that changes nothing yet.
    pub fn new(filter: ReplyFilter) -> Self {
        let headers_to_add = HeaderMutation::default();
        Self { filter, status_code: None, body: None, body_format_override: None, headers_to_add }
    }
}

/// A condition on an answer that is made here: `envoy.config.accesslog.v3.AccessLogFilter`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ReplyFilter {
    /// Always, or never.
    Constant(bool),
    /// The status compares so with a number.
    StatusCode(Comparison, u32),
    /// All of them hold.
    And(Vec<ReplyFilter>),
    /// One of them holds.
    Or(Vec<ReplyFilter>),
    /// A header of the request matches.
    Header(Box<HeaderMatcher>),
    /// One of the flags is set; any flag at all when there is none to look for.
    ResponseFlags(Vec<ResponseFlags>),
    /// The gRPC status that the answer has or would have is one of them, or is not.
    GrpcStatus {
        /// The statuses.
        statuses: Vec<u16>,
        /// Whether it must be none of them.
        exclude: bool,
    },
    /// A share of requests.
    Share(FractionalPercent),
    /// Dynamic metadata match.
    Metadata {
        /// The condition.
        matcher: Box<MetadataMatcher>,
        /// Whether it holds where there is no such value.
        if_missing: bool,
    },
}

/// `envoy.config.accesslog.v3.ComparisonFilter.Op`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Equal.
    Eq,
    /// Greater or equal.
    Ge,
    /// Less or equal.
    Le,
    /// Not equal.
    Ne,
}

impl Comparison {
    /// Whether `left` compares so with `right`.
    pub fn holds(self, left: u32, right: u32) -> bool {
        match self {
            Self::Eq => left == right,
            Self::Ge => left >= right,
            Self::Le => left <= right,
            Self::Ne => left != right,
        }
    }
}

//! What consistent hashing looks at, as configured.

use std::sync::Arc;
use std::time::Duration;

use super::{HeaderMatch, Name, RegexRewrite};

/// `envoy.config.route.v3.RouteAction.HashPolicy`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HashPolicy {
    /// What is hashed.
    pub source: HashSource,
    /// Whether the policies after it are left aside when there is a hash already.
    pub terminal: bool,
}

impl HashPolicy {
    /// A policy that is not terminal.
    pub fn new(source: HashSource) -> Self {
        Self { source, terminal: false }
    }
}

/// What a hash policy looks at.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum HashSource {
    /// A header's values.
    Header {
        /// The header.
        name: HeaderMatch,
        /// What is made of each value first.
        rewrite: Option<Arc<RegexRewrite>>,
    },
    /// A cookie, which the answer sets if it is not there and has a time to live.
    Cookie(Arc<CookieSource>),
    /// The first value of a query parameter.
    QueryParameter(Name),
    /// The peer's address without its port.
    SourceIp,
    /// The channel (gRFC A42, `io.grpc.channel_id`): one value for as long as it lives.
    ChannelId,
    /// Something that requests here never have.
    Absent,
}

/// `envoy.config.route.v3.RouteAction.HashPolicy.Cookie`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CookieSource {
    /// The cookie's name.
    pub name: Name,
    /// How long a cookie made here lives, in whole seconds (zero: for the session); `None` when
    /// none is made.
    pub ttl: Option<Duration>,
    /// The path it is made for; empty for none.
    pub path: Name,
    /// More attributes of one made here, by name.
    pub attributes: Vec<(Name, Name)>,
}

impl CookieSource {
    /// A cookie that is only read.
    pub fn new(name: impl Into<Name>) -> Self {
        Self { name: name.into(), ttl: None, path: "".into(), attributes: Vec::new() }
    }
}

//! Listener and the HTTP connection manager inside it.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use super::{
    DownstreamOptions, HttpFilter, HttpFilterKind, LocalReplyConfig, Name, RouteConfiguration,
};
use crate::finding::Finding;

/// A client's listener: `api_listener` holding an HTTP connection manager.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Listener {
    /// The resource name; for a client it is made from the target by the bootstrap's template.
    pub name: Name,
    /// The connection manager.
    pub api_listener: HttpConnectionManager,
    /// Whether it passes bytes on as they come
    /// ([`ChainAction::Tcp`](super::ChainAction::Tcp)): what it says of requests says nothing then,
    /// and its idle timeout is that of connections.
    pub is_tcp: bool,
    /// What this resource asks for and does not get.
    pub findings: Vec<Finding>,
}

impl Listener {
    /// A listener with that connection manager.
    pub fn new(name: impl Into<Name>, api_listener: HttpConnectionManager) -> Self {
        Self { name: name.into(), api_listener, is_tcp: false, findings: Vec::new() }
    }
}

/// `envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HttpConnectionManager {
    /// Where the routes come from.
    pub routes: RouteSpecifier,
    /// `common_http_protocol_options.max_stream_duration`; `None` when unset.
    pub max_stream_duration: Option<Duration>,
    /// `stream_idle_timeout`: how long nothing may move on a request; `None` when unset, zero for
    /// no limit. A route's `idle_timeout` counts in its place.
    pub stream_idle_timeout: Option<Duration>,
    /// How long its clients may take; only servers look at it.
    pub clients: ClientTimeouts,
    /// The filters, in order; the last one is the router.
    pub filters: Vec<HttpFilter>,
    /// What is made of a request before anything looks at it.
    pub canonical: CanonicalOptions,
    /// Who the client of a request is. Servers alone have clients.
    pub downstream: DownstreamOptions,
    /// `via`: what requests and answers name in their header of that name.
    pub via: Option<HeaderValue>,
    /// `local_reply_config`: what becomes of answers that are made here.
    pub local_reply: Option<Arc<LocalReplyConfig>>,
}

impl HttpConnectionManager {
    /// A connection manager with the router alone.
    pub fn new(routes: RouteSpecifier) -> Self {
        let router = HttpFilter::new("router", HttpFilterKind::Router);
        let canonical = CanonicalOptions::default();
        let (max_stream_duration, stream_idle_timeout) = (None, None);
        let filters = vec![router];
        let downstream = DownstreamOptions::default();
        Self {
            routes,
            max_stream_duration,
            stream_idle_timeout,
            clients: ClientTimeouts::default(),
            filters,
            canonical,
            downstream,
            via: None,
            local_reply: None,
        }
    }

    /// Whether it makes something of requests or answers by itself, whoever the client is.
    pub(crate) fn changes_messages(&self) -> bool {
        !self.canonical.is_idle() || self.via.is_some() || self.local_reply.is_some()
    }
}

/// How long clients of a server may take. Each is `None` when unset, and zero for no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientTimeouts {
    /// `common_http_protocol_options.idle_timeout`: a connection without a request.
    pub idle_timeout: Option<Duration>,
    /// `common_http_protocol_options.max_connection_duration`: a connection as a whole, before it
    /// is drained.
    pub max_connection_duration: Option<Duration>,
    /// `request_timeout`: a request with its body.
    pub request_timeout: Option<Duration>,
    /// `request_headers_timeout`: a request's head.
    pub request_headers_timeout: Option<Duration>,
}

/// Where a connection manager's routes come from.
#[derive(Clone, Debug)]
pub enum RouteSpecifier {
    /// A RouteConfiguration resource of that name.
    Rds(Name),
    /// The routes are part of the listener.
    Inline(Arc<RouteConfiguration>),
}

/// The connection manager's options that decide which path, authority and headers count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CanonicalOptions {
    /// What becomes of paths.
    pub path: PathOptions,
    /// `strip_matching_host_port` and `strip_any_host_port`.
    pub strip_port: StripPort,
    /// `strip_trailing_host_dot`.
    pub strip_trailing_host_dot: bool,
    /// `common_http_protocol_options.headers_with_underscores_action`.
    pub headers_with_underscores_action: HeadersWithUnderscoresAction,
    /// `common_http_protocol_options.max_headers_count`: how many headers a request from outside
    /// may have, that of its host among them; `None` when unset.
    pub max_headers_count: Option<u32>,
}

impl CanonicalOptions {
    /// Whether nothing is asked for.
    #[inline]
    pub fn is_idle(&self) -> bool {
        *self == Self::default()
    }
}

/// What becomes of paths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PathOptions {
    /// `normalize_path`: dot segments, backslashes and needless escapes go.
    pub normalize_path: bool,
    /// `merge_slashes`: one slash for several.
    pub merge_slashes: bool,
    /// `path_with_escaped_slashes_action`.
    pub path_with_escaped_slashes_action: PathWithEscapedSlashesAction,
}

/// What happens to a path with `%2f` or `%5c`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PathWithEscapedSlashesAction {
    /// Nothing.
    #[default]
    KeepUnchanged,
    /// The request is refused with 400.
    RejectRequest,
    /// The client is sent to the path without escapes.
    UnescapeAndRedirect,
    /// They are unescaped.
    UnescapeAndForward,
}

/// Which ports of the authority are taken off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StripPort {
    /// None.
    #[default]
    Keep,
    /// That of the listener.
    Matching,
    /// Any.
    Any,
}

/// What happens to headers with an underscore in their name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HeadersWithUnderscoresAction {
    /// Nothing.
    #[default]
    Allow,
    /// The request is refused with 400.
    Reject,
    /// They are dropped.
    Drop,
}

//! Listener and the HTTP connection manager inside it.

use std::sync::Arc;
use std::time::Duration;

use super::{Name, RouteConfiguration};
use crate::finding::Finding;

/// A client's listener: `api_listener` holding an HTTP connection manager.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Listener {
    /// The resource name; for a client it is made from the target by the bootstrap's template.
    pub name: Name,
    /// The connection manager.
    pub api_listener: HttpConnectionManager,
    /// What this resource asks for and does not get.
    pub findings: Vec<Finding>,
}

impl Listener {
    /// A listener with that connection manager.
    pub fn new(name: impl Into<Name>, api_listener: HttpConnectionManager) -> Self {
        Self { name: name.into(), api_listener, findings: Vec::new() }
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
    /// The filters, in order; the last one is the router.
    pub filters: Vec<HttpFilter>,
}

impl HttpConnectionManager {
    /// A connection manager with the router alone.
    pub fn new(routes: RouteSpecifier) -> Self {
        let router = HttpFilter { name: "router".into(), kind: HttpFilterKind::Router };
        Self { routes, max_stream_duration: None, filters: vec![router] }
    }
}

/// Where a connection manager's routes come from.
#[derive(Clone, Debug)]
pub enum RouteSpecifier {
    /// A RouteConfiguration resource of that name.
    Rds(Name),
    /// The routes are part of the listener.
    Inline(Arc<RouteConfiguration>),
}

/// One HTTP filter.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HttpFilter {
    /// The instance name, by which routes override it.
    pub name: Name,
    /// What it does.
    pub kind: HttpFilterKind,
}

impl HttpFilter {
    /// A filter of that instance name.
    pub fn new(name: impl Into<Name>, kind: HttpFilterKind) -> Self {
        Self { name: name.into(), kind }
    }
}

/// The HTTP filters that are known.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum HttpFilterKind {
    /// `envoy.extensions.filters.http.router.v3.Router`, the terminal filter.
    Router,
    /// An optional filter that is not honoured; reported as a finding.
    Ignored,
}

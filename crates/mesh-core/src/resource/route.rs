//! RouteConfiguration, virtual hosts, routes and their actions.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;

use super::{HeaderMutation, Name, RetryPolicy, RouteMatch};
use crate::finding::Finding;

/// `envoy.config.route.v3.RouteConfiguration`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RouteConfiguration {
    /// The resource name; for inline routes the listener's field or an empty name.
    pub name: Name,
    /// The virtual hosts. No domain occurs twice.
    pub virtual_hosts: Vec<VirtualHost>,
    /// Changes of request headers for every route.
    pub request_headers: HeaderMutation,
    /// Changes of response headers for every route.
    pub response_headers: HeaderMutation,
    /// What this resource asks for and does not get.
    pub findings: Vec<Finding>,
}

impl RouteConfiguration {
    /// A route configuration with those virtual hosts.
    pub fn new(name: impl Into<Name>, virtual_hosts: Vec<VirtualHost>) -> Self {
        Self {
            name: name.into(),
            virtual_hosts,
            request_headers: HeaderMutation::default(),
            response_headers: HeaderMutation::default(),
            findings: Vec::new(),
        }
    }
}

/// `envoy.config.route.v3.VirtualHost`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct VirtualHost {
    /// The name, for texts and statistics.
    pub name: Name,
    /// Domains in lower case: exact, `*.suffix`, `prefix.*` or `*`. Ports are part of the name.
    pub domains: Vec<Name>,
    /// The routes; the first one that matches wins.
    pub routes: Vec<Route>,
    /// The retry policy of routes that have none of their own.
    pub retry_policy: Option<Arc<RetryPolicy>>,
    /// Changes of request headers for every route of this host.
    pub request_headers: HeaderMutation,
    /// Changes of response headers for every route of this host.
    pub response_headers: HeaderMutation,
}

impl VirtualHost {
    /// A virtual host with those domains (made lower case) and routes.
    pub fn new<D: AsRef<str>>(
        name: impl Into<Name>,
        domains: impl IntoIterator<Item = D>,
        routes: Vec<Route>,
    ) -> Self {
        let domains = domains.into_iter().map(|d| d.as_ref().to_ascii_lowercase().into()).collect();
        Self {
            name: name.into(),
            domains,
            routes,
            retry_policy: None,
            request_headers: HeaderMutation::default(),
            response_headers: HeaderMutation::default(),
        }
    }
}

/// `envoy.config.route.v3.Route`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Route {
    /// The name; empty when unset.
    pub name: Name,
    /// When this route applies. All parts must hold.
    pub matcher: RouteMatch,
    /// What is done with a request that matches.
    pub action: Action,
    /// Changes of request headers.
    pub request_headers: HeaderMutation,
    /// Changes of response headers.
    pub response_headers: HeaderMutation,
}

impl Route {
    /// A route without a name and without header changes.
    pub fn new(matcher: RouteMatch, action: Action) -> Self {
        Self {
            name: "".into(),
            matcher,
            action,
            request_headers: HeaderMutation::default(),
            response_headers: HeaderMutation::default(),
        }
    }

    /// The same route with a name.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<Name>) -> Self {
        self.name = name.into();
        self
    }
}

/// What is done with a request that matches a route.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Action {
    /// It is sent to a cluster.
    Forward(Box<Forward>),
    /// It is answered here.
    DirectResponse {
        /// The status, 200 to 599.
        status: StatusCode,
        /// The body, empty when unset.
        body: Bytes,
    },
    /// It is for a server's own handlers; a client's request fails.
    NonForwarding,
    /// An action that is not honoured: a request that matches fails with this text. The route
    /// still takes part in matching, so that later routes do not catch what is not theirs.
    Unsupported(Name),
}

/// `envoy.config.route.v3.RouteAction`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Forward {
    /// The cluster, or how it is chosen.
    pub cluster: ClusterSpecifier,
    /// `timeout`: `None` when unset (15 s for HTTP), zero for none.
    pub timeout: Option<Duration>,
    /// `max_stream_duration`, which governs gRPC deadlines (gRFC A31).
    pub max_stream_duration: MaxStreamDuration,
    /// The retry policy; an unset one takes the virtual host's.
    pub retry_policy: Option<Arc<RetryPolicy>>,
    /// `host_rewrite_literal`: the authority sent upstream.
    pub host_rewrite: Option<http::HeaderValue>,
}

impl Forward {
    /// Forwarding to `cluster` with all else unset.
    pub fn new(cluster: ClusterSpecifier) -> Self {
        Self {
            cluster,
            timeout: None,
            max_stream_duration: MaxStreamDuration::default(),
            retry_policy: None,
            host_rewrite: None,
        }
    }
}

/// The cluster of a route, or how it is chosen.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ClusterSpecifier {
    /// One cluster.
    Cluster(Name),
    /// Several, each with a share. Weights sum to 1 … 2³²−1.
    Weighted(Vec<WeightedCluster>),
}

/// `envoy.config.route.v3.WeightedCluster.ClusterWeight`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WeightedCluster {
    /// The cluster's name.
    pub name: Name,
    /// Its share of the sum of all weights; 0 means never.
    pub weight: u32,
    /// Changes of request headers, made before the route's own.
    pub request_headers: HeaderMutation,
    /// Changes of response headers, made before the route's own.
    pub response_headers: HeaderMutation,
    /// `host_rewrite_literal`: the authority sent upstream.
    pub host_rewrite: Option<http::HeaderValue>,
}

impl WeightedCluster {
    /// That share of that cluster.
    pub fn new(name: impl Into<Name>, weight: u32) -> Self {
        Self {
            name: name.into(),
            weight,
            request_headers: HeaderMutation::default(),
            response_headers: HeaderMutation::default(),
            host_rewrite: None,
        }
    }
}

/// `envoy.config.route.v3.RouteAction.MaxStreamDuration` (gRFC A31).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MaxStreamDuration {
    /// `max_stream_duration`: zero for none, `None` when unset.
    pub max_stream_duration: Option<Duration>,
    /// `grpc_timeout_header_max`: the longest deadline; zero for none. Wins when set.
    pub grpc_timeout_header_max: Option<Duration>,
}

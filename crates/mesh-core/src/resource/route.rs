//! RouteConfiguration, virtual hosts, routes and their actions.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use http::{HeaderName, StatusCode};

use super::{
    CorsPolicy, FilterOverrides, Forward, HeaderMatcher, HeaderMutation, Metadata, MirrorPolicy,
    Name, RateLimit, Redirect, RetryPolicy, RouteMatch, RouteTree,
};
use crate::finding::Finding;
use crate::headers::BodyFormat;

/// `envoy.config.route.v3.RouteConfiguration`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RouteConfiguration {
    /// The resource name; for inline routes the listener's field or an empty name.
    pub name: Name,
    /// The virtual hosts. No domain occurs twice.
    pub virtual_hosts: Vec<VirtualHost>,
    /// Whether a port of the request's authority is left aside when its host is looked for.
    pub ignore_port_in_host_matching: bool,
    /// The header whose first value selects the virtual host instead of the authority.
    pub vhost_header: Option<HeaderName>,
    /// Whether a path is matched up to its first semicolon only.
    pub ignore_path_parameters_in_path_matching: bool,
    /// Whether header changes run from configuration to route, so that the route's win.
    pub most_specific_header_mutations_wins: bool,
    /// Copies of requests, for hosts that say nothing of their own.
    pub request_mirror_policies: Vec<MirrorPolicy>,
    /// Changes of request headers for every route.
    pub request_headers: HeaderMutation,
    /// Changes of response headers for every route.
    pub response_headers: HeaderMutation,
    /// Headers that clients from outside may not send.
    pub internal_only_headers: Vec<HeaderName>,
    /// `typed_per_filter_config`.
    pub filters: FilterOverrides,
    /// What this resource asks for and does not get.
    pub findings: Vec<Finding>,
}

impl RouteConfiguration {
    /// A route configuration with those virtual hosts.
    pub fn new(name: impl Into<Name>, virtual_hosts: Vec<VirtualHost>) -> Self {
        Self {
            name: name.into(),
            virtual_hosts,
            ignore_port_in_host_matching: false,
            vhost_header: None,
            ignore_path_parameters_in_path_matching: false,
            most_specific_header_mutations_wins: false,
            request_mirror_policies: Vec::new(),
            request_headers: HeaderMutation::default(),
            response_headers: HeaderMutation::default(),
            internal_only_headers: Vec::new(),
            filters: FilterOverrides::default(),
            findings: Vec::new(),
        }
    }

    /// The same but for its virtual hosts.
    #[must_use]
    pub fn with_virtual_hosts(&self, virtual_hosts: Vec<VirtualHost>) -> Self {
        // By name, so that no field is forgotten, and without a copy of the hosts there are.
        let Self {
            name,
            virtual_hosts: _,
            ignore_port_in_host_matching,
            vhost_header,
            ignore_path_parameters_in_path_matching,
            most_specific_header_mutations_wins,
            request_mirror_policies,
            request_headers,
            response_headers,
            internal_only_headers,
            filters,
            findings,
        } = self;
        Self {
            name: name.clone(),
            virtual_hosts,
            ignore_port_in_host_matching: *ignore_port_in_host_matching,
            vhost_header: vhost_header.clone(),
            ignore_path_parameters_in_path_matching: *ignore_path_parameters_in_path_matching,
            most_specific_header_mutations_wins: *most_specific_header_mutations_wins,
            request_mirror_policies: request_mirror_policies.clone(),
            request_headers: request_headers.clone(),
            response_headers: response_headers.clone(),
            internal_only_headers: internal_only_headers.clone(),
            filters: filters.clone(),
            findings: findings.clone(),
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
    /// The routes; the first one that matches wins. With a [`matcher`](Self::matcher) they are
    /// the routes of its actions, by position.
    pub routes: Vec<Route>,
    /// The tree that selects among the routes; `None` for the list itself.
    pub matcher: Option<Arc<RouteTree>>,
    /// Which requests are redirected to https.
    pub require_tls: TlsRequirement,
    /// The groups of requests that statistics tell apart.
    pub virtual_clusters: Vec<VirtualCluster>,
    /// Copies of requests, for routes that say nothing of their own; those of the route
    /// configuration when empty.
    pub request_mirror_policies: Vec<MirrorPolicy>,
    /// `metadata`.
    pub metadata: Option<Arc<Metadata>>,
    /// The retry policy of routes that have none of their own.
    pub retry_policy: Option<Arc<RetryPolicy>>,
    /// `hedge_policy.hedge_on_per_try_timeout`, for routes without a hedge policy.
    pub hedge_on_per_try_timeout: bool,
    /// What local rate limits look at.
    pub rate_limits: Vec<RateLimit>,
    /// Changes of request headers for every route of this host.
    pub request_headers: HeaderMutation,
    /// Changes of response headers for every route of this host.
    pub response_headers: HeaderMutation,
    /// The older field of the CORS filter; not counted where a filter configuration is.
    pub cors: Option<Arc<CorsPolicy>>,
    /// Whether requests tell how often they were sent, in `x-envoy-attempt-count`.
    pub include_request_attempt_count: bool,
    /// Whether responses tell it.
    pub include_attempt_count_in_response: bool,
    /// `typed_per_filter_config`.
    pub filters: FilterOverrides,
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
            matcher: None,
            require_tls: TlsRequirement::None,
            virtual_clusters: Vec::new(),
            request_mirror_policies: Vec::new(),
            metadata: None,
            retry_policy: None,
            hedge_on_per_try_timeout: false,
            rate_limits: Vec::new(),
            request_headers: HeaderMutation::default(),
            response_headers: HeaderMutation::default(),
            cors: None,
            include_request_attempt_count: false,
            include_attempt_count_in_response: false,
            filters: FilterOverrides::default(),
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
    pub request_headers: Option<Box<HeaderMutation>>,
    /// Changes of response headers.
    pub response_headers: Option<Box<HeaderMutation>>,
    /// `typed_per_filter_config`.
    pub filters: FilterOverrides,
    /// `metadata`.
    pub metadata: Option<Arc<Metadata>>,
}

impl Route {
    /// A route without a name and without header changes.
    pub fn new(matcher: RouteMatch, action: Action) -> Self {
        Self {
            name: NAMELESS.clone(),
            matcher,
            action,
            request_headers: None,
            response_headers: None,
            filters: FilterOverrides::default(),
            metadata: None,
        }
    }

    /// The same route with a name.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<Name>) -> Self {
        self.name = name.into();
        self
    }
}

/// Most routes have no name, and share this one.
static NAMELESS: LazyLock<Name> = LazyLock::new(|| "".into());

/// `envoy.config.route.v3.VirtualHost.TlsRequirementType`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsRequirement {
    /// None.
    #[default]
    None,
    /// Requests from outside must be https.
    ExternalOnly,
    /// All requests must be https.
    All,
}

/// `envoy.config.route.v3.VirtualCluster`.
#[derive(Clone, Debug)]
pub struct VirtualCluster {
    /// The name.
    pub name: Name,
    /// What its requests have in common; all must hold.
    pub headers: Vec<HeaderMatcher>,
}

/// What is done with a request that matches a route.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Action {
    /// It is sent to a cluster. Shared, since thousands of routes may do the same.
    Forward(Arc<Forward>),
    /// It is answered here.
    DirectResponse(Box<DirectResponse>),
    /// It is answered with another place to go to.
    Redirect(Box<Redirect>),
    /// It is for a server's own handlers; a client's request fails.
    NonForwarding,
    /// An action that is not honoured: a request that matches fails with this text. The route
    /// still takes part in matching, so that later routes do not catch what is not theirs.
    Unsupported(Name),
}

/// `envoy.config.route.v3.DirectResponseAction`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct DirectResponse {
    /// The status, 200 to 599.
    pub status: StatusCode,
    /// The body, empty when unset.
    pub body: Bytes,
    /// How the body is written; else it stays as it is.
    pub body_format: Option<Arc<BodyFormat>>,
}

impl DirectResponse {
    /// That status and body.
    pub fn new(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self { status, body: body.into(), body_format: None }
    }
}

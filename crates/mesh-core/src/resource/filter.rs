//! HTTP filters, and what routes make of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::HeaderValue;

use super::{
    AdaptiveConcurrency, AdmissionControl, CsrfPolicy, HeaderMutations, HttpFault, LocalRateLimit,
    Name, Rbac, StatefulSession, StringMatcher,
};

/// One HTTP filter.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HttpFilter {
    /// The instance name, by which routes override it.
    pub name: Name,
    /// What it does.
    pub kind: HttpFilterKind,
    /// Whether it runs only where a route asks for it.
    pub disabled: bool,
}

impl HttpFilter {
    /// A filter of that instance name.
    pub fn new(name: impl Into<Name>, kind: HttpFilterKind) -> Self {
        Self { name: name.into(), kind, disabled: false }
    }
}

/// The HTTP filters that are known, with their configuration.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum HttpFilterKind {
    /// `envoy.extensions.filters.http.router.v3.Router`, the terminal filter.
    Router,
    /// An optional filter that is not honoured; reported as a finding.
    Ignored,
    /// `envoy.extensions.filters.http.header_mutation.v3.HeaderMutation`.
    HeaderMutation(Arc<HeaderMutations>),
    /// `envoy.extensions.filters.http.cors.v3.Cors`; what it does is said by routes.
    Cors,
    /// `envoy.extensions.filters.http.csrf.v3.CsrfPolicy`.
    Csrf(Arc<CsrfPolicy>),
    /// `envoy.extensions.filters.http.fault.v3.HTTPFault`.
    Fault(Arc<HttpFault>),
    /// `envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit`.
    LocalRateLimit(Arc<LocalRateLimit>),
    /// `envoy.extensions.filters.http.rbac.v3.RBAC`.
    Rbac(Arc<Rbac>),
    /// `envoy.extensions.filters.http.stateful_session.v3.StatefulSession`; `None` when it keeps
    /// no sessions.
    StatefulSession(Option<Arc<StatefulSession>>),
    /// `envoy.extensions.filters.http.adaptive_concurrency.v3.AdaptiveConcurrency`.
    AdaptiveConcurrency(Arc<AdaptiveConcurrency>),
    /// `envoy.extensions.filters.http.admission_control.v3.AdmissionControl`.
    AdmissionControl(Arc<AdmissionControl>),
}

impl HttpFilterKind {
    /// Whether it never does anything between a request's route and its endpoint.
    pub fn is_idle(&self) -> bool {
        matches!(self, Self::Router | Self::Ignored)
    }
}

/// `typed_per_filter_config` of one level: settings of filters by instance name.
///
/// Of several levels the most specific one that names a filter counts, and it replaces the others
/// as a whole.
#[derive(Clone, Debug, Default)]
pub struct FilterOverrides(Option<Arc<BTreeMap<Name, FilterOverride>>>);

impl FilterOverrides {
    /// Whether no filter is named.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// What is said of the filter of that instance name.
    pub fn get(&self, name: &str) -> Option<&FilterOverride> {
        self.0.as_ref()?.get(name)
    }

    /// What is said, by instance name.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, &FilterOverride)> {
        self.0.iter().flat_map(|map| map.iter())
    }
}

impl FromIterator<(Name, FilterOverride)> for FilterOverrides {
    fn from_iter<I: IntoIterator<Item = (Name, FilterOverride)>>(overrides: I) -> Self {
        let map: BTreeMap<_, _> = overrides.into_iter().collect();
        Self((!map.is_empty()).then(|| Arc::new(map)))
    }
}

/// What one level says of a filter.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum FilterOverride {
    /// The filter does not run.
    Disabled,
    /// The filter runs, as configured elsewhere.
    Enabled,
    /// The filter runs with this configuration.
    Config(FilterConfig),
}

/// A filter's configuration on a route, a virtual host, a route configuration or a weighted
/// cluster.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum FilterConfig {
    /// An optional one that is not honoured; reported as a finding.
    Ignored,
    /// `envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute`.
    HeaderMutation(Arc<HeaderMutations>),
    /// `envoy.extensions.filters.http.csrf.v3.CsrfPolicy`.
    Csrf(Arc<CsrfPolicy>),
    /// `envoy.extensions.filters.http.fault.v3.HTTPFault`.
    Fault(Arc<HttpFault>),
    /// `envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit`.
    LocalRateLimit(Arc<LocalRateLimit>),
    /// `envoy.extensions.filters.http.rbac.v3.RBACPerRoute`; without any rules it admits all.
    Rbac(Arc<Rbac>),
    /// `envoy.extensions.filters.http.cors.v3.CorsPolicy`.
    Cors(Arc<CorsPolicy>),
    /// `envoy.extensions.filters.http.stateful_session.v3.StatefulSessionPerRoute`; `None` for no
    /// sessions.
    StatefulSession(Option<Arc<StatefulSession>>),
}

impl FilterConfig {
    /// Whether it is of the type that filters of that kind take.
    pub(crate) fn is_for(&self, kind: &HttpFilterKind) -> bool {
        use HttpFilterKind as Kind;
        matches!(
            (self, kind),
            (Self::HeaderMutation(_), Kind::HeaderMutation(_))
                | (Self::Csrf(_), Kind::Csrf(_))
                | (Self::Fault(_), Kind::Fault(_))
                | (Self::LocalRateLimit(_), Kind::LocalRateLimit(_))
                | (Self::Rbac(_), Kind::Rbac(_))
                | (Self::Cors(_), Kind::Cors)
                | (Self::StatefulSession(_), Kind::StatefulSession(_))
        )
    }
}

/// `envoy.extensions.filters.http.cors.v3.CorsPolicy`. Of several levels each field is taken from
/// the most specific one that has it.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CorsPolicy {
    /// Which origins are allowed; empty when this level does not say.
    pub allow_origin_string_match: Vec<StringMatcher>,
    /// `access-control-allow-methods`.
    pub allow_methods: Option<HeaderValue>,
    /// `access-control-allow-headers`.
    pub allow_headers: Option<HeaderValue>,
    /// `access-control-expose-headers`.
    pub expose_headers: Option<HeaderValue>,
    /// `access-control-max-age`.
    pub max_age: Option<HeaderValue>,
    /// Whether credentials are allowed.
    pub allow_credentials: Option<bool>,
    /// Whether a page of a public network may ask a private one.
    pub allow_private_network_access: Option<bool>,
    /// Whether a preflight request of a foreign origin goes to the upstream; yes when unset.
    pub forward_not_matching_preflights: Option<bool>,
    /// The share of requests the policy is applied to, per million; `None` for all.
    pub filter_enabled: Option<u32>,
}

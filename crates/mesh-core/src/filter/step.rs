use std::sync::Arc;

use super::cors::{self, Policies};
use super::header_mutation::{self, Levels};
use super::{
    Context, Request, Response, Verdict, adaptive_concurrency, admission_control, csrf, fault,
    rate_limit, rbac, session,
};
use crate::authz::Authorizer;
use crate::resource::{
    AdaptiveConcurrency, AdmissionControl, CsrfPolicy, FilterConfig, HttpFault, HttpFilterKind,
    LocalRateLimit, StatefulSession,
};

/// One filter with its compiled configuration.
///
/// State that lives longer than a request, such as a bucket of tokens, is behind the `Arc`: chains
/// whose configuration comes from the same place share it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Step {
    /// `envoy.extensions.filters.http.header_mutation.v3.HeaderMutation`.
    HeaderMutation(Arc<Levels>),
    /// `envoy.extensions.filters.http.cors.v3.Cors`.
    Cors(Arc<Policies>),
    /// `envoy.extensions.filters.http.csrf.v3.CsrfPolicy`.
    Csrf(Arc<CsrfPolicy>),
    /// `envoy.extensions.filters.http.rbac.v3.RBAC`.
    Rbac(Arc<Authorizer>),
    /// `envoy.extensions.filters.http.fault.v3.HTTPFault`.
    Fault(Arc<HttpFault>),
    /// `envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit`.
    LocalRateLimit(Arc<LocalRateLimit>),
    /// `envoy.extensions.filters.http.stateful_session.v3.StatefulSession`.
    StatefulSession(Arc<StatefulSession>),
    /// `envoy.extensions.filters.http.adaptive_concurrency.v3.AdaptiveConcurrency`.
    AdaptiveConcurrency(Arc<AdaptiveConcurrency>),
    /// `envoy.extensions.filters.http.admission_control.v3.AdmissionControl`.
    AdmissionControl(Arc<AdmissionControl>),
}

impl Step {
    /// The step of a filter with its own configuration, or with the one that replaces it; `None`
    /// when it does nothing.
    pub(super) fn new(kind: &HttpFilterKind, config: Option<&FilterConfig>) -> Option<Self> {
        match (kind, config) {
            (HttpFilterKind::Rbac(_), Some(FilterConfig::Rbac(rules)))
            | (HttpFilterKind::Rbac(rules), _) => {
                Authorizer::new(rules).map(Arc::new).map(Self::Rbac)
            }
            (HttpFilterKind::Csrf(_), Some(FilterConfig::Csrf(policy)))
            | (HttpFilterKind::Csrf(policy), _) => {
                (!policy.is_idle()).then(|| Self::Csrf(policy.clone()))
            }
            (HttpFilterKind::Fault(_), Some(FilterConfig::Fault(fault)))
            | (HttpFilterKind::Fault(fault), _) => {
                (!fault.is_idle()).then(|| Self::Fault(fault.clone()))
            }
            (HttpFilterKind::LocalRateLimit(_), Some(FilterConfig::LocalRateLimit(limit)))
            | (HttpFilterKind::LocalRateLimit(limit), _) => {
                (!limit.is_idle()).then(|| Self::LocalRateLimit(limit.clone()))
            }
            (HttpFilterKind::StatefulSession(_), Some(FilterConfig::StatefulSession(session)))
            | (HttpFilterKind::StatefulSession(session), _) => {
                session.clone().map(Self::StatefulSession)
            }
            (HttpFilterKind::AdaptiveConcurrency(filter), _) => {
                Some(Self::AdaptiveConcurrency(filter.clone()))
            }
            (HttpFilterKind::AdmissionControl(control), _) => {
                Some(Self::AdmissionControl(control.clone()))
            }
            // Made of all levels together, elsewhere.
            (HttpFilterKind::HeaderMutation(_) | HttpFilterKind::Cors, _)
            | (HttpFilterKind::Router | HttpFilterKind::Ignored, _) => None,
        }
    }

    pub(super) fn request(&self, request: &mut Request<'_>, context: &Context<'_>) -> Verdict {
        match self {
            Self::HeaderMutation(levels) => header_mutation::request(levels, request, context),
            Self::Cors(policies) => cors::request(policies, request, context),
            Self::Csrf(policy) => csrf::request(policy, request, context),
            Self::Rbac(authorizer) => rbac::request(authorizer, request, context),
            Self::Fault(fault) => fault::request(fault, request, context),
            Self::LocalRateLimit(limit) => rate_limit::request(limit, request, context),
            Self::StatefulSession(session) => session::request(session, request, context),
            Self::AdaptiveConcurrency(filter) => {
                adaptive_concurrency::request(filter, request, context)
            }
            Self::AdmissionControl(control) => admission_control::request(control, context),
        }
    }

    /// What a step says whose delay is over.
    pub(super) fn after_delay(&self, request: &mut Request<'_>, context: &Context<'_>) -> Verdict {
        match self {
            Self::Fault(fault) => fault::after_delay(fault, request, context),
            _ => Verdict::Continue,
        }
    }

    pub(super) fn response(&self, response: &mut Response<'_>, context: &Context<'_>) {
        match self {
            Self::HeaderMutation(levels) => header_mutation::response(levels, response, context),
            Self::Cors(policies) => cors::response(policies, response, context),
            Self::LocalRateLimit(limit) => rate_limit::response(limit, response, context),
            Self::StatefulSession(session) => session::response(session, response, context),
            Self::AdaptiveConcurrency(filter) => {
                adaptive_concurrency::response(filter, context);
            }
            Self::AdmissionControl(control) => {
                admission_control::response(control, response, context);
            }
            Self::Csrf(_) | Self::Rbac(_) | Self::Fault(_) => {}
        }
    }

    /// Whether the response side does anything.
    pub(super) fn changes_response(&self) -> bool {
        match self {
            Self::HeaderMutation(levels) => levels.change_response(),
            Self::Cors(_)
            | Self::StatefulSession(_)
            | Self::AdaptiveConcurrency(_)
            | Self::AdmissionControl(_) => true,
            Self::LocalRateLimit(limit) => limit.x_ratelimit_headers,
            Self::Csrf(_) | Self::Rbac(_) | Self::Fault(_) => false,
        }
    }

    /// Whether it says more of a request than whether it goes on.
    pub(super) fn tells(&self) -> bool {
        matches!(self, Self::Rbac(authorizer) if authorizer.tells())
    }

    /// Whether the response side looks at the request.
    pub(super) fn needs_request(&self) -> bool {
        match self {
            Self::HeaderMutation(levels) => levels.need_request(),
            Self::Cors(_) => true,
            Self::LocalRateLimit(limit) => limit.x_ratelimit_headers,
            Self::Csrf(_)
            | Self::Rbac(_)
            | Self::Fault(_)
            | Self::StatefulSession(_)
            | Self::AdaptiveConcurrency(_)
            | Self::AdmissionControl(_) => false,
        }
    }
}

//! The CORS filter: who may read an answer from a page of another origin.
//!
//! What is allowed is said by routes and virtual hosts; each field is taken from the most specific
//! level that has it. A preflight request of an allowed origin is answered here.

use std::sync::Arc;

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::{Context, Request, Response, Verdict};
use crate::draws::Draws;
use crate::exchange::Reply;
use crate::resource::{CorsPolicy, FilterConfig};

/// Keeps the draws apart from those of routes and other filters, which come of the same number.
const SALT: u64 = 0x636f_7273_0000_0003;

const REQUEST_PRIVATE_NETWORK: HeaderName =
    HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName =
    HeaderName::from_static("access-control-allow-private-network");
const TRUE: HeaderValue = HeaderValue::from_static("true");

/// The policies of all levels, the most specific first. Never empty.
#[derive(Debug)]
pub struct Policies(Box<[Arc<CorsPolicy>]>);

impl Policies {
    /// Those of filter configurations; only without any, those of the older fields.
    pub(super) fn new<'c>(
        configs: impl Iterator<Item = &'c FilterConfig>,
        older: [Option<&Arc<CorsPolicy>>; 2],
    ) -> Option<Self> {
        let configs = configs.filter_map(|config| match config {
            FilterConfig::Cors(policy) => Some(policy.clone()),
            _ => None,
        });
        let mut policies: Vec<_> = configs.collect();
        if policies.is_empty() {
            policies.extend(older.into_iter().flatten().cloned());
        }
        (!policies.is_empty()).then(|| Self(policies.into()))
    }

    fn field<T>(&self, field: impl Fn(&CorsPolicy) -> Option<T>) -> Option<T> {
        self.0.iter().find_map(|policy| field(policy))
    }

    /// Whether the policy is applied to the request with those random bits.
    fn is_enabled(&self, random: u64) -> bool {
        const MILLION: u64 = 1_000_000;
        let point = || Draws::new(random ^ SALT).remainder(MILLION);
        self.0[0].filter_enabled.is_none_or(|share| point() < u64::from(share))
    }

    fn allows(&self, origin: &HeaderValue) -> bool {
        let levels = self.0.iter().map(|policy| &policy.allow_origin_string_match);
        let Some(allowed) = levels.into_iter().find(|allowed| !allowed.is_empty()) else {
            return false;
        };
        allowed
            .iter()
            .any(|matcher| matcher.matches("*") || matcher.matches_bytes(origin.as_bytes()))
    }

    fn allows_credentials(&self) -> bool {
        self.field(|policy| policy.allow_credentials) == Some(true)
    }
}

/// The origin of a request that has one.
fn origin(headers: &HeaderMap) -> Option<&HeaderValue> {
    headers.get(ORIGIN).filter(|origin| !origin.is_empty())
}

pub(super) fn request(
    policies: &Policies,
    request: &mut Request<'_>,
    context: &Context<'_>,
) -> Verdict {
    let Some(origin) = origin(request.headers) else { return Verdict::Continue };
    let method = request.headers.get(ACCESS_CONTROL_REQUEST_METHOD);
    let method = method.filter(|method| !method.is_empty());
    let (true, &Method::OPTIONS, Some(method)) =
        (policies.is_enabled(context.random), &*request.method, method)
    else {
        return Verdict::Continue;
    };
    let allowed = policies.allows(origin);
    if !allowed && policies.field(|policy| policy.forward_not_matching_preflights) != Some(false) {
        return Verdict::Continue;
    }
    let mut reply = Reply::new(StatusCode::OK, "cors_response");
    let headers = &mut reply.headers;
    if allowed {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    }
    if policies.allows_credentials() {
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
    }
    if let Some(methods) = policies.field(|policy| policy.allow_methods.clone()) {
        let any = methods == "*";
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, if any { method.clone() } else { methods });
    }
    if let Some(allow) = policies.field(|policy| policy.allow_headers.clone()) {
        let asked = request.headers.get(ACCESS_CONTROL_REQUEST_HEADERS).cloned();
        let asked = asked.unwrap_or(HeaderValue::from_static(""));
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, if allow == "*" { asked } else { allow });
    }
    if let Some(age) = policies.field(|policy| policy.max_age.clone()) {
        headers.insert(ACCESS_CONTROL_MAX_AGE, age);
    }
    let private = policies.field(|policy| policy.allow_private_network_access) == Some(true);
    if private && request.headers.get(REQUEST_PRIVATE_NETWORK) == Some(&TRUE) {
        headers.insert(ALLOW_PRIVATE_NETWORK, TRUE);
    }
    Verdict::Reply(Box::new(reply))
}

pub(super) fn response(policies: &Policies, response: &mut Response<'_>, context: &Context<'_>) {
    let origin = response.request.as_ref().and_then(|request| origin(request.headers));
    let Some(origin) = origin.filter(|origin| policies.allows(origin)) else { return };
    if !policies.is_enabled(context.random) {
        return;
    }
    let headers = &mut *response.headers;
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    if policies.allows_credentials() {
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
    }
    if let Some(expose) = policies.field(|policy| policy.expose_headers.clone()) {
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, expose);
    }
}

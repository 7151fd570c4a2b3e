//! What a route makes of a request and of its response.

use std::borrow::Cow;

use http::header::LOCATION;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::Reply;
use crate::filter::{Context, Request, Response};
use crate::headers::{Facts, InvalidHeader, MISSING, ORIGINAL_HOST, ORIGINAL_PATH, ResponseFacts};
use crate::route::rewrite_to;
use crate::snapshot::RouteView;

const X_ENVOY_ORIGINAL_HOST: HeaderName = HeaderName::from_static(ORIGINAL_HOST);
const X_ENVOY_ORIGINAL_PATH: HeaderName = HeaderName::from_static(ORIGINAL_PATH);
const X_ENVOY_ATTEMPT_COUNT: HeaderName = HeaderName::from_static("x-envoy-attempt-count");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

impl RouteView<'_> {
    /// Makes the changes of a request that goes to a cluster: headers level by level, then the
    /// authority, then the path, so that headers can tell of the request as it came.
    ///
    /// # Errors
    /// When a header cannot be put in. Everything else is changed all the same.
    pub fn change_request(
        &self,
        request: &mut Request<'_>,
        context: &Context<'_>,
    ) -> Result<(), InvalidHeader> {
        let mut result = Ok(());
        for (at, level) in self.request_headers().into_iter().enumerate() {
            if let Some(level) = level.filter(|level| !level.is_empty()) {
                result = result.and(level.change_request(request, context));
            }
            // That of a weighted cluster is no rewrite anybody is told of, and comes before the
            // route's own changes.
            if let (0, Some(host)) = (at, self.weighted_host_rewrite()) {
                set_authority(request, host);
            }
        }
        let mut refused = None;
        let made = self.host_format().map(|format| {
            let facts = Facts::of_request(request.head(), request.version, context);
            format.write_with(&facts, MISSING)
        });
        // What is empty rewrites nothing.
        let made = made.filter(|made| !made.is_empty()).and_then(|made| {
            let host = HeaderValue::from_bytes(&made);
            host.map_err(|_| refused = Some(InvalidHeader::value(":authority"))).ok()
        });
        let host = made.or_else(|| self.route_host_rewrite(request.headers, &request.path));
        if let Some(host) = host {
            self.keep_host(request);
            set_authority(request, &host);
        }
        let made = self.path_format().and_then(|format| {
            let facts = Facts::of_request(request.head(), request.version, context);
            let made = format.write(&facts);
            if HeaderValue::from_bytes(&made).is_err() {
                refused.get_or_insert(InvalidHeader::value(":path"));
                return None;
            }
            rewrite_to(&made, &request.path)
        });
        if let Some(path) = made.or_else(|| self.path_rewrite(&request.path)) {
            if let Ok(original) = HeaderValue::from_str(&request.path) {
                request.headers.insert(X_ENVOY_ORIGINAL_PATH, original);
            }
            request.path = Cow::Owned(path);
        }
        if self.host.include_request_attempt_count {
            let attempts = HeaderValue::from(context.names.attempts.max(1));
            request.headers.insert(X_ENVOY_ATTEMPT_COUNT, attempts);
        }
        refused.map_or(result, Err)
    }

    /// Has a request name its endpoint, where the route asks for that (`auto_host_rewrite`).
    pub fn rewrite_to_endpoint(&self, request: &mut Request<'_>, name: &str) {
        self.keep_host(request);
        request.authority = Cow::Owned(name.to_owned());
    }

    fn keep_host(&self, request: &mut Request<'_>) {
        let host = HeaderValue::from_str(&request.authority);
        if let (true, Ok(host)) = (self.appends_x_forwarded_host(), &host) {
            let told = request.headers.get(X_FORWARDED_HOST).map(HeaderValue::as_bytes);
            let told = told.filter(|told| !told.is_empty());
            let joined = match told {
                // Not twice in a row.
                Some(told) if told.rsplit(|byte| *byte == b',').next() == Some(host.as_bytes()) => {
                    None
                }
                Some(told) => {
                    let joined = [told, host.as_bytes()].join(&b","[..]);
                    HeaderValue::from_maybe_shared(joined).ok()
                }
                None => Some(host.clone()).filter(|host| !host.is_empty()),
            };
            if let Some(joined) = joined {
                request.headers.insert(X_FORWARDED_HOST, joined);
            }
        }
        if let Ok(host) = host {
            request.headers.insert(X_ENVOY_ORIGINAL_HOST, host);
        }
    }

    /// Makes the changes of a response: an upstream's, or one that was made for this route.
    pub fn change_response(&self, response: &mut Response<'_>, context: &Context<'_>) {
        for level in self.response_headers().into_iter().flatten() {
            if !level.is_empty() {
                level.change_response(response, context);
            }
        }
        if self.host.include_attempt_count_in_response && context.names.attempts > 0 {
            let attempts = HeaderValue::from(context.names.attempts);
            response.headers.insert(X_ENVOY_ATTEMPT_COUNT, attempts);
        }
    }

    /// The answer of a route that answers itself, without the changes of its headers.
    pub fn reply(&self, request: &Request<'_>, context: &Context<'_>) -> Option<Reply> {
        const DETAILS: &str = "direct_response";
        let head = &request.head();
        let mut facts = Facts::of_request(*head, request.version, context);
        let made = self.redirect_format().map(|format| format.write(&facts));
        let made = made.and_then(|made| String::from_utf8(made).ok()).unwrap_or_default();
        if let Some((status, location)) = self.redirect(head, &made) {
            return Some(located(Reply::new(status, DETAILS), location));
        }
        let (status, body) = self.direct_response()?;
        let reply = match self.body_format() {
            Some(format) => {
                // There is no answer yet to tell of, but for its body.
                let none = HeaderMap::new();
                facts.response = Some(ResponseFacts::of_body(body, &none));
                Reply::new(status, DETAILS).with_body(format.write(&facts), format.content_type())
            }
            None => Reply::new(status, DETAILS).with_text(body.clone()),
        };
        // Statuses that speak of a place are given the request's own.
        if status == StatusCode::CREATED || status.is_redirection() {
            let scheme = if head.scheme.is_empty() { "http" } else { head.scheme };
            let location = format!("{scheme}://{}{}", head.authority, head.path_and_query);
            return Some(located(reply, location));
        }
        Some(reply)
    }
}

fn located(mut reply: Reply, location: String) -> Reply {
    if let Ok(location) = HeaderValue::try_from(location) {
        reply.headers.insert(LOCATION, location);
    }
    reply
}

fn set_authority(request: &mut Request<'_>, host: &HeaderValue) {
    if let Ok(host) = str::from_utf8(host.as_bytes()) {
        request.authority = Cow::Owned(host.to_owned());
    }
}

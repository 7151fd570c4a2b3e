//! Requests and answers as an [`Exchange`] sees them.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use http::header::HOST;
use http::uri::PathAndQuery;
use http::{Method, Request, Response};
use mesh_core::exchange::Reply;
use mesh_core::filter::{self, Context};
use mesh_core::{Dialect, Origin};

use super::body::ResponseBody;
use super::changes::{rewrite_host, rewrite_path};
use super::now;
use super::routing::Answer;
use crate::connection::without_userinfo;
use crate::faults::Faults;

/// What is known beside a message.
pub(crate) fn context(dialect: Dialect, random: u64) -> Context<'static> {
    Context::new(now(), SystemTime::now(), random, dialect)
}

/// What was made of a request cannot be sent: the name of the pseudo-header that is wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unwritable(pub(crate) &'static str);

/// Shows a request and writes back what was changed of it. When that fails the request is neither
/// what it was nor what it was to be, and must not be sent.
///
/// `target` is that of the channel; empty where it does not count.
pub(crate) fn with_request<T, R>(
    request: &mut Request<R>,
    target: &str,
    look: impl FnOnce(&mut filter::Request<'_>) -> T,
) -> (T, Result<(), Unwritable>) {
    with_request_from(request, Origin::application(), Some(target), look)
}

/// The same of a request that comes from somewhere; without a `target` it is for its authority.
pub(crate) fn with_request_from<T, R>(
    request: &mut Request<R>,
    origin: &Origin,
    target: Option<&str>,
    look: impl FnOnce(&mut filter::Request<'_>) -> T,
) -> (T, Result<(), Unwritable>) {
    let (mut method, uri) = (request.method().clone(), request.uri().clone());
    let (version, host) = (request.version(), request.headers().get(HOST).cloned());
    let host = host.as_ref().and_then(|host| host.to_str().ok());
    let authority = uri.authority().map(without_userinfo).or(host).unwrap_or("");
    let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let headers = request.headers_mut();
    let mut seen = filter::Request::new(&mut method, authority, path, headers);
    seen.scheme = uri.scheme_str().unwrap_or("");
    seen.version = version;
    seen.target = target.unwrap_or(authority);
    seen.origin = origin;
    let result = look(&mut seen);
    let (authority, path) = (changed(seen.authority), changed(seen.path));
    *request.method_mut() = method;
    let mut written = Ok(());
    if let Some(path) = path {
        written = rewrite_path(request, &path);
    }
    if let Some(authority) = authority {
        written = written.and(rewrite_host(request, authority.as_bytes()));
    }
    (result, written)
}

fn changed(text: Cow<'_, str>) -> Option<String> {
    match text {
        Cow::Owned(text) => Some(text),
        Cow::Borrowed(_) => None,
    }
}

/// An answer made here to a request of that method, as the caller gets it. `faults` that made its
/// request wait, and the one that it is, are active until it has ended.
pub(crate) fn answer<B: http_body::Body>(
    mut reply: Reply,
    method: &Method,
    faults: Faults,
) -> Answer<B> {
    if *method == Method::HEAD {
        // RFC 9110 §9.3.2.
        reply.body.clear();
    }
    let own = reply.fault.into_iter().filter_map(Arc::into_inner);
    let faults: Faults = faults.into_iter().chain(own).collect();
    let mut response = Response::new(ResponseBody::local(reply.body, faults));
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    response
}
